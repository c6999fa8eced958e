import logging
import os
import threading
import time
from typing import Any

from celery import Celery, signals
from celery.app.utils import Settings
from celery.beat import PersistentScheduler
from django.conf import settings
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

logger = logging.getLogger(__name__)

TRANSPORT_ALIASES |= dict.fromkeys(["redis", "rediss"], "project.base.transport:Transport")
app = Celery("library-desk")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.celeryd_init.connect
def wait_for_the_broker(conf: Settings, **kwargs: Any) -> None:
    """A worker may wait for its broker; the settings hold limits for the web, which only publishes."""
    conf.broker_transport_options = settings.WORKER_TRANSPORT_OPTIONS


@signals.celeryd_init.connect
@signals.beat_init.connect
def bound_waits_for_the_database(**kwargs: Any) -> None:
    from .base.database import bound_waits

    bound_waits()


@signals.task_prerun.connect
def keep_the_database_connection(**kwargs: Any) -> None:
    """Across tasks for CONN_MAX_AGE seconds, as the web keeps it across requests.

    CELERY_DB_REUSE_MAX stops Celery from closing it twice per task. Here an old or broken one is
    closed, and the next use checks it first (CONN_HEALTH_CHECKS).
    """
    from django.db import close_old_connections, connection

    if not connection.in_atomic_block:  # eager, in a test or a request
        close_old_connections()


@signals.celeryd_init.connect
def watch_consumption(instance: Any, **kwargs: Any) -> None:
    from .worker import Heartbeat

    app.steps["consumer"].add(Heartbeat)


stopping = threading.Event()


@signals.celeryd_after_setup.connect
def add_heartbeat_queue(sender: str, instance: Any, **kwargs: Any) -> None:
    from .worker import queue_name, watch

    if not settings.REDIS_URL:
        return
    # It outlives its worker by ten minutes: the next container has another name.
    instance.app.amqp.queues.select_add(queue_name(sender), expires=600)
    threading.Thread(target=watch, args=[stopping], daemon=True).start()


@signals.worker_shutting_down.connect
def stop_watching(**kwargs: Any) -> None:
    stopping.set()


# These run every few seconds, so only their failures are logged.
ROUTINE = {
    "project.tasks.heartbeat",
    "members.tasks.sweep_welcome_emails",
    "library.tasks.sweep_jobs",
}


@signals.celeryd_after_setup.connect
def start_without_a_connection(**kwargs: Any) -> None:
    """The checks at the start query the database; pool processes must not inherit the connection."""
    from django.db import connections

    connections.close_all()


@signals.after_setup_logger.connect
def keep_routine_out_of_the_log(**kwargs: Any) -> None:
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).addFilter(is_news)


def is_news(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or getattr(record, "data", {}).get("name") not in ROUTINE


class WatchedScheduler(PersistentScheduler):
    """Beat's scheduler, whose every tick is visible from outside (project/healthcheck.py)."""

    HEARTBEAT_INTERVAL_SECONDS = 15  # in the database
    heartbeat_at = float("-inf")
    heartbeat: threading.Thread | None = None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        from .tasks import touch_heartbeat

        touch_heartbeat()
        self.record_heartbeat()
        return super().tick(*args, **kwargs)

    def record_heartbeat(self) -> None:
        """In a thread: a database that fails or hangs must not stop beat."""
        recent = time.monotonic() - self.heartbeat_at < self.HEARTBEAT_INTERVAL_SECONDS
        if recent or (self.heartbeat and self.heartbeat.is_alive()):
            return
        self.heartbeat_at = time.monotonic()
        self.heartbeat = record_heartbeat("beat")


@signals.worker_ready.connect
def record_first_heartbeat(**kwargs: Any) -> None:
    """Before the first sweep, or the dashboard says that no worker answers."""
    record_heartbeat("worker")


def record_heartbeat(part: str) -> threading.Thread:
    thread = threading.Thread(target=_record_heartbeat, args=[part], daemon=True)
    thread.start()
    return thread


def _record_heartbeat(part: str) -> None:
    from django.db import connection

    from members.models import Dispatch

    try:
        Dispatch.objects.heartbeat(part)
    except Exception as error:  # whatever it is, beat and worker go on
        logger.warning("The heartbeat of %s cannot be recorded: %r", part, error)
    finally:
        connection.close()
