"""Settings whose change no page would show, each with its reason."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from celery.schedules import crontab
from django.conf import global_settings, settings

from project import tasks
from project.celery import app

CELERY = {
    "task_acks_late": True,  # a task whose worker dies comes back
    "worker_prefetch_multiplier": 1,  # no worker hoards tasks that another could run
    "worker_enable_remote_control": False,  # no message may control a worker
    "broker_connection_retry_on_startup": True,  # a worker may start before its broker
    "task_soft_time_limit": 120,  # no task holds its worker for ever
    "task_track_started": True,  # the desk shows what runs and how long it took
    "result_extended": True,  # the desk shows the task's name
    "result_expires": timedelta(days=30),  # as long as tokens and the chart
    "result_backend_always_retry": True,  # a lost result is a lost answer
    "result_backend_max_retries": 16,  # about half a minute
    "worker_max_tasks_per_child": 1000,  # limits leaks
    "worker_max_memory_per_child": 300 * 1024,  # kilobytes
    "worker_concurrency": 2,
    "worker_soft_shutdown_timeout": 60,  # below compose's stop_grace_period
}


@pytest.mark.parametrize(("name", "value"), CELERY.items(), ids=CELERY)
def test_what_celery_is_told(name, value):
    assert getattr(app.conf, name) == value


def test_the_purge_comes_every_hour_and_does_not_pile_up():
    entry = settings.CELERY_BEAT_SCHEDULE["celery.backend_cleanup"]
    assert entry["schedule"] == crontab(minute="17")
    assert entry["options"]["expires"] == 3600


EMBEDDED = {
    "DEBUG": False,
    "ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]"],
    "CSRF_TRUSTED_ORIGINS": [],
    "PORT": 8000,
    "HTTPS": False,
    "WEB_CONCURRENCY": 2,
    "TRUSTED_PROXIES": 0,  # no client may state its address
    "PUBLIC_CATALOGUE": True,
    "PUBLIC_REGISTRATION": True,
    "LANGUAGE_CODE": "en",
    "TIME_ZONE": "UTC",
    "USE_TZ": True,
    "MAIL_INTERVAL": 0,
    "EMAIL_TIMEOUT": 20,
    "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
    "WORKER_DEAF_AFTER": 120,
    "SESSION_COOKIE_HTTPONLY": True,  # no script reads it
    "SESSION_COOKIE_SAMESITE": "Lax",  # nor does another site send it
    "CSRF_COOKIE_SAMESITE": "Lax",
    "SESSION_COOKIE_AGE": 14 * 24 * 3600,
    "POLLING_INTERVAL": 0.1,  # a worker takes one message per poll
    "DATA_UPLOAD_MAX_NUMBER_FIELDS": 10_100,  # all rows that a list offers to select
    "DATA_UPLOAD_MAX_NUMBER_FILES": 100,
}
SERVERS = {
    "CACHE": {"socket_timeout": 0.25, "socket_connect_timeout": 0.25},  # a page waits no longer
    "CACHE_PREFIX": "cache",  # the broker's keys are in the same Redis
    "CONN_MAX_AGE": 60,  # far below MySQL's wait_timeout
    "CONN_HEALTH_CHECKS": True,  # of persistent connections
    "CONNECT_TIMEOUT": 5,
    "CELERY_TASK_PUBLISH_RETRY": False,  # a user waits; the sweep finds what is lost
    "CELERY_BROKER_TRANSPORT_OPTIONS": {
        "socket_timeout": 0.75,
        "socket_connect_timeout": 0.75,
        "max_retries": 0,
        "interval_start": 0,
        "interval_step": 0,
        "interval_max": 0,
    },
    "WORKER_TRANSPORT_OPTIONS": {
        "socket_timeout": 30,
        "socket_connect_timeout": 10,
        "health_check_interval": 25,  # below the timeout, to notice a silent broker
        "visibility_timeout": 3600,  # longer than any task, or a running one is delivered again
    },
}
SQLITE = """
import json, sqlite3
import django
django.setup()
from django.conf import global_settings, settings
from django.db import connection, transaction
pragmas = {}
with connection.cursor() as cursor:
    for name in ("journal_mode", "synchronous", "busy_timeout"):
        pragmas[name] = cursor.execute(f"PRAGMA {name}").fetchone()[0]
