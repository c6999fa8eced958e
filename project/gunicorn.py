"""gunicorn's configuration; the master reads the settings first, so a wrong one stops the start."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from django.conf import settings  # noqa: E402

from project import env  # noqa: E402

wsgi_app = "project.wsgi"
bind = f"{env.text('BIND', '127.0.0.1')}:{settings.PORT}"
# SQLite and memory as cache want one process; its threads wait for each other's I/O only.
workers = 1 if settings.EMBEDDED else env.number("WEB_CONCURRENCY", 2, 1, 64)
worker_class = "gthread"
threads = env.number("WEB_THREADS", 4, 1, 64)
timeout = 60
graceful_timeout = 25
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # no disk in the heartbeat
accesslog = None if settings.EMBEDDED else "-"
