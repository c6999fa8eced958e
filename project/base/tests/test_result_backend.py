import pytest
from django.db import connection
from django.db.utils import IntegrityError, OperationalError
from django_celery_results.models import TaskResult

from project.base.results import RetryingBackend
from project.celery import app

pytestmark = pytest.mark.django_db


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setattr("celery.backends.base.time.sleep", lambda seconds: None, raising=False)
    monkeypatch.setattr("project.base.results.connections", {"default": Connection()})
    return RetryingBackend(app)


class Connection:
    closed = 0

    def close(self):
        self.closed += 1


def failing(monkeypatch, *errors):
    """The table raises these errors first."""
    manager = RetryingBackend.TaskModel._default_manager
    waiting, store = list(errors), manager.store_result

    def answer(**columns):
        if waiting:
            raise waiting.pop(0)
        return store(**columns)

    monkeypatch.setattr(manager, "store_result", answer)
    return waiting


def test_results_go_through_our_backend():
    assert isinstance(app.backend, RetryingBackend)
    assert app.backend.always_retry


@pytest.mark.parametrize("code", [2006, 2013, 1205, 1213, 2003, 4031])
def test_a_passing_fault_of_mysql_loses_no_result(backend, monkeypatch, code):
    waiting = failing(monkeypatch, *[OperationalError(code, "passing")] * 2)
    backend.store_result("task", "sentence", "SUCCESS")
    assert TaskResult.objects.get(task_id="task").status == "SUCCESS"
    assert waiting == []


@pytest.mark.parametrize(
    "error",
    [OperationalError(1045, "denied"), IntegrityError(1062), IntegrityError(1205), OSError(2006)],
)
def test_other_faults_are_not_tried_again(backend, error):
    assert not backend.exception_safe_to_retry(error)


def test_a_broken_connection_is_left():
    backend = RetryingBackend(app)
    with pytest.MonkeyPatch.context() as patch:
        connection = Connection()
        patch.setattr("project.base.results.connections", {"default": connection})
        assert backend.exception_safe_to_retry(OperationalError(2006, "gone away"))
    assert connection.closed == 1


@pytest.mark.mysql
@pytest.mark.django_db(transaction=True)
def test_a_result_survives_a_connection_that_mysql_cut_off():
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        (number,) = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(f"KILL {number}")
    other.close()
    app.backend.store_result("cut-off", "sentence", "SUCCESS")
    assert TaskResult.objects.get(task_id="cut-off").status == "SUCCESS"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", ["STARTED", "SUCCESS"])
def test_a_task_that_runs_a_second_time_keeps_one_result(first):
    backend = RetryingBackend(app)
    backend.store_result("task", "before", first)
    backend.store_result("task", None, "STARTED")
    backend.store_result("task", "sentence", "FAILURE")
    assert TaskResult.objects.get(task_id="task").status == "FAILURE"


def test_a_result_without_a_beginning_is_stored_too():
    RetryingBackend(app).store_result("task", "sentence", "REVOKED")
    assert TaskResult.objects.get(task_id="task").status == "REVOKED"
