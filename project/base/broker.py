"""Telling the workers, and what the broker says of itself to health checks and the dashboard."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Task, current_app
from celery.result import AsyncResult
from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import breaker

logger = logging.getLogger(__name__)


def publish(task: Task, *args: Any) -> AsyncResult | None:
    """Tell the workers; None where they cannot be told, which a sweeper or the caller makes good."""
    try:
        with breaker.broker:
            return task.delay(*args)
    except Exception as error:  # kombu, redis and the operating system raise what they like
        logger.warning("The broker takes no messages now: %r", error)
        return None


@contextmanager
def redis_at_a_glance() -> Iterator[Redis]:
    """For callers that would rather know nothing than wait."""
    retry = Retry(NoBackoff(), 0)
    limits = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
    with breaker.health, Redis.from_url(settings.REDIS_URL, retry=retry, **limits) as redis:
        yield redis


def queue_length() -> int | None:
    """How many messages wait for the workers; None where the broker does not say so in time."""
    queue = current_app.conf.task_default_queue
    try:
        if not settings.REDIS_URL:
            folder = Path(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_in"])
            return sum(1 for _ in folder.glob(f"*.{queue}.msg"))
        with redis_at_a_glance() as redis:
            return redis.llen(queue)
    except Exception as error:  # Redis and the operating system raise what they like
        logger.warning("The length of the queue is unknown: %r", error)
        return None
