"""Three webs, two workers and a beat on a real MySQL and Redis, while one thing after another fails.

DATABASE_URL and REDIS_URL name servers that hold nothing of value: Redis is flushed. CHAOS_MYSQL
and CHAOS_REDIS are the names of their containers (docker stop, start, pause, restart); without
them these faults are left out. CHAOS=quick takes the most telling faults only.
"""

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from .faults import FAULTS, MYSQL, REDIS, Fault
from .sink import Sink
from .works import PASSWORD, Load, Outcome, Works

QUICK = os.environ.get("CHAOS") == "quick"
LOAD = 3 if QUICK else 4  # seconds of registrations while a fault lasts
PATIENCE = 90  # seconds after a fault until every mail is sent or explained


@contextmanager
def empty_database() -> Iterator[str]:
    import MySQLdb

    parts = urlsplit(os.environ["DATABASE_URL"])
    name = f"test_chaos_{os.getpid()}"

    def server() -> "MySQLdb.Connection":
        return MySQLdb.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username or "",
            password=parts.password or "",
        )

    server().query(f"CREATE DATABASE {name}")
    try:
        # A server that is silent for longer than this has failed (database.bound_waits).
        yield parts._replace(path=f"/{name}", query="read_timeout=3&write_timeout=3").geturl()
    finally:
        server().query(f"DROP DATABASE {name}")


def drill(works: Works, fault: Fault) -> Outcome:
    from members.models import Member, WelcomeEmail

    outcome = Outcome(fault.name)
    first = Member.objects.order_by("pk").values_list("pk", flat=True).last() or 0
    before = works.sink.taken.copy()
    with Load(works.ports, outcome, works.cookie):
        time.sleep(0.5)
        with fault.cause(works):
            time.sleep(LOAD)
        healed = time.monotonic()
        time.sleep(0.5)
    rows = WelcomeEmail.objects.filter(member__pk__gt=first)
    while rows.exclude(state__in=["sent", "failed"]).exists():
        if time.monotonic() - healed > PATIENCE:
            left = rows.exclude(state__in=["sent", "failed"]).values_list("state", "last_error")
            outcome.wrong.append(f"{len(left)} not settled: {Counter(left).most_common(3)}")
            break
        time.sleep(0.2)
    outcome.recovery = time.monotonic() - healed
    judge(works, fault, outcome, first, before)
    return outcome


def judge(works: Works, fault: Fault, outcome: Outcome, first: int, before: Counter[str]) -> None:
    from members.models import Member, WelcomeEmail

    taken = works.sink.taken - before
    members = set(Member.objects.filter(pk__gt=first).values_list("username", flat=True))
    rows = {
        row["member__username"]: row
        for row in WelcomeEmail.objects.filter(member__pk__gt=first).values(
            "member__username", "state", "attempts", "last_error"
        )
    }
    wrong = outcome.wrong
    if missing := set(outcome.accepted) - members:
        wrong.append(f"accepted and not there: {sorted(missing)[:3]}")
    if members != set(rows):
        wrong.append(f"without a welcome row: {sorted(members ^ set(rows))[:3]}")
    for name, row in rows.items():
        mails = taken[f"{name}@example.org"]
        outcome.mails += mails
        outcome.duplicates += max(0, mails - 1)
        if row["state"] == "sent" and not mails:
            outcome.lost += 1
        if row["state"] == "failed":
            outcome.failed += 1
            if not row["last_error"]:
                wrong.append(f"{name} failed without a reason")
        if mails > row["attempts"]:
            wrong.append(f"{name} got {mails} mails in {row['attempts']} attempts")
    if outcome.duplicates > fault.repeats:
        wrong.append(f"{outcome.duplicates} mails came twice")
    if outcome.lost:
        wrong.append(f"{outcome.lost} lost")
    if not outcome.accepted:
        wrong.append("no registration was accepted")
    for status, count in outcome.statuses.items():
        if status.startswith("5") and not (status == "503" and fault.mysql_away):
            wrong.append(f"{count} answers {status}")
        if not status.isdigit() and not fault.webs_die:
            wrong.append(f"{count} times {status}")


def report(outcomes: list[Outcome]) -> None:
    heads = [
        "asked",
        "accepted",
        "mails",
        "failed",
        "duplicates",
        "lost",
        "slowest s",
        "recovery s",
    ]
    print(f"\n| {'fault':42} | " + " | ".join(heads) + " |")
    print("|---|" + "--:|" * len(heads))
    for o in outcomes:
        numbers = [o.asked, len(o.accepted), o.mails, o.failed, o.duplicates, o.lost]
        seconds = [f"{o.slowest:.2f}", f"{o.recovery:.1f}"]
        cells = [str(n).rjust(len(h)) for n, h in zip([*numbers, *seconds], heads, strict=True)]
        print(f"| {o.fault:42} | " + " | ".join(cells) + " |")


def main() -> int:
    start = time.monotonic()
    redis_url = urlsplit(os.environ["REDIS_URL"])._replace(path="/14").geturl()
    sink = Sink()
    outcomes = []
    with empty_database() as database_url, tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "project.tests.chaos.settings",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "DATA_DIR": folder,
            "SECRET_KEY": os.urandom(16).hex(),
            "EMAIL_URL": f"smtp://desk:secret@127.0.0.1:{sink.port}",
            "THROTTLE_REGISTER": "100000/min",
            "DJANGO_SUPERUSER_USERNAME": "chaos",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "WORKER_CONCURRENCY": "2",
        }
        import django
        from redis import Redis

        django.setup()
        from django.core.management import call_command

        with Redis.from_url(redis_url) as redis:
            redis.flushdb()
        call_command("prepare", verbosity=0)
        works = Works(Path(folder), sink)
        print(f"Ready after {time.monotonic() - start:.0f} s", flush=True)
        try:
            for fault in FAULTS:
                only = os.environ.get("CHAOS_ONLY")
                if (QUICK and not fault.quick) or (only and only not in fault.name):
                    continue
                if {"mysql": not MYSQL, "redis": not REDIS}.get(fault.needs):
                    print(f"Left out, for CHAOS_{fault.needs.upper()} is not set: {fault.name}")
                    continue
                outcome = drill(works, fault)
                outcomes.append(outcome)
                print(
                    f"{time.monotonic() - start:4.0f} s {fault.name}: {dict(outcome.statuses)}",
                    *outcome.wrong,
                    sep="\n         WRONG " if outcome.wrong else "",
                    flush=True,
                )
        finally:
            for process in works.processes:
                process.signal(signal.SIGCONT)
                process.kill()
            if keep := os.environ.get("CHAOS_LOGS"):
                for process in works.processes:
                    Path(keep, f"{process.name}.log").write_bytes(process.log.read_bytes())
            from django.db import connection

            connection.close()
    report(outcomes)
    print(f"\n{sink.connections} connections to the mail server, {time.monotonic() - start:.0f} s")
    wrong = [o.fault for o in outcomes if o.wrong]
    print("Wrong: " + ", ".join(wrong) if wrong else "Every promise was kept.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
