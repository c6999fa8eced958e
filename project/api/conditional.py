"""Conditional requests (RFC 9110, 13): a caller learns whether a record has changed."""

from typing import Any

from django.utils.http import parse_etags
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request


class PreconditionFailedError(APIException):
    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "precondition_failed"
    default_detail = _("The record has changed since you read it. Fetch it again.")


def check_preconditions(request: Request, etag: str) -> None:
    """Raise PreconditionFailedError if If-Match or If-None-Match forbids writing this record."""
    wanted = request.headers.get("If-Match")
    if wanted is not None and not _names(wanted, etag):
        raise PreconditionFailedError
    if is_known(request, etag):
        raise PreconditionFailedError


def is_known(request: Request, etag: str) -> bool:
    """Whether If-None-Match names this version of the record, by a strong or a weak tag."""
    known = request.headers.get("If-None-Match")
    return known is not None and _names(known.replace("W/", ""), etag)


def _names(header: str, etag: str) -> bool:
    tags = parse_etags(header)
    return tags == ["*"] or etag in tags


ETAG = {
    "ETag": {
        "schema": {"type": "string"},
        "description": "The version of the record, for `If-Match` and `If-None-Match`.",
    }
}
LOCATION = {
    "Location": {
        "schema": {"type": "string", "format": "uri"},
        "description": "The record, if the caller may see it.",
    }
}


def document_conditions(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add the headers of conditional requests to every operation on a single record."""
    for path, operations in result["paths"].items():
        if "/auth/" in path or "/imports/" in path:  # which have no versions
            continue
        for method, operation in operations.items():
            responses = operation["responses"]
            if "{id}" in path and method == "get":
                _add_header(operation, "If-None-Match", "304 where the record still has this ETag.")
                responses["304"] = {"description": "Not changed.", "headers": ETAG}
            elif "{id}" in path:
                _add_header(operation, "If-Match", "412 where the record has another ETag by now.")
            if "{id}" in path or "201" in responses:
                for status in {"200", "201"} & responses.keys():
                    responses[status].setdefault("headers", {}).update(ETAG)
            if "201" in responses:
                responses["201"]["headers"].update(LOCATION)
    return result


def _add_header(operation: dict[str, Any], name: str, description: str) -> None:
    header = {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string"},
    }
    operation.setdefault("parameters", []).append(header)
