from typing import Any

from rest_framework import serializers

from project.api.serializers import StrictModelSerializer

from .isbn import EXAMPLE, normalise
from .models import Book


class IsbnField(serializers.CharField):
    """Any spelling in, 13 digits out."""

    def to_internal_value(self, data: Any) -> str:
        return normalise(super().to_internal_value(data))


class BookSerializer(StrictModelSerializer):
    isbn = IsbnField(
        max_length=40, help_text=f"Any spelling, such as {EXAMPLE}; answered as 13 digits."
    )

    class Meta:
        model = Book
        fields = [
            "id",
            "title",
            "author",
            "publication_year",
            "isbn",
            "created_at",
            "updated_at",
        ]
