import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from io import StringIO
from typing import IO, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

PROCESSES = {
    "web": ["-m", "gunicorn", "--config", "python:project.gunicorn", "--log-level", "warning"],
    "worker": [
        *("-m", "celery", "--app", "project", "--quiet", "worker", "--concurrency", "1"),
        *("--without-gossip", "--without-mingle", "--loglevel", "info"),
    ],
    "beat": ["-m", "celery", "--app", "project", "--quiet", "beat", "--loglevel", "warning"],
}
STOP_TIMEOUT_SECONDS = 15  # until a process that does not end is killed
PR_SET_PDEATHSIG = 1  # linux/prctl.h
prctl = getattr(ctypes.CDLL(None), "prctl", None)  # only on Linux


class Command(BaseCommand):
    help = (
        "Run the whole tool on this machine, with nothing else installed: web, worker and beat "
        "on SQLite and folders under DATA_DIR, until Ctrl-C."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.EMBEDDED:
            raise CommandError(
                "DATABASE_URL is set: this command is for the embedded run on SQLite. "
                "Unset it, or start the roles one by one (entrypoint.sh)."
            )
        self.stopping = False
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        lock = self.lock()
        self.check_port()
        report = StringIO()
        call_command("prepare", sample_data=True, verbosity=0, stdout=report)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.stop)
        try:
            for name in PROCESSES:
                self.start(name, lock)
            self.wait_for_web()
            if not self.stopping:
                self.announce(report.getvalue())
            self.watch(lock)
        finally:  # also after a closed output: nobody else would end the processes
            self.end()

    def lock(self) -> IO[str]:
        file = open(settings.DATA_DIR / "run.lock", "a+")  # noqa: SIM115  # held until we end
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CommandError(already_running(file.read())) from None
        self.write_processes(file)
        return file

    def write_processes(self, lock: IO[str]) -> None:
        """For the next start, which finds it locked: this process, then its children."""
        lock.truncate(0)
        lock.writelines(
            f"{pid}\n" for pid in (os.getpid(), *(p.pid for p in self.running.values()))
        )
        lock.flush()

    def check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", settings.PORT))
            except OSError as error:
                raise CommandError(
                    f"Port {settings.PORT} cannot be used ({error.strerror}). "
                    f"Choose another: make run PORT={settings.PORT % 65535 + 1}"
                ) from None

    def start(self, name: str, lock: IO[str]) -> None:
        # A session of its own, so that Ctrl-C reaches only this process, which ends the others.
        # They hold the lock too: if this process is killed, the next start sees who is left.
        self.running[name] = subprocess.Popen(
            [sys.executable, *PROCESSES[name]],
            start_new_session=True,
            pass_fds=[lock.fileno()],
            preexec_fn=end_with_parent,  # safe: there is one thread
        )
        self.write_processes(lock)

    def wait_for_web(self) -> None:
        while not self.stopping and self.running["web"].poll() is None:
            try:
                socket.create_connection(("127.0.0.1", settings.PORT), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)

    def announce(self, report: str) -> None:
        address = f"http://127.0.0.1:{settings.PORT}"
        lines = [
            "",
            "Library desk is running. Press Ctrl-C to stop it.",
            f"  Staff         {address}/admin/",
            f"  API           {address}/api/docs/",
            f"  E-mails       {settings.DATA_DIR / 'mail'}",
            *(f"  {line}" for line in report.splitlines()),
            "",
        ]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()

    def watch(self, lock: IO[str]) -> None:
        """Restart processes that die, until told to stop."""
        while not self.stopping:
            time.sleep(0.5)
            for name, process in self.running.items():
                if process.poll() is not None and not self.stopping:
                    self.stderr.write(f"{name} ended ({process.returncode}); starting it again")
                    time.sleep(1)
                    self.start(name, lock)

    def stop(self, *args: Any) -> None:
        self.stopping = True

    def end(self) -> None:
        with suppress(OSError):
            self.stdout.write("\nStopping; the worker finishes its current task …")
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        for process in self.running.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def end_with_parent() -> None:
    """In a child: SIGTERM when the parent is killed and cannot stop it."""
    if prctl:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def already_running(pids: str) -> str:
    """The next start's message, from the lock file."""
    living = [pid for pid in pids.split() if is_alive(pid)]
    if not living:
        return f"Library desk on {settings.DATA_DIR} is starting or stopping: try again."
    if living[0] == pids.split()[0]:
        del living[1:]  # it ends its children itself
    return (
        f"Library desk already runs on {settings.DATA_DIR} (process {', '.join(living)}). "
        f"Stop it with: kill {' '.join(living)}"
    )


def is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
