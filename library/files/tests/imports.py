"""Imports for tests: files of books, what a worker does with them, and their pages."""

from django.core.files.base import ContentFile
from django.urls import reverse

from library.files.models import Import
from library.tests.books import isbn_number
from project.jobs.tasks import work

HEADER = "title,author,year,isbn"
BAD = "No ISBN,Author,2000,"
ADD = reverse("admin:library_import_add")


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


def url(job: Import, name: str = "change") -> str:
    return reverse(f"admin:library_import_{name}", args=[job.pk])


def html(client, job: Import, query: str = "") -> str:
    response = client.get(url(job) + query)
    assert response.status_code == 200
    return response.content.decode()
