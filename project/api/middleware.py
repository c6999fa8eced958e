from collections.abc import Callable
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.middleware import common

from .errors import bad_request, too_large


def is_chunked(request: HttpRequest) -> bool:
    """Whether the length is unknown, and the server decodes the chunks (gunicorn does)."""
    # Where it does not, reading never ends.
    has_no_length = "HTTP_TRANSFER_ENCODING" in request.META
    return has_no_length and bool(request.META.get("wsgi.input_terminated"))


class ChunkedBodyMiddleware:
    """Reads a body without Content-Length, which Django treats as empty.

    Views that take files read it themselves (project/api/uploads.py).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], *args: Any
    ) -> HttpResponse | None:
        takes_files = getattr(getattr(view, "cls", None), "takes_files", False)
        if is_chunked(request) and not takes_files:
            limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            try:
                body = request.META["wsgi.input"].read(limit + 1)
            except Exception as error:  # each server raises its own for malformed chunks
                return bad_request(request, BadRequest(error))
            if len(body) > limit:
                return too_large(request)
            request.META["CONTENT_LENGTH"] = str(len(body))
            request._stream = BytesIO(body)
        return None


class SameRequestElsewhere(HttpResponsePermanentRedirect):
    status_code = 308


class CommonMiddleware(common.CommonMiddleware):
    """Adds a missing slash with a redirect that keeps method and body.

    After Django's 301 a client sends GET instead, so a PUT without the slash seems to succeed.
    """

    response_redirect_class = SameRequestElsewhere


def browser_policies(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Tells the browser, in every response, what its page may load and which features it may use."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not (settings.DEBUG and response.status_code in (404, 500)):  # with inline scripts
            response["Content-Security-Policy"] = settings.CONTENT_SECURITY_POLICY
        response["Permissions-Policy"] = settings.PERMISSIONS_POLICY
        return response

    return middleware
