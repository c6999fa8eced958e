from django.db import InterfaceError, OperationalError, connection
from django_celery_results.backends import DatabaseBackend


class ResultBackend(DatabaseBackend):
    """Writes a result again after a trouble of the database that passes.

    Its parent knows InterfaceError alone; MySQL's lost connections and deadlocks (2006, 2013, 1205,
    1213) are OperationalError, and the task would stay "started" for ever.
    """

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        if not isinstance(exc, OperationalError | InterfaceError):
            return False
        connection.close()  # it may be the dead one; the next query opens another
        return True
