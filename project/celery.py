import logging
import os
from typing import Any

from celery import Celery, signals
from celery.app.utils import Settings
from celery.beat import PersistentScheduler
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

app = Celery("library-desk")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.celeryd_init.connect
def wait_for_the_broker(conf: Settings, **kwargs: Any) -> None:
    """A worker may wait for its broker; settings hold the web's limits, which only publishes."""
    conf.broker_transport_options = settings.WORKER_TRANSPORT_OPTIONS


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
        return super().tick(*args, **kwargs)
