"""What makes a worker's silence heard: a heartbeat that has to come through its own queue.

A worker may be connected and yet consume nothing (celery/celery#8091 and its successors), and
`inspect ping` does not notice. So each worker sends itself a task every few seconds, over the
broker and through the pool; the task touches a file, and project/healthcheck.py watches the file.
"""

import logging
from typing import Any

from celery import bootsteps
from celery.worker import state
from django.conf import settings
from kombu.exceptions import OperationalError

from . import tasks

logger = logging.getLogger(__name__)

INTERVAL = 15  # seconds; healthcheck.LATE and DEAF are multiples of it


def queue_name(node: str) -> str:
    return f"heartbeat.{node}"


class Heartbeat(bootsteps.StartStopStep):
    """Starts and stops with the consumer: after a lost connection it begins anew."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    timer: Any = None

    def include_if(self, consumer: Any) -> bool:
        return bool(settings.REDIS_URL)  # the embedded run restarts nothing

    def start(self, consumer: Any) -> None:
        self.beat(consumer)
        self.timer = consumer.timer.call_repeatedly(INTERVAL, self.beat, (consumer,))

    def stop(self, consumer: Any) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    shutdown = stop

    def beat(self, consumer: Any) -> None:
        if len(state.active_requests) >= consumer.pool.num_processes:
            # Nothing can come through while every process works; time limits end their work.
            tasks.touch_heartbeat()
        # Short limits: the worker does nothing else while it publishes.
        limits = {"socket_timeout": 2, "socket_connect_timeout": 2}
        try:
            with consumer.app.connection_for_write(transport_options=limits) as connection:
                tasks.heartbeat.apply_async(  # type: ignore[call-arg]
                    queue=queue_name(consumer.hostname),
                    expires=INTERVAL * 4,
                    connection=connection,
                    retry=False,
                )
        except (OperationalError, OSError) as error:
            logger.warning("The broker takes no heartbeat: %r", error)
