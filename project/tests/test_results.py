"""A task's result survives what the database survives."""

from unittest.mock import patch

import pytest
from celery import current_app
from django.db import DataError, InterfaceError, OperationalError, connection
from django_celery_results.models import TaskResult

STORE = "django_celery_results.managers.TaskResultManager.store_result"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "trouble",
    [OperationalError(2013, "Lost connection"), OperationalError(1213), InterfaceError(0, "")],
    ids=repr,
)
def test_a_passing_trouble_is_waited_out(trouble):
    store = TaskResult.objects.store_result
    with patch(STORE, side_effect=[trouble, trouble, store]) as stored:
        current_app.backend.store_result("id", "Sent.", "SUCCESS")
    assert stored.call_count == 3


@pytest.mark.django_db(transaction=True)
def test_another_error_is_not_repeated():
    with patch(STORE, side_effect=DataError) as stored, pytest.raises(DataError):
        current_app.backend.store_result("id", "Sent.", "SUCCESS")
    assert stored.call_count == 1


def test_it_is_not_waited_for_without_end(settings):
    assert settings.CELERY_RESULT_BACKEND_MAX_RETRIES <= 20


@pytest.mark.mysql
@pytest.mark.skipif(connection.vendor != "mysql", reason="DATABASE_URL names no MySQL")
@pytest.mark.django_db(transaction=True)
def test_a_killed_connection_loses_no_result():
    connection.ensure_connection()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("KILL %s", [connection.connection.thread_id()])
    other.close()
    current_app.backend.store_result("id", "Sent.", "SUCCESS")
    assert TaskResult.objects.get().status == "SUCCESS"
