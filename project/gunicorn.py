"""gunicorn's configuration; the master reads the settings first, so a wrong one stops the start."""

import logging
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from django.conf import settings  # noqa: E402

from project import env  # noqa: E402

wsgi_app = "project.wsgi"
bind = f"{env.text('BIND', '127.0.0.1')}:{settings.PORT}"
# SQLite and memory as cache want one process; its threads wait for each other's I/O only.
workers = 1 if settings.EMBEDDED else settings.WEB_CONCURRENCY
worker_class = "gthread"
threads = env.number("WEB_THREADS", 4, 1, 64)
timeout = env.number("WEB_TIMEOUT", 60, 5, 3600)
# Below compose's stop_grace_period, so that requests in hand are answered before SIGKILL.
graceful_timeout = env.number("WEB_GRACEFUL_TIMEOUT", 25, 1, 3600)
limit_request_line = 8190  # the most it takes; a link to the next page may carry long titles
keepalive = env.number("WEB_KEEPALIVE", 5, 0, 3600)
# A process is replaced now and then, whatever may leak; jitter, so that not all are at once.
max_requests = env.number("WEB_MAX_REQUESTS", 0 if settings.EMBEDDED else 10_000, 0, 10**9)
max_requests_jitter = max_requests // 5
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # no disk in the heartbeat
# project.proxies takes the client's address and scheme from trusted proxies, for gunicorn knows
# neither their names nor X-Forwarded-For. Two judges might disagree, so gunicorn trusts nobody.
forwarded_allow_ips = ""
control_socket_disable = True  # signals suffice
accesslog = None if settings.EMBEDDED else "-"
access_log_format = '%(h)s "%(r)s" %(s)s %(B)s bytes %(M)s ms %({x-request-id}o)s "%(a)s"'


def post_worker_init(worker: Any) -> None:
    from project.database import bound_waits

    bound_waits()


def when_ready(server: Any) -> None:
    """Leave the questions of health checks out of the access log, as long as the answer is good."""

    def worth_a_line(record: Any) -> bool:
        return not (record.args["U"].startswith("/health/") and record.args["s"] == "200")

    logging.getLogger("gunicorn.access").addFilter(worth_a_line)
