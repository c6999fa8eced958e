"""Celery's Redis transport, which drops messages that no worker can process.

Celery trusts its queue: a message it cannot decode ends the worker, or comes back for ever. Nothing
is lost: the database holds the work too, and the sweeper finds it there.
"""

import logging
from base64 import b64decode
from datetime import datetime
from types import NoneType
from typing import Any

from celery import current_app
from kombu.transport import redis
from kombu.utils.json import loads

logger = logging.getLogger(__name__)

MAX_BODY_LENGTH = 4096  # characters; a batch of 50 ids takes less than 2,000
MAX_ID_LENGTH = 255  # as in the table of results
MAX_TIME_LIMIT = 3600  # seconds

ENVELOPE: dict[str, Any] = dict.fromkeys(["body", "content-type", "content-encoding"], str)
ENVELOPE |= dict.fromkeys(["headers", "properties"], dict)
PROPERTIES = {"delivery_tag": str, "delivery_info": dict, "body_encoding": str}
DELIVERY_INFO = {"exchange": str, "routing_key": str}
# We never send these, so they are refused: a task with an ETA holds one of the few prefetch slots
# of a worker until it is due, and callbacks may name anything.
HEADERS: dict[str, Any] = {
    "id": str,
    "task": str,
    "retries": int,
    "expires": str | None,
    "root_id": str | None,
    "parent_id": str | None,
    "ignore_result": bool | None,
} | dict.fromkeys(["eta", "shadow", "group", "stamped_headers", "compression"], NoneType)
EMBED = dict.fromkeys(["callbacks", "errbacks", "chain", "chord"], NoneType)

# What kombu's decoder raises; it revives some types from JSON.
UNDECODABLE = (
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class InvalidMessageError(ValueError):
    """Names the part that is wrong, never its content, which may be anything."""


def validate(message: Any) -> None:
    """Raise an error unless the message looks like one of our own."""
    check_types(message, ENVELOPE)
    headers, properties = message["headers"], message["properties"]
    check_types(headers, HEADERS)
    check_types(properties, PROPERTIES)
    check_types(properties["delivery_info"], DELIVERY_INFO)
    if (message["content-type"], message["content-encoding"], properties["body_encoding"]) != (
        "application/json",
        "utf-8",
        "base64",
    ):
        raise InvalidMessageError("no JSON in UTF-8 and base64")
    if headers["task"] not in current_app.tasks:
        raise InvalidMessageError("unknown task")
    if not 0 < len(headers["id"]) <= MAX_ID_LENGTH:
        raise InvalidMessageError("id")
    hard, soft = headers["timelimit"]
    if any(limit is not None and not 0 < limit <= MAX_TIME_LIMIT for limit in (hard, soft)):
        raise InvalidMessageError("timelimit")
    if headers.get("expires"):
        datetime.fromisoformat(headers["expires"])
    if len(message["body"]) > MAX_BODY_LENGTH:
        raise InvalidMessageError("body")
    args, kwargs, embed = loads(b64decode(message["body"], validate=True))
    check_types({"args": args, "kwargs": kwargs}, {"args": list, "kwargs": dict})
    check_types(embed, EMBED)


def check_types(part: Any, types: dict[str, Any]) -> None:
    if not isinstance(part, dict):
        raise InvalidMessageError("no object where one is expected")
    for name, kind in types.items():
        if not isinstance(part.get(name), kind):
            raise InvalidMessageError(name)


def log_dropped(error: Exception) -> None:
    logger.error(
        "A message that no worker can process is dropped: %s: %.200s", type(error).__name__, error
    )


class Channel(redis.Channel):
    _client: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Kombu's makes one for each message, which costs more CPU than sending it."""
        if asynchronous:
            return super()._create_client(asynchronous)  # type: ignore[misc]
        if self._client is None or self._client.connection_pool is not self.pool:
            self._client = super()._create_client()  # type: ignore[misc]
        return self._client

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except UNDECODABLE as error:  # off the queue, and not yet anywhere else
            log_dropped(error)
            return True


class Transport(redis.Transport):
    Channel = Channel

    def _deliver(self, message: Any, queue: str | None) -> None:
        try:
            validate(message)
        except Exception as error:  # anybody may have made this message, so anything may be raised
            log_dropped(error)
        else:
            super()._deliver(message, queue)
