"""A worker that consumes nothing ends itself, to be restarted.

A worker may be connected and yet consume nothing (celery/celery#8091 and its successors), which
`inspect ping` does not notice. So each worker sends itself a task every few seconds, through broker
and pool. The task touches a file whose age this module and project/healthcheck.py watch.
"""

import logging
import os
import signal
import threading
import time
from typing import Any

import redis
from celery import bootsteps
from celery.worker import state
from django.conf import settings
from kombu.exceptions import OperationalError

from . import tasks

logger = logging.getLogger(__name__)

HEARTBEAT_INTERVAL_SECONDS = 15
WATCH_INTERVAL_SECONDS = 5


def queue_name(node: str) -> str:
    return f"heartbeat.{node}"


class Heartbeat(bootsteps.StartStopStep):
    """Starts and stops with the consumer, so it restarts after a lost connection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    timer: Any = None

    def include_if(self, consumer: Any) -> bool:
        return bool(settings.REDIS_URL)  # the embedded run restarts nothing

    def start(self, consumer: Any) -> None:
        self.beat(consumer)
        self.timer = consumer.timer.call_repeatedly(
            HEARTBEAT_INTERVAL_SECONDS, self.beat, (consumer,)
        )

    def stop(self, consumer: Any) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    shutdown = stop

    def beat(self, consumer: Any) -> None:
        if is_busy(consumer.pool.num_processes):
            tasks.touch_heartbeat()
        # Short timeouts: the worker does nothing else while it publishes.
        limits = {"socket_timeout": 2, "socket_connect_timeout": 2}
        try:
            with consumer.app.connection_for_write(transport_options=limits) as connection:
                tasks.heartbeat.apply_async(  # type: ignore[call-arg]
                    queue=queue_name(consumer.hostname),
                    expires=HEARTBEAT_INTERVAL_SECONDS * 4,
                    connection=connection,
                    retry=False,
                )
        except (OperationalError, OSError) as error:
            logger.warning("The broker accepts no heartbeat: %r", error)


def is_busy(processes: int) -> bool:
    """Whether every process is busy, and one of them within its task's time limit."""

    def is_in_time(request: Any) -> bool:
        limit = request.task.soft_time_limit or settings.CELERY_TASK_SOFT_TIME_LIMIT
        return time.time() - (request.time_start or 0) < limit

    active = list(state.active_requests)
    return len(active) >= processes and any(map(is_in_time, active))


def watch(stopping: threading.Event) -> None:
    """End this process after WORKER_DEAF_AFTER seconds without a heartbeat while the broker answers.

    Counts its own rounds, so neither a changed clock nor a suspended machine looks like silence.
    """
    silence, last = 0.0, heartbeat_at()
    while silence < settings.WORKER_DEAF_AFTER:
        if stopping.wait(WATCH_INTERVAL_SECONDS):
            return
        at = heartbeat_at()
        silence = silence + WATCH_INTERVAL_SECONDS if at == last and broker_answers() else 0
        last = at
    logger.critical("The worker is deaf: no heartbeat for %d s. It ends.", silence)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT + 5)  # to give back its messages
    logger.critical("The deaf worker did not end: it is killed.")
    os.kill(os.getpid(), signal.SIGKILL)


def heartbeat_at() -> float | None:
    try:
        return tasks.heartbeat_file().stat().st_mtime
    except OSError:
        return None


def broker_answers() -> bool:
    limits: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 2}
    try:
        with redis.Redis.from_url(settings.REDIS_URL, **limits) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
