from typing import Any

from celery import states
from celery.utils.log import get_logger
from django.db import IntegrityError, connection, connections
from django.db.utils import OperationalError
from django.utils import timezone
from django_celery_results.backends import DatabaseBackend
from django_celery_results.managers import TaskResultManager
from django_celery_results.models import TaskResult

from .database import IN_THE_WAY, LOST

logger = get_logger(__name__)


class LeanManager(TaskResultManager):
    """Writes a result in one statement, where get_or_create() and save() take eight."""

    def store_result(self, *args: Any, **columns: Any) -> Any:
        lean = dict(columns)
        if args or lean.pop("using", None):
            return super().store_result(*args, **columns)
        rows = self.filter(task_id=lean.pop("task_id"))
        if lean["status"] != states.STARTED and rows.update(**lean, date_done=timezone.now()):
            return None
        if connection.in_atomic_block:  # where a duplicate key would end the transaction
            return super().store_result(**columns)
        try:
            return self.create(task_id=columns["task_id"], **lean)
        except IntegrityError:  # another process was faster, or the task runs a second time
            return super().store_result(**columns)


class LeanTable:
    """As much of a model as the backend asks for."""

    DoesNotExist = TaskResult.DoesNotExist
    _default_manager = LeanManager()
    _default_manager.model = TaskResult


class RetryingBackend(DatabaseBackend):
    """Writes a result again where MySQL's fault is a passing one; a lost result is a lost answer.

    Celery waits between the attempts, longer each time (CELERY_RESULT_BACKEND_* in the settings).
    """

    TaskModel = LeanTable

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        code = exc.args[0] if isinstance(exc, OperationalError) and exc.args else None
        if code in LOST | IN_THE_WAY:
            logger.warning("A task's result is written again after MySQL's error %s.", code)
            # Django never leaves a broken connection by itself outside of requests and tasks.
            connections[self.TaskModel._default_manager.db].close()
            return True
        return super().exception_safe_to_retry(exc)
