from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Length
from django.db.models.lookups import Range
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from project.base.database import batches
from project.base.fields import AlphabeticCharField
from project.base.history import History
from project.base.versioned import VersionedModel

from .bulk.models import BulkChange  # noqa: F401
from .files.models import Import, ImportPage  # noqa: F401
from .isbn import IsbnField, hyphenated
from .search.models import BLOOM, BloomField, BookWord
from .search.query import SearchQuerySet

COVERED = ("id", *BLOOM, "publication_year")  # by every index that orders books


def latest_year() -> int:
    return date.today().year + 1


def not_after_next_year(year: int) -> None:
    if year > (latest := latest_year()):
        raise ValidationError(
            gettext("The year can’t be later than %(latest)d."),
            code="max_value",
            params={"latest": latest},
        )


class BookQuerySet(SearchQuerySet):
    def written(
        self, records: Sequence["Book"], fields: Collection[str], new: bool = False
    ) -> None:
        if {"title", "author"} & set(fields):
            for batch in batches(records, 1000):
                BookWord.objects.index(batch, new=new)


class Book(VersionedModel):
    """One title in the catalogue, identified by its ISBN if it has one."""

    title = AlphabeticCharField(_("title"), max_length=500)
    author = AlphabeticCharField(_("author"), max_length=500)
    publication_year = models.PositiveSmallIntegerField(
        _("publication year"), validators=[MinValueValidator(1), not_after_next_year]
    )
    isbn = IsbnField(
        _("ISBN"),
        unique=True,
        null=True,
        blank=True,  # REQUIRE_ISBN decides in form, serializer and import
        error_messages={"unique": _("A book with this ISBN is in the catalogue already.")},
    )
    created_at = models.DateTimeField(_("added"), auto_now_add=True)
    bloom_low = BloomField()
    bloom_high = BloomField()

    key_field = "isbn"
    objects = BookQuerySet.as_manager()
    history = History(
        verbose_name=_("change to a book"),
        verbose_name_plural=_("changes to books"),
        no_db_index=["isbn"],
        excluded_fields=BLOOM,
    )

    class Meta:
        verbose_name = _("book")
        verbose_name_plural = _("books")
        ordering = ["title", "pk"]  # pk makes pages stable when titles repeat
        indexes = [
            # One per ordering and range filter of the API and the admin. Whoever looks for a year
            # or for words along it skips the other books without reading them.
            models.Index(fields=["title", *COVERED], name="library_book_title"),
            models.Index(fields=["author", *COVERED], name="library_book_author"),
            models.Index(fields=["publication_year", "id", *BLOOM], name="library_book_year"),
            models.Index(fields=["created_at", *COVERED], name="library_book_created"),
            models.Index(fields=["updated_at", *COVERED], name="library_book_updated"),
        ]
        constraints = [
            models.CheckConstraint(
                name="library_book_publication_year_range",
                condition=Q(publication_year__gte=1, publication_year__lte=9999),
                violation_error_message=_("A publication year is from 1 to 9999."),
            ),
            models.CheckConstraint(
                name="library_book_title_length",
                condition=Range(Length("title"), (1, 500)),
                violation_error_message=_("A title has 1 to 500 characters."),
            ),
            models.CheckConstraint(
                name="library_book_author_length",
                condition=Range(Length("author"), (1, 500)),
                violation_error_message=_("An author has 1 to 500 characters."),
            ),
            models.CheckConstraint(
                name="library_book_isbn_13_digits",
                condition=Q(isbn__regex=r"^97[89][0-9]{10}$"),
                violation_error_message=_("An ISBN is stored as 13 digits."),
            ),
            models.CheckConstraint(
                name="library_book_isbn_no_music_number",
                condition=~Q(isbn__regex=r"^9790"),
                violation_error_message=_("979-0 begins a music number (ISMN), which is no ISBN."),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def _changed(self, among: Collection[str] | None) -> set[str]:
        changed = super()._changed(among)
        return changed | set(BLOOM) if {"title", "author"} & changed else changed

    @property
    def hyphenated_isbn(self) -> str:
        return hyphenated(self.isbn) if self.isbn else ""


@receiver(post_save, sender=Book)
def index_words(
    instance: Book,
    created: bool,
    raw: bool,
    update_fields: Collection[str] | None = None,
    **kwargs: Any,
) -> None:
    # A signal, because loaddata does not call save().
    if update_fields is None or {"title", "author"} & set(update_fields):
        BookWord.objects.index([instance], new=created and not raw)
