"""Every error of the API is a problem document (RFC 9457); elsewhere it is a page."""

import logging
import sys
from http import HTTPStatus
from typing import Any, cast

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import InterfaceError, OperationalError
from django.db.transaction import TransactionManagementError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.serializers import as_serializer_error
from rest_framework.views import exception_handler

from project.base import request_id
from project.base.database import is_lock_error

from .renderers import PROBLEM_TYPE, JSONRenderer

logger = logging.getLogger(__name__)


class ConflictError(exceptions.APIException):
    """A record with this value exists; `existing` is its URL if the caller may see it."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "unique"
    default_detail = gettext_lazy("A record with this value already exists.")

    def __init__(self, errors: dict[str, Any] | None = None, existing: str | None = None) -> None:
        super().__init__()
        self.errors = errors or {}
        self.existing = existing


class BusyError(exceptions.APIException):
    """Another change locked the same rows first."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "busy"
    default_detail = gettext_lazy("Another change was being saved at the same time: send it again.")


class TooLargeError(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = gettext_lazy("The body of the request is too large.")


class UnavailableError(exceptions.APIException):
    """The database cannot be reached; Retry-After says when to ask again."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"
    default_detail = gettext_lazy("The database is not available at the moment.")
    wait = 10  # seconds, which DRF puts into Retry-After


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler."""
    if isinstance(error, DjangoValidationError):
        error = exceptions.ValidationError(as_serializer_error(error))
    elif isinstance(error, RequestDataTooBig):
        error = TooLargeError()
    elif is_database_error(error):
        if not is_lock_error(error):
            logger.error("The database is not available: %r", error)
        error = BusyError() if is_lock_error(error) else UnavailableError()
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    response.data = problem(response.status_code, cast(exceptions.APIException, error))
    response.content_type = PROBLEM_TYPE
    # Even where the view itself renders a page, or the schema in YAML.
    context["request"].accepted_renderer = JSONRenderer()
    context["request"].accepted_media_type = PROBLEM_TYPE
    return response


def problem(code: int, error: exceptions.APIException) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "about:blank",  # RFC 9457, 4.2.1: the status says what kind of problem it is
        "title": HTTPStatus(code).phrase,
        "status": code,
    }
    if isinstance(error, ConflictError):
        errors = list(flatten(error.errors))
        detail = str(error.detail)
    elif isinstance(error, exceptions.ValidationError):
        errors = list(flatten(error.get_full_details()))
        detail = _("The request is invalid; “errors” says why.")
    else:
        detail = str(error.detail)
        errors = [{"field": None, "code": error.get_codes(), "message": detail}]
    body |= {"detail": detail, "errors": errors}
    body["request_id"] = request_id.current.get()
    if isinstance(error, ConflictError) and error.existing:
        body["existing"] = error.existing
    return body


def flatten(details: Any, path: str = "") -> Any:
    """DRF's nested error details as {field, code, message}, fields joined by dots."""
    # A serializer field may be called "message" too, but its errors are a list.
    if isinstance(details, dict) and isinstance(details.get("message"), str):
        yield {
            "field": path or None,
            "code": details["code"],
            "message": printable(str(details["message"])),
        }
    elif isinstance(details, dict):
        for key, value in details.items():
            name = "" if key == "non_field_errors" else printable(str(key))
            yield from flatten(value, f"{path}.{name}".strip("."))
    else:
        for value in details:
            yield from flatten(value, path)


def printable(text: str) -> str:
    """Escape lone surrogates: JSON can spell them, UTF-8 cannot encode them."""
    return text.encode("utf-8", "backslashreplace").decode()


def is_database_error(error: BaseException | None) -> bool:
    # Django itself may swallow the first error of a transaction (Q.check) and then refuses the
    # next statement.
    if isinstance(error, TransactionManagementError):
        error = error.__cause__
    return isinstance(error, OperationalError | InterfaceError)


# Replacing Django's error pages, for errors before or outside a view of the API.

PAGES = {
    400: (
        gettext_lazy("Bad request"),
        gettext_lazy("Go back and try again. A link that brought you here may be incomplete."),
    ),
    403: (
        gettext_lazy("You don’t have access to this page"),
        gettext_lazy("Ask an administrator if you need it for your work."),
    ),
    404: (
        gettext_lazy("Page not found"),
        gettext_lazy("It may have been deleted, or the address may be mistyped."),
    ),
    413: (
        gettext_lazy("Too much data"),
        gettext_lazy("Forms of this size are not accepted. Send less at once."),
    ),
    500: (
        gettext_lazy("Something went wrong"),
        gettext_lazy(
            "The fault is on our side. Try again; if it keeps happening, tell an administrator."
        ),
    ),
    503: (
        gettext_lazy("The database is not available"),
        gettext_lazy("Reload this page in a few seconds."),
    ),
}
EXPIRED_FORM = (
    gettext_lazy("This form has expired"),
    gettext_lazy(
        "You have logged in or out since it was opened, or your browser refuses cookies. Nothing "
        "was saved. Open the form again: what you typed in it comes back, to check and to save."
    ),
)


def _answer(request: HttpRequest, error: type[exceptions.APIException]) -> HttpResponse:
    code = error.status_code
    if not f"{request.path}/".startswith("/api/"):
        return _page(request, code, *PAGES[code])
    return JsonResponse(problem(code, error()), status=code, content_type=PROBLEM_TYPE)


def _page(request: HttpRequest, code: int, title: Any, text: Any, **more: Any) -> HttpResponse:
    context = {"title": title, "text": text, "request_id": request_id.current.get(), **more}
    return render(request, "error.html", context, status=code)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):  # a page's form; the API asks before
        return too_large(request)
    return _answer(request, exceptions.ParseError)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, exceptions.PermissionDenied)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW; the API's sessions are checked by DRF."""
    form = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(form, {request.get_host()}, request.is_secure())
    return _page(request, 403, *EXPIRED_FORM, form=form if is_ours else "")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, exceptions.NotFound)


def too_large(request: HttpRequest) -> HttpResponse:
    return _answer(request, TooLargeError)


def server_error(request: HttpRequest) -> HttpResponse:
    # Django calls this while handling the exception.
    if not is_database_error(sys.exc_info()[1]):
        return _answer(request, exceptions.APIException)
    response = _answer(request, UnavailableError)
    response["Retry-After"] = str(UnavailableError.wait)
    return response
