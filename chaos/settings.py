"""The tool's settings with shorter times, so that a drill takes minutes."""

from celery.schedules import schedule

from project.settings import *  # noqa: F403
from project.settings import CELERY_BEAT_SCHEDULE, INSTALLED_APPS, WORKER_TRANSPORT_OPTIONS

INSTALLED_APPS = [*INSTALLED_APPS, "chaos.apps.ChaosConfig"]
EMAIL_TIMEOUT = 2
CELERY_TASK_SOFT_TIME_LIMIT = 8
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
CELERY_BEAT_SCHEDULE = {
    name: CELERY_BEAT_SCHEDULE[name] | {"schedule": schedule(2), "options": {"expires": 3}}
    for name in ("sweep", "jobs")
}
WORKER_TRANSPORT_OPTIONS = WORKER_TRANSPORT_OPTIONS | {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "health_check_interval": 4,
}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
