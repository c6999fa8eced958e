from collections.abc import Callable
from io import BytesIO

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.middleware import common

from .errors import bad_request, too_large


class ChunkedBodyMiddleware:
    """Reads a body without Content-Length, which Django treats as empty."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Only where the server decodes the chunks (gunicorn does): otherwise reading never ends.
        if "HTTP_TRANSFER_ENCODING" in request.META and request.META.get("wsgi.input_terminated"):
            limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            try:
                body = request.META["wsgi.input"].read(limit + 1)
            except Exception as error:  # each server raises its own for malformed chunks
                return bad_request(request, BadRequest(error))
            if len(body) > limit:
                return too_large(request)
            request.META["CONTENT_LENGTH"] = str(len(body))
            request._stream = BytesIO(body)
        return self.get_response(request)


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
