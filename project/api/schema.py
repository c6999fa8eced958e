"""What drf-spectacular cannot infer: the problem documents and headers of each operation."""

from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from django.contrib.auth.models import AnonymousUser
from drf_spectacular import openapi
from drf_spectacular.authentication import SessionScheme
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerFieldExtension,
)
from rest_framework.permissions import OR
from rest_framework.request import Request

from . import idempotency
from .serializers import NO_NUL, TEXT

PROBLEM = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail", "errors", "request_id"],
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
STANDARD_ACTIONS = ("list", "create", "retrieve", "update", "partial_update", "destroy")
PROBLEMS = {
    "400": "Wrong or unknown parameters or fields; `errors` names each.",
    "401": "No account, or a token or password that is not valid.",
    "403": "The account lacks the permission, or a session sent no CSRF token.",
    "404": "There is no such record, or it has been deleted.",
    "405": "The route knows no such method; `Allow` lists those that it knows.",
    "406": "`Accept` excludes every form that the response has.",
    "409": "A record with this value exists, another change was being saved at the same time, or it "
    "is too late for this.",
    "410": "The cursor is ahead of the feed: the database was restored. Make a new copy.",
    "412": "The record has changed since it was read: its ETag is different.",
    "413": "The body is larger than 2.5 MB; or, of an import, than `IMPORT_MAX_MB` (100 MB).",
    "414": "The address is longer than 8 KB.",
    "415": "The body has a media type that is not described here.",
    "422": "The `Idempotency-Key` came before, with another body.",
    "429": "Too many requests: wait as many seconds as `Retry-After` says.",
    "503": "The database is not available: try again after as many seconds as `Retry-After` says.",
}


# An error of each status that a view gives: field, code and message.
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
    "422": (
        None,
        "idempotency_key_reused",
        "This Idempotency-Key was used before, with another body.",
    ),
    "429": (None, "throttled", "Request was throttled. Expected available in 30 seconds."),
    "503": (None, "unavailable", "The database is not available at the moment."),
}


def problem_example(status: str) -> dict[str, Any]:
    field, code, message = ERRORS.get(status, (None, "", PROBLEMS[status]))
    detail = {
        "400": "The request is invalid; “errors” says why.",
        "409": "A record with this value already exists.",
    }
    return {
        "type": "about:blank",
        "title": HTTPStatus(int(status)).phrase,
        "status": int(status),
        "detail": detail.get(status, message),
        "errors": [{"field": field, "code": code, "message": message}] if code else [],
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


class ExactCharFieldExtension(OpenApiSerializerFieldExtension):
    target_class = "project.api.serializers.ExactCharField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"type": "string", **self.target.schema(direction)}


class AutoSchema(openapi.AutoSchema):
    def get_tags(self) -> list[str]:
        return super().get_tags()[:1]

    def get_operation_id(self) -> str:
        """books_changes, not books_changes_list: an action has its own name."""
        if getattr(self.view, "action", None) in STANDARD_ACTIONS:
            return super().get_operation_id()
        return "_".join(self._tokenize_path())

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
    """Add to every operation the error statuses it can return, and what each has in common."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["headers"] = HEADERS
    components["responses"] = {
        f"Problem{status}": {
            "description": description,
            "headers": _headers(*LIMITS, *HEADERS_OF.get(status, ())),
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
            operation.setdefault("security", [])  # nobody's, rather than anybody's guess
            limits = () if path.startswith("/health/") else LIMITS
            for response in operation["responses"].values():
                response["headers"] = {**response.get("headers", {}), **_headers(*limits)}
            for status in _statuses(path, method, operation):
                reference = {"$ref": f"#/components/responses/Problem{status}"}
                operation["responses"].setdefault(status, reference)
            operation["responses"] = dict(sorted(operation["responses"].items()))
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query":
                    _document_text(parameter["schema"])
                if parameter["schema"].get("pattern") == "^[0-9]+$":  # a lookup_value_regex
                    parameter["schema"] = {"type": "integer", "minimum": 1}
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                if name := body["schema"].get("$ref", "").rpartition("/")[2]:
                    components["schemas"][name]["additionalProperties"] = False
                    if kind == "multipart/form-data":
                        _document_form(components["schemas"][name]["properties"])
    _forget_enum_ids(result)
    return result


def _document_text(schema: dict[str, Any]) -> None:
    """No parameter may be blank."""
    text = schema.get("items", schema)
    is_free = not text.keys() & {"enum", "format"} and text.get("pattern", NO_NUL) == NO_NUL
    if text.get("type") == "string" and is_free:
        text |= {"minLength": 1, "pattern": TEXT}


def _document_form(properties: dict[str, Any]) -> None:
    """Its fields are texts; clients that are generated write a boolean as their language does."""
    for field in properties.values():
        if field["type"] == "boolean":
            field |= {"type": "string", "enum": ["true", "false"]}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *names)}


LIMITS = ("RateLimit", "RateLimit-Policy")
HEADERS_OF = {
    "401": ("WWW-Authenticate",),
    "405": ("Allow",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}
HEADERS = {
    name: {"schema": {"type": kind}, "description": description}
    for name, kind, description in (
        ("X-Request-ID", "string", "Names this request in the logs; you may send one of your own."),
        (
            "RateLimit",
            "string",
            "What is left of each limit, and the seconds until it starts anew.",
        ),
        ("RateLimit-Policy", "string", "The limits, and their windows in seconds."),
        ("Retry-After", "integer", "Seconds to wait."),
        ("Allow", "string", "The methods of this route."),
        ("WWW-Authenticate", "string", "`Bearer`."),
    )
}


def _forget_enum_ids(schema: Any) -> None:
    """drf-spectacular's own, for a hook that gives enums names of their own."""
    if isinstance(schema, dict):
        schema.pop("x-spec-enum-id", None)
    for each in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(each, dict | list):
            _forget_enum_ids(each)


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
    if any(parameter["in"] == "query" for parameter in operation.get("parameters", [])):
        statuses.append("414")
    if path.endswith("/changes/"):
        statuses.append("410")
    if method == "post" and "/auth/" not in path:
        statuses.append("409")
    names = {parameter["name"] for parameter in operation.get("parameters", [])}
    statuses += ["412"] if "If-Match" in names else []
    statuses += ["404", "422"] if idempotency.HEADER in names else []
    return statuses
