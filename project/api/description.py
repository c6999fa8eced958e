"""The API's description and the pages that show it: drf-spectacular's settings."""

from pathlib import Path
from typing import Any

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Library desk",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "DESCRIPTION": Path(__file__).with_suffix(".md").read_text(encoding="utf-8"),
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    "SERVERS": [{"url": "/", "description": "The desk that serves this description."}],
    "COMPONENT_SPLIT_REQUEST": True,
    "DISABLE_DOCSTRING_DESCRIPTIONS": True,  # they are for maintainers
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "displayRequestDuration": True,
        "filter": True,
        "persistAuthorization": True,
        "tryItOutEnabled": True,
        "validatorUrl": None,  # Swagger UI would send the schema to its maker's server
    },
    "TAGS": [
        {"name": "books", "description": "The catalogue."},
        {"name": "members", "description": "Registration and the member register."},
        {"name": "auth", "description": "Tokens for programs."},
        {"name": "health", "description": "What load balancers and monitors ask."},
    ],
    "POSTPROCESSING_HOOKS": [
        "project.api.conditional.document_conditions",
        "project.api.schema.document_problems",
        "project.api.schema.name_this_host",
    ],
}
