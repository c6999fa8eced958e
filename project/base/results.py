from celery.utils.log import get_logger
from django.db import connections
from django.db.utils import OperationalError
from django_celery_results.backends import DatabaseBackend

from .database import CONNECTION_ERRORS, LOCK_ERRORS

logger = get_logger(__name__)


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
