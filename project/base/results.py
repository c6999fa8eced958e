from celery.utils.log import get_logger
from django.db import connections
from django.db.utils import OperationalError
from django_celery_results.backends import DatabaseBackend

from .database import IN_THE_WAY, LOST

logger = get_logger(__name__)


class RetryingBackend(DatabaseBackend):
    """Writes a result again where MySQL's fault is a passing one; a lost result is a lost answer.

    Celery waits between the attempts, longer each time (CELERY_RESULT_BACKEND_* in the settings).
    """

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        code = exc.args[0] if isinstance(exc, OperationalError) and exc.args else None
        if code in LOST | IN_THE_WAY:
            logger.warning("A task's result is written again after MySQL's error %s.", code)
            # Django never leaves a broken connection by itself outside of requests and tasks.
            connections[self.TaskModel._default_manager.db].close()
            return True
        return super().exception_safe_to_retry(exc)