other = sqlite3.connect(settings.DATABASES["default"]["NAME"], timeout=0)
with transaction.atomic():
    try:
        other.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        pragmas["other"] = str(error)
print(json.dumps(pragmas))
"""


def told(code: str, folder) -> dict:
    """What a separate process prints in an environment that sets nothing else."""
    unset = {"DATABASE_URL", "REDIS_URL"}
    clean = {name: value for name, value in os.environ.items() if name not in unset}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=settings.BASE_DIR,
        env=clean | {"DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def embedded(settings_with):
    made = settings_with()
    polling = made["WORKER_TRANSPORT_OPTIONS"]["polling_interval"]
    return vars(global_settings) | made | {"POLLING_INTERVAL": polling}


@pytest.fixture(scope="module")
def servers(settings_with):
    urls = {"DATABASE_URL": "mysql://u:p@127.0.0.1/x", "REDIS_URL": "redis://127.0.0.1"}
    made = settings_with(SECRET_KEY="x", **urls)
    database, cache = made["DATABASES"]["default"], made["CACHES"]["default"]
    return made | {
        "CACHE": cache["OPTIONS"],
        "CACHE_PREFIX": cache["KEY_PREFIX"],
        "CONN_MAX_AGE": database["CONN_MAX_AGE"],
        "CONN_HEALTH_CHECKS": database["CONN_HEALTH_CHECKS"],
        "CONNECT_TIMEOUT": database["OPTIONS"]["connect_timeout"],
    }


@pytest.mark.parametrize(("name", "value"), EMBEDDED.items(), ids=EMBEDDED)
def test_an_empty_environment_means_the_embedded_run(embedded, name, value):
    assert embedded[name] == value


@pytest.mark.parametrize(("name", "value"), SERVERS.items(), ids=SERVERS)
def test_settings_with_servers(servers, name, value):
    assert servers[name] == value


def test_sqlites_readers_wait_for_no_writer_and_writers_queue(tmp_path):
    assert told(SQLITE, tmp_path) == {
        "journal_mode": "wal",
        "synchronous": 1,  # NORMAL: a power cut corrupts nothing
        "busy_timeout": 20_000,  # milliseconds
        "other": "database is locked",  # from BEGIN on
    }


@pytest.mark.parametrize(
    ("value", "longest"), [("MAX_PURGE_SECONDS", 60), ("PURGE_BATCH_SIZE", 2000)]
)
def test_a_purge_is_short(value, longest):
    """The worker has other tasks, and others need the table."""
    assert getattr(tasks, value) <= longest


@pytest.mark.parametrize("name", ["heartbeat", "purge_results"])
def test_periodic_tasks_leave_no_result(name):
    assert getattr(tasks, name).ignore_result


def test_a_replica_has_limits_of_its_own(settings_with):
    servers = {"DATABASE_URL": "mysql://a:b@db/desk", "REDIS_URL": "redis://c", "SECRET_KEY": "x"}
    made = settings_with(**servers, REPLICA_DATABASE_URL="mysql://c:d@other:3307/desk")
    replica = made["DATABASES"]["replica"]
    assert (replica["HOST"], replica["PORT"], replica["USER"]) == ("other", 3307, "c")
    assert (replica["CONN_MAX_AGE"], replica["CONN_HEALTH_CHECKS"]) == (60, True)
    assert replica["OPTIONS"]["connect_timeout"] == 1  # the primary answers instead
    assert replica["OPTIONS"]["read_timeout"] == 6
    assert made["DATABASES"]["default"]["OPTIONS"]["connect_timeout"] == 5
    assert "DATABASE_ROUTERS" not in settings_with(**servers)


def test_a_replica_needs_what_tells_all_webs_who_wrote(settings_with):
    servers = {"DATABASE_URL": "mysql://a:b@db/desk", "SECRET_KEY": "x"}
    with pytest.raises(SystemExit, match="REPLICA_DATABASE_URL needs REDIS_URL"):
        settings_with(**servers, REPLICA_DATABASE_URL="mysql://c:d@other/desk")


@pytest.mark.parametrize("primary", ["", "sqlite:////tmp/desk.sqlite3"])
def test_a_replica_is_of_mysql(settings_with, primary):
    with pytest.raises(SystemExit, match="REPLICA_DATABASE_URL needs MySQL"):
        settings_with(DATABASE_URL=primary, SECRET_KEY="x", REPLICA_DATABASE_URL="mysql://a:b@c/d")
