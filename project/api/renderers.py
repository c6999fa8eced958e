"""JSON, and files by content negotiation."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.utils.translation import gettext as _
from rest_framework import renderers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

PROBLEM_TYPE = "application/problem+json"
encode_rest = renderers.JSONRenderer.encoder_class().default  # lazy texts, decimals …


class JSONRenderer(renderers.JSONRenderer):
    """What DRF's writes, by orjson."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else orjson.dumps(data, encode_rest, orjson.OPT_UTC_Z)


class ContentNegotiation(DefaultContentNegotiation):
    """Who asks for problem documents gets JSON too: errors are of one type, records of the other."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        if request.headers.get("Accept", "*/*") == "*/*":  # most programs, so not worth parsing
            return renderers[0], renderers[0].media_type
        return super().select_renderer(request, renderers, format_suffix)

    def get_accept_list(self, request: Request) -> list[str]:
        accepted = super().get_accept_list(request)
        return [token.replace(PROBLEM_TYPE, "application/json") for token in accepted]


class FileRenderer(BaseRenderer):
    """Names a media type; the view itself writes the file."""

    charset = None


def renderers_of(types: Mapping[str, str]) -> list[type[BaseRenderer]]:
    """One for each format; the first is for whoever accepts anything."""
    return [
        type("Renderer", (FileRenderer,), {"format": name, "media_type": kind.partition(";")[0]})
        for name, kind in types.items()
    ]


class FormatNegotiation(DefaultContentNegotiation):
    """The parameter `format`, and without it the header Accept, which browsers set themselves."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        asked = request.query_params.get("format")
        for renderer in renderers:
            if renderer.format == asked:
                return renderer, renderer.media_type
        return super().select_renderer(request, renderers, format_suffix)


def chosen_format(request: Request, formats: Mapping[str, str]) -> str:
    """What the negotiation found; it cannot refuse a parameter, which comes after 401 and 403."""
    if request.query_params.get("format", "") not in ("", *formats):
        message = _("Choose one of %(names)s.") % {"names": ", ".join(formats)}
        raise ValidationError({"format": [ErrorDetail(message, "invalid_choice")]})
    return request.accepted_renderer.format
