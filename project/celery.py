import logging
import os
import threading
import time
from typing import Any

from celery import Celery, signals
from celery.app.utils import Settings
from celery.beat import PersistentScheduler
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

logger = logging.getLogger(__name__)

app = Celery("library-desk")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.celeryd_init.connect
def wait_for_the_broker(conf: Settings, **kwargs: Any) -> None:
    """A worker may wait for its broker; settings hold the web's limits, which only publishes."""
    conf.broker_transport_options = settings.WORKER_TRANSPORT_OPTIONS


@signals.celeryd_init.connect
@signals.beat_init.connect
def bound_waits_for_the_database(**kwargs: Any) -> None:
    from .database import bound_waits

    bound_waits()


@signals.task_prerun.connect
def keep_the_database_connection(**kwargs: Any) -> None:
    """From task to task for CONN_MAX_AGE seconds, as the web does from request to request.

    CELERY_DB_REUSE_MAX stops Celery from closing it twice a task; here it is left when it is old
    or broken, and its next use asks first whether it still stands (CONN_HEALTH_CHECKS).
    """
    from django.db import close_old_connections, connection

    if not connection.in_atomic_block:  # eager, in a test or a request
        close_old_connections()


@signals.celeryd_init.connect
def watch_consumption(instance, **kwargs) -> None:
    from .worker import Heartbeat

    app.steps["consumer"].add(Heartbeat)


@signals.celeryd_after_setup.connect
def add_heartbeat_queue(sender, instance, **kwargs) -> None:
    from .worker import queue_name

    if not settings.REDIS_URL:
        return
    # It outlives its worker by a few minutes only: the next container has another name.
    instance.app.amqp.queues.select_add(queue_name(sender), expires=600)


# What runs every few seconds: worth a line when it fails only.
ROUTINE = {"project.tasks.heartbeat", "members.tasks.sweep_welcome_emails"}


@signals.celeryd_after_setup.connect
def start_without_a_connection(**kwargs: Any) -> None:
    """The checks at the start ask the database; its processes must not inherit one connection."""
    from django.db import connections

    connections.close_all()


@signals.after_setup_logger.connect
def keep_routine_out_of_the_log(**kwargs: Any) -> None:
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).addFilter(is_news)


def is_news(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or getattr(record, "data", {}).get("name") not in ROUTINE


class WatchedScheduler(PersistentScheduler):
    """Beat's clock, whose every move can be seen from outside (project/healthcheck.py)."""

    def tick(self, *args, **kwargs) -> float:
        from .tasks import touch_heartbeat

        touch_heartbeat()
        self.show_pulse()
        return super().tick(*args, **kwargs)

    PULSE = 15  # seconds
    pulse_at = float("-inf")
    pulse: threading.Thread | None = None

    def show_pulse(self) -> None:
        """In a thread of its own: neither a database that fails nor one that hangs stops a clock."""
        if time.monotonic() - self.pulse_at < self.PULSE or (self.pulse and self.pulse.is_alive()):
            return
        self.pulse_at = time.monotonic()
        self.pulse = record_pulse("beat")


@signals.worker_ready.connect
def show_first_pulse(**kwargs: Any) -> None:
    """Before the first sweep comes by, else the dashboard would say that no worker answers."""
    record_pulse("worker")


def record_pulse(part: str) -> threading.Thread:
    thread = threading.Thread(target=_record_pulse, args=[part], daemon=True)
    thread.start()
    return thread


def _record_pulse(part: str) -> None:
    from django.db import connection

    from members.models import Dispatch

    try:
        Dispatch.objects.heartbeat(part)
    except Exception as error:  # whatever it is, clock and worker go on
        logger.warning("The pulse of %s cannot be recorded: %r", part, error)
    finally:
        connection.close()
