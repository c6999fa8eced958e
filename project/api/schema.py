"""What drf-spectacular cannot see: the problem documents of each operation."""

from typing import Any

from drf_spectacular import openapi
from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme

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
                        "description": "The field or parameter; null where it is about none.",
                    },
                    "code": {"type": "string", "description": "Stable: made for programs."},
                    "message": {"type": "string"},
                },
            },
        },
        "existing": {
            "type": "string",
            "format": "uri",
            "description": "With 409, where the caller may see it: the record that is in the way.",
        },
    },
}
PROBLEMS = {
    "400": "Wrong or unknown parameters or fields; `errors` names each.",
    "401": "No account, or a token or password that is not valid.",
    "403": "The account lacks the permission, or a session sent no CSRF token.",
    "404": "There is no such record.",
    "406": "The answer is JSON; `Accept` excludes it.",
    "409": "A record with this value exists, or a simultaneous change was in the way.",
    "415": "The body must be `application/json`.",
    "429": "Too many requests: wait for the seconds that `Retry-After` gives.",
}


class TokenScheme(KnoxTokenScheme):
    target_class = "project.api.authentication.TokenAuthentication"
    name = "token"
    priority = 1


class AutoSchema(openapi.AutoSchema):
    def get_tags(self) -> list[str]:
        return super().get_tags()[:1]


def document_problems(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add to every operation the statuses that it can answer with."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["responses"] = {
        f"Problem{status}": {
            "description": description,
            **({"headers": RETRY_AFTER} if status == "429" else {}),
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }
        for status, description in PROBLEMS.items()
    }
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            if not path.startswith("/api/v1/"):
                continue
            for status in _statuses(path, method, operation):
                reference = {"$ref": f"#/components/responses/Problem{status}"}
                operation["responses"].setdefault(status, reference)
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return result


RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}


def _statuses(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    statuses = ["400", "401", "403", "406", "429"]
    if "{id}" in path:
        statuses.append("404")
    if "requestBody" in operation:
        statuses.append("415")
    if method in ("post", "put", "patch") and "/auth/" not in path:
        statuses.append("409")
    return statuses
