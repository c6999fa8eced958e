"""What the API's description says of imports."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    extend_schema,
)

from project.api import idempotency
from project.base.files.refused import OWN
from project.base.files.writing import csv_lines, json_lines

from .serializers import BINARY, FILE, MEDIA_TYPES, ImportSerializer, OptionsSerializer


def described(
    options: type[OptionsSerializer],
    upload: type[OptionsSerializer],
    records: str,
    path: str,
    matching: str,
    row: Mapping[str, Any],
) -> dict[str, Any]:
    """For extend_schema_view()."""
    header, values = [*row], [*row.values()]
    files = {
        "csv": csv_lines([header, values]),
        "tsv": csv_lines([header, values], "\t"),
        "jsonl": json_lines(header, [values]),
    }
    refused = [[*OWN, *header], [3, f"no {header[0]}", "", *values[1:]]]
    bodies = [
        OpenApiExample(
            f"{kind.upper()} file", files[kind], request_only=True, media_type=media_type
        )
        for media_type, kind in MEDIA_TYPES.items()
        if kind in files
    ]
    form = OpenApiExample(
        "A form with the file",
        {"file": files["csv"], "dry_run": "true"},
        request_only=True,
        media_type="multipart/form-data",
    )
    return {
        "list": extend_schema(
            summary=f"List the imports of {records}",
            description="Newest first, by whichever door they came: the admin's too.",
        ),
        "retrieve": extend_schema(
            summary=f"See how far an import of {records} is",
            description="While a worker has something to do, `Retry-After` says when to ask again.",
            parameters=[retry_after(200)],
            examples=[answer(header, path, "It is done", DONE)],
        ),
        "create": extend_schema(
            summary=f"Import {records}",
            description=f"A file with one row for each record: CSV, TSV, XLSX, ODS or JSON lines, as "
            f"the body or as `file` of a form; of `{BINARY}` the ending of `filename` tells the format. {matching} Options are parameters of the query or "
            "fields of the form, and none is given in both. A worker examines the file, then writes what is new or changed; "
            "rows that cannot be a record are refused, the others written.",
            parameters=[options, idempotency.PARAMETER, location(202), retry_after(202)],
            request={
                "multipart/form-data": OpenApiRequest(
                    upload, encoding={"file": {"contentType": ", ".join(MEDIA_TYPES)}}
                ),
                # The last is what clients send that are generated to know one kind of file.
                **dict.fromkeys([*MEDIA_TYPES, BINARY], FILE),
            },
            responses={202: ImportSerializer},
            examples=[form, *bodies, answer(header, path, "It waits for a worker", {})],
        ),
        "destroy": extend_schema(
            summary=f"Cancel an import of {records}",
            description="It stops, and stays in the list as `cancelled`; what was written is kept.",
            responses={204: OpenApiResponse(description="Cancelled.")},
        ),
        "refused": extend_schema(
            summary=f"Download the refused rows of an import of {records}",
            description="In the file's own columns behind two of ours, the number of the row and "
            "why it was refused, in the caller's language: correct them and send them again.",
            responses={(200, "text/csv"): OpenApiTypes.STR},
            examples=[
                OpenApiExample(
                    "A refused row",
                    csv_lines(refused),
                    response_only=True,
                    media_type="text/csv",
                )
            ],
        ),
    }


WAITING: dict[str, Any] = {
    "id": 7,
    "state": "uploaded",
    "progress": 0,
    "filename": "new.csv",
    "format": "csv",
    "size": 5120,
    "dry_run": False,
    "read_as": None,
    "found": {"read": 0, "new": 0, "changed": 0, "same": 0, "refused": 0},
    "written": {"new": 0, "changed": 0, "same": 0},
    "error": None,
    "refused": None,
    "user": "catalogue-sync",
    "door": "api",
    "token": "nightly copy",  # nosec  # its name
    "created_at": "2026-01-31T04:00:00Z",
    "confirmed_at": None,
    "finished_at": None,
}
DONE = {
    "state": "done",
    "progress": 100,
    "found": {"read": 60, "new": 40, "changed": 2, "same": 17, "refused": 1},
    "written": {"new": 40, "changed": 2, "same": 17},
    "confirmed_at": "2026-01-31T04:00:01Z",
    "finished_at": "2026-01-31T04:00:02Z",
}


def answer(header: list[str], path: str, title: str, ended: dict[str, Any]) -> OpenApiExample:
    columns = {name: [name] for name in header}
    read_as = {"encoding": "utf-8", "delimiter": ",", "sheet": "", "columns": columns}
    refused = f"https://library.example.org/api/v1/{path}/7/refused/"
    shown = WAITING | ended | ({"read_as": read_as, "refused": refused} if ended else {})
    return OpenApiExample(title, shown, response_only=True, status_codes=["200", "202"])


def retry_after(status: int) -> OpenApiParameter:
    return OpenApiParameter(
        "Retry-After",
        int,
        OpenApiParameter.HEADER,
        response=[status],
        description="Seconds until it is worth asking again.",
    )


def location(status: int) -> OpenApiParameter:
    return OpenApiParameter(
        "Location",
        OpenApiTypes.URI,
        OpenApiParameter.HEADER,
        response=[status],
        description="The import, to ask how far it is.",
    )
