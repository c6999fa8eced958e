"""The list of books, what is asked of those selected in it, and the page of the change."""

from django.urls import reverse

from library.bulk.models import BulkChange
from library.models import Book

LIST = reverse("admin:library_book_changelist")


def page(job: BulkChange, name: str = "change") -> str:
    return reverse(f"admin:library_bulkchange_{name}", args=[job.pk])


def merge(desk, *books: Book, **fields):
    ids = [book.pk for book in books]
    return desk.post(LIST, {"action": "merge_books", "_selected_action": ids} | fields)


def chosen(title: Book, isbn: Book) -> dict:
    values = {"author": title.author, "publication_year": title.publication_year}
    return {"confirmed": "1", "title": title.title, "isbn": isbn.isbn} | values
