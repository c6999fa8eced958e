"""Files for the catalogue as programs send them, and what becomes of them."""

from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile

from library.files.models import Import
from project.jobs.models import State

from .imports import HEADER, worked_on

IMPORTS = "/api/v1/imports/"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'


def content_of(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows]).encode()


def send(api, body: bytes | str, query: str = "", content_type: str = "text/csv", **extra: Any):
    return api.generic("POST", f"{IMPORTS}{query}", body, content_type, **extra)


def send_form(api, body: bytes, name: str = "books.csv", query: str = "", **options: Any):
    file = SimpleUploadedFile(name, body, "application/octet-stream")
    return api.post(f"{IMPORTS}{query}", {"file": file, **options}, format="multipart")


def finished(response) -> Import:
    """The import once the worker has done all that waits."""
    assert response.status_code == 202, response.content
    job = Import.objects.get(pk=response.json()["id"])
    while job.state in (State.UPLOADED, State.QUEUED):
        worked_on(job)
    return job


def stored(files: Path) -> list[Path]:
    return [path for path in files.rglob("*") if path.is_file()]


def errors(response) -> list[tuple[str, str]]:
    assert response.status_code == 400, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    return [(error["field"], error["code"]) for error in response.json()["errors"]]
