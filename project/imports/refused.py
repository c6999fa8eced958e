"""The refused rows as CSV in the file's own columns, to correct and upload again."""

from collections.abc import Iterator
from io import StringIO

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.utils.text import slugify

from project.base.files.refused import RefusedWriter
from project.base.files.writing import spreadsheet_delimiter

from .models import Import, ImportPage, PageKind
from .preview import as_row, reasons_of

CSV = "text/csv; charset=utf-8"


def refused_response(job: Import, for_people: bool = False) -> StreamingHttpResponse:
    name = job.name.rpartition(".")[0].removesuffix(".refused")  # of an earlier round
    name = slugify(name, allow_unicode=True) or "rows"
    response = StreamingHttpResponse(refused_lines(job, for_people), CSV)
    disposition = content_disposition_header(True, f"{name}.refused.csv")
    response["Content-Disposition"] = str(disposition)
    return response


def refused_lines(job: Import, for_people: bool) -> Iterator[bytes]:
    text = StringIO()
    header = job.reading.get("header", [])
    usual = spreadsheet_delimiter() if for_people else ","
    delimiter = job.reading.get("delimiter") or usual
    writer = RefusedWriter(text, header, delimiter, for_people)
    mark = "\ufeff"
    for page in refused_pages(job):
        for row in page.rows:
            writer.write(as_row(row), reasons_of(job, row))
        yield (mark + text.getvalue()).encode("utf-8", "surrogateescape")
        mark = ""
        text.seek(0)
        text.truncate()
    if mark:
        yield (mark + text.getvalue()).encode()


def refused_pages(job: Import) -> Iterator[ImportPage]:
    number = 0
    pages = job.pages.filter(kind=PageKind.REFUSED)
    while page := pages.filter(number__gt=number).order_by("number").first():
        yield page
        number = page.number
