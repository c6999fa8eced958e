"""gunicorn's configuration. The master reads the settings first, so a wrong one stops the start."""

import json
import os
import uuid
from datetime import timedelta
from http import HTTPStatus
from socket import socket
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from django.conf import settings  # noqa: E402
from gunicorn import util  # noqa: E402
from gunicorn.glogging import Logger  # noqa: E402
from gunicorn.workers.gthread import ThreadWorker  # noqa: E402

from project.base import env  # noqa: E402


class DrainingWorker(ThreadWorker):
    """At a stop, accepts the connections that wait in the listening socket, then closes it.

    gunicorn keeps the socket open until the last response and accepts nothing more, so it drops
    what comes meanwhile. Once closed it refuses connections, and nginx asks another web.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if self.alive:
            return
        for listener in self.sockets:
            taken = -1
            while self.nr_conns > taken:
                taken = self.nr_conns
                self.accept(listener)
            listener.close()


RESET_PATH = "/admin/reset/"  # what follows is as good as a password
CLIENT = "HTTP_X_FORWARDED_FOR" if settings.TRUSTED_PROXIES else "REMOTE_ADDR"


class AccessLog(Logger):
    """A line for each request but successful health checks.

    gunicorn's own format has the line look every header of request and response up by its name,
    and they are all named anew for each.
    """

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        path = environ.get("PATH_INFO", "")  # not of a request with a malformed header
        status = resp.status.partition(" ")[0]
        if not self.access_log_enabled or (path.startswith("/health/") and status == "200"):
            return
        line = "{REQUEST_METHOD} {RAW_URI} {SERVER_PROTOCOL}".format_map(environ)
        if RESET_PATH in path + line:
            line = f"{environ['REQUEST_METHOD']} {RESET_PATH}…"
        values = (environ.get(CLIENT, "-"), line, environ.get("HTTP_USER_AGENT", "-"))
        client, line, agent = (value.replace('"', r"\"") for value in values)
        request_id = dict(resp.headers).get("X-Request-ID", "-")
        took = f"{resp.sent} bytes {request_time // timedelta(milliseconds=1)} ms"
        self.access_log.info(f'{client} "{line}" {status} {took} {request_id} "{agent}"')


def write_problem(client: socket, status: int, _reason: str, message: str) -> None:
    """The answer to what is no request, such as an address that is too long, for the API's clients.

    In containers nginx gives it, by the address; gunicorn does not know the address.
    """
    reason = HTTPStatus(status).phrase  # gunicorn calls each of its 501s a "Bad Request"
    problem = {"type": "about:blank", "title": reason, "status": status}
    problem |= {"detail": message or reason, "errors": [], "request_id": uuid.uuid4().hex}
    body = json.dumps(problem)
    head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: application/problem+json\r\nX-Request-ID: {problem['request_id']}\r\n"
    util.write_nonblock(client, f"{head}\r\n{body}".encode("ascii"))


util.write_error = write_problem  # gunicorn has no setting for it, and writes HTML
wsgi_app = "project.wsgi"
bind = f"{env.text('BIND', '127.0.0.1')}:{settings.PORT}"
# SQLite and the in-memory cache need a single process.
workers = 1 if settings.EMBEDDED else settings.WEB_CONCURRENCY
worker_class = DrainingWorker
# A thread waits while its client sends. In containers nginx does the waiting; here nothing does.
threads = env.number("WEB_THREADS", 16 if settings.EMBEDDED else 4, 1, 64)
timeout = env.number("WEB_TIMEOUT", 60, 5, 3600)
# Below compose's stop_grace_period, so that requests in hand are answered before SIGKILL.
graceful_timeout = env.number("WEB_GRACEFUL_TIMEOUT", 25, 1, 3600)
limit_request_line = 8190  # gunicorn's maximum; a link to the next page may carry long titles
keepalive = env.number("WEB_KEEPALIVE", 5, 0, 3600)
# Processes are replaced now and then, in case they leak; jitter spreads that out.
max_requests = env.number("WEB_MAX_REQUESTS", 0 if settings.EMBEDDED else 10_000, 0, 10**9)
max_requests_jitter = max_requests // 5
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # heartbeats need no disk
# Only Django interprets proxy headers (TRUSTED_PROXIES): two interpreters might disagree.
forwarded_allow_ips = ""
control_socket_disable = True  # signals suffice
accesslog = None if settings.EMBEDDED else "-"
logger_class = AccessLog


def post_worker_init(worker: Any) -> None:
    from project.base.database import bound_waits

    bound_waits(web=True)


def when_ready(server: Any) -> None:
    """Tell project/healthcheck.py the address."""
    host = next(iter(settings.ALLOWED_HOSTS), "*").lstrip(".")
    address = f"{settings.PORT} {'localhost' if host == '*' else host}"
    settings.DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    (settings.DATA_DIR / "address").write_text(address)
