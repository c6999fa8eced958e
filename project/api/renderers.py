from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework import renderers

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
