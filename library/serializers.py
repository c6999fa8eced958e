from typing import Any

from django.conf import settings

from project.api.serializers import ExactCharField, ExactIntegerField, StrictModelSerializer

from .isbn import EXAMPLE, normalise
from .models import Book, latest_year


class YearField(ExactIntegerField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=latest_year(), **kwargs)


class IsbnField(ExactCharField):
    """Any spelling in, 13 digits out."""

    def to_internal_value(self, data: Any) -> str:
        return normalise(super().to_internal_value(data))

    def schema(self, direction: str) -> dict[str, Any]:
        return {"format": "isbn"} if direction == "request" else {"pattern": "^97[89][0-9]{10}$"}


class BookSerializer(StrictModelSerializer):
    publication_year = YearField()
    isbn = IsbnField(
        max_length=40, help_text=f"Any spelling, such as {EXAMPLE}; returned as 13 digits."
    )

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        if not settings.REQUIRE_ISBN:
            isbn = fields["isbn"]
            isbn.required, isbn.allow_null = False, True
            isbn.help_text = f"{isbn.help_text} null where the book has none."
        return fields

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
