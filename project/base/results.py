import json
from datetime import datetime
from typing import Any

from celery.utils.log import get_logger
from django.db import connections
from django.db.utils import OperationalError
from django.utils.translation import gettext_noop
from django_celery_results.backends import DatabaseBackend
from django_celery_results.models import TaskResult

from .database import CONNECTION_ERRORS, LOCK_ERRORS

logger = get_logger(__name__)

LOST = "LOST"  # beside Celery's states: a FAILURE would claim to know when the task ended
WORKER_LOST = gettext_noop(
    "The worker stopped answering before the task ended. What was left goes to another task."
)


class RetryingBackend(DatabaseBackend):
    """Retries where MySQL's error passes by itself: a lost result is a lost answer.

    Celery backs off between the attempts (CELERY_RESULT_BACKEND_* in the settings).
    """

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        code = exc.args[0] if isinstance(exc, OperationalError) and exc.args else None
        if code in CONNECTION_ERRORS | LOCK_ERRORS:
            logger.warning("Writing a task's result again after MySQL's error %s.", code)
            # Outside requests and tasks Django never drops a broken connection by itself.
            connections[self.TaskModel._default_manager.db].close()
            return True
        return super().exception_safe_to_retry(exc)


def mark_lost(began_by: datetime, **which: Any) -> None:
    """Say of running tasks that their worker is lost.

    Not of one that began later: a broker delivers the message of a lost worker again, with its id.
    If a task ends after all, Celery writes its result over this.
    """
    running = TaskResult.objects.filter(status="STARTED", date_started__lte=began_by, **which)
    running.update(status=LOST, result=json.dumps([[WORKER_LOST, {}]]))
