"""Imports for tests: files of books, and what a worker does with them."""

from django.core.files.base import ContentFile

from library.files.models import Import
from library.tests.books import isbn_number
from project.jobs.tasks import work

HEADER = "title,author,year,isbn"


def lines(*numbers: int, title: str = "Title") -> list[str]:
    return [f"{title} {n},Author,2000,{isbn_number(n)}" for n in numbers]


def uploaded(*rows: str, name: str = "books.csv", content: bytes = b"", **values) -> Import:
    content = content or "\n".join([HEADER, *rows]).encode()
    kind = name.rpartition(".")[2]
    job = Import(name=name, kind=kind, size=len(content), **values)
    job.file.save(name, ContentFile(content))
    return job


def worked_on(job: Import) -> Import:
    work("import", job.pk)
    job.refresh_from_db()
    return job


def examined(*rows: str, **values) -> Import:
    return worked_on(uploaded(*rows, **values))
