"""What drf-spectacular cannot infer: the problem documents of each operation."""

from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from django.contrib.auth.models import AnonymousUser
from drf_spectacular import openapi
from drf_spectacular.authentication import SessionScheme
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.permissions import OR
from rest_framework.request import Request

from . import idempotency

PROBLEM = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string", "description": "The name of the status."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What happened, in the caller's language."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {
                    "field": {
                        "type": ["string", "null"],
                        "description": "The field or parameter; null if the error is about none.",
                    },
                    "code": {"type": "string", "description": "Stable, for programs."},
                    "message": {"type": "string"},
                },
            },
        },
        "request_id": {
            "type": "string",
            "description": "As in the header `X-Request-ID` and the logs; quote it to the operator.",
        },
        "existing": {
            "type": "string",
            "format": "uri",
            "description": "With 409: the conflicting record, if the caller may see it.",
        },
    },
}
PROBLEMS = {
    "400": "Wrong or unknown parameters or fields; `errors` names each.",
    "401": "No account, or a token or password that is not valid.",
    "403": "The account lacks the permission, or a session sent no CSRF token.",
    "404": "There is no such record.",
    "405": "The route knows no such method; `Allow` lists those that it knows.",
    "406": "`Accept` excludes every form that the response has.",
    "409": "A record with this value exists, another change was being saved at the same time, or it "
    "is too late for this.",
    "410": "The cursor is ahead of the feed: the database was restored. Make a new copy.",
    "412": "The record has changed since it was read: its ETag is different.",
    "413": "The body is larger than 2.5 MB; or, of an import, than `IMPORT_MAX_MB` (100 MB).",
    "415": "The body has a media type that is not described here.",
    "422": "The `Idempotency-Key` came before, with another body.",
    "429": "Too many requests: wait as many seconds as `Retry-After` says.",
    "503": "The database is not available: try again after as many seconds as `Retry-After` says.",
}


# An error of each status: field, code and message.
ERRORS: dict[str, tuple[str | None, str, str]] = {
    "400": ("publication_year", "invalid", "A valid integer is required."),
    "401": (None, "not_authenticated", "Authentication credentials were not provided."),
    "403": (None, "permission_denied", "You do not have permission to perform this action."),
    "404": (None, "not_found", "Not found."),
    "405": (None, "method_not_allowed", 'Method "PUT" not allowed.'),
    "406": (None, "not_acceptable", "Could not satisfy the request Accept header."),
    "409": ("isbn", "unique", "A book with this ISBN is in the catalogue already."),
    "410": (
        *(None, "cursor_ahead"),
        "This cursor is ahead of the feed, because the database was restored from a backup. "
        "Make a new copy.",
    ),
    "412": (
        None,
        "precondition_failed",
        "The record has changed since you read it. Fetch it again.",
    ),
    "413": (None, "too_large", "The body of the request is too large."),
    "415": (None, "unsupported_media_type", 'Unsupported media type "text/plain" in request.'),
    "422": (None, "idempotency_key_reused", "This Idempotency-Key came before, with another body."),
    "429": (None, "throttled", "Request was throttled. Expected available in 30 seconds."),
    "503": (None, "unavailable", "The database is not available at the moment."),
}


def problem_example(status: str) -> dict[str, Any]:
    field, code, message = ERRORS[status]
    detail = {
        "400": "The request is invalid; “errors” says why.",
        "409": "A record with this value already exists.",
    }
    return {
        "type": "about:blank",
        "title": HTTPStatus(int(status)).phrase,
        "status": int(status),
        "detail": detail.get(status, message),
        "errors": [{"field": field, "code": code, "message": message}],
        "request_id": "1f2e3d4c5b6a79881f2e3d4c5b6a7988",
    }


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "project.api.authentication.TokenAuthentication"
    name = "token"
    priority = 1

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from `auth/token/` or the admin. `Authorization: Token …` is "
            "accepted too.",
        }


class CookieScheme(SessionScheme):
    name = "session"
    priority = 1

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> dict[str, Any]:
        return super().get_security_definition(auto_schema) | {
            "description": "For staff who are logged in to the admin: the browser sends it by itself. "
            "Writing also needs the header `X-CSRFToken`, which this page adds."
        }


class AutoSchema(openapi.AutoSchema):
    def get_tags(self) -> list[str]:
        return super().get_tags()[:1]

    def get_description(self) -> str:  # type: ignore[override]
        """From extend_schema() alone; the docstrings of views are for maintainers."""
        return ""

    def _get_request_body(self, direction: str = "request") -> Any:
        body = super()._get_request_body(direction)
        if body and isinstance(self.get_request_serializer(), dict):
            body["required"] = True  # the package says so of serializers, not of files
        return body

    def get_auth(self) -> list[dict[str, Any]]:
        """Adds "none" where the settings let everyone in."""
        nobody = SimpleNamespace(method=self.method, user=AnonymousUser())
        permissions = self.view.get_permissions()
        public = all(
            isinstance(permission, OR) and permission.op1.has_permission(nobody, self.view)  # type: ignore[attr-defined]
            for permission in permissions
        )
        return super().get_auth() + ([{}] if permissions and public else [])


GUIDE_HOST = "http://127.0.0.1:8000"


def name_this_host(
    result: dict[str, Any], request: Request | None, **kwargs: Any
) -> dict[str, Any]:
    """Let the guide's examples, where they are read, call the host from which they come."""
    if request is not None:
        info, here = result["info"], request.build_absolute_uri("/").rstrip("/")
        info["description"] = info["description"].replace(GUIDE_HOST, here)
    return result


def document_problems(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add to every operation the error statuses it can return, and StrictMixin's rules."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["responses"] = {
        f"Problem{status}": {
            "description": description,
            **({"headers": RETRY_AFTER} if status in ("429", "503") else {}),
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": problem_example(status),
                }
            },
        }
        for status, description in PROBLEMS.items()
    }
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            for status in _statuses(path, method, operation):
                reference = {"$ref": f"#/components/responses/Problem{status}"}
                operation["responses"].setdefault(status, reference)
            operation["responses"] = dict(sorted(operation["responses"].items()))
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query" and parameter["schema"] == {"type": "string"}:
                    parameter["schema"] = NOT_BLANK
    return result


NOT_BLANK = {"type": "string", "minLength": 1, "pattern": r"\S"}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}


def _statuses(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    if path.startswith("/health/"):
        return ["400", "406"]
    statuses = ["400", "401", "403", "405", "406", "429", "503"]
    if "{id}" in path:
        statuses.append("404")
        if method != "get" and "/auth/" not in path:
            statuses.append("409")
    if "requestBody" in operation:
        statuses += ["413", "415"]
    if path.endswith("/changes/"):
        statuses.append("410")
    if method == "post" and "/auth/" not in path:
        statuses.append("409")
    names = {parameter["name"] for parameter in operation.get("parameters", [])}
    statuses += ["412"] if "If-Match" in names else []
    statuses += ["422"] if idempotency.HEADER in names else []
    return statuses
