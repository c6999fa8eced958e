"""Three webs, two workers and a beat on a real MySQL and Redis, while one part after another fails.

Members register and a catalogue is imported meanwhile.

DATABASE_URL and REDIS_URL name servers that hold nothing of value: Redis is flushed. CHAOS_MYSQL
and CHAOS_REDIS name their containers (docker stop, start, pause, restart); without them these
faults are skipped. CHAOS=quick runs only the most telling faults.
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
from .imports import begin, examined, is_over, judge_import
from .sink import Sink
from .stack import PASSWORD, Load, Outcome, Stack

QUICK = os.environ.get("CHAOS") == "quick"
LOAD_SECONDS = 3 if QUICK else 4  # of registrations while a fault lasts
RECOVERY_SECONDS = 90  # after a fault, until all is imported and every mail sent or explained
MIN_ACCEPTED = 5  # registrations; with fewer the drill shows nothing


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
        # A statement fails when the server is silent for longer (database.bound_waits).
        yield parts._replace(path=f"/{name}", query="read_timeout=3&write_timeout=3").geturl()
    finally:
        server().query(f"DROP DATABASE {name}")


def drill(stack: Stack, fault: Fault) -> Outcome:
    from members.models import Member, WelcomeEmail

    outcome = Outcome(fault.name)
    first = Member.objects.order_by("pk").values_list("pk", flat=True).last() or 0
    before = stack.sink.taken.copy()
    job = examined(FAULTS.index(fault))
    with Load(stack.ports, outcome, stack.cookie):
        time.sleep(0.5)
        begin(job)
        with fault.cause(stack):
            time.sleep(LOAD_SECONDS)
        healed = time.monotonic()
        time.sleep(0.5)
    rows = WelcomeEmail.objects.filter(member__pk__gt=first)
    while rows.exclude(state__in=["sent", "failed"]).exists() or not is_over(job):
        if time.monotonic() - healed > RECOVERY_SECONDS:
            left = rows.exclude(state__in=["sent", "failed"]).values_list("state", "last_error")
            outcome.wrong.append(f"{len(left)} not settled: {Counter(left).most_common(3)}")
            break
        time.sleep(0.2)
    outcome.recovery = time.monotonic() - healed
    judge(stack, fault, outcome, first, before)
    judge_import(job, outcome)
    return outcome


def judge(stack: Stack, fault: Fault, outcome: Outcome, first: int, before: Counter[str]) -> None:
    """accepted == members == rows == mails, except for what the fault may change."""
    from members.models import Member, WelcomeEmail

    members = set(Member.objects.filter(pk__gt=first).values_list("username", flat=True))
    rows = WelcomeEmail.objects.filter(member__pk__gt=first).select_related("member")
    states = {row.member.username: row for row in rows}
    mails = Counter(
        {address.partition("@")[0]: n for address, n in (stack.sink.taken - before).items()}
    )
    accepted, wrong = set(outcome.accepted), outcome.wrong
    sent = {name for name, row in states.items() if row.state == "sent"}
    failed = {name: row for name, row in states.items() if row.state == "failed"}
    outcome.sent, outcome.failed, outcome.mails = len(sent), len(failed), mails.total()
    outcome.copies = mails.total() - len(mails)

    def expect(rule: bool, words: str) -> None:
        if not rule:
            wrong.append(words)

    expect(len(accepted) >= MIN_ACCEPTED, f"only {len(accepted)} registrations were accepted")
    expect(accepted <= members, f"accepted and not there: {sorted(accepted - members)[:3]}")
    expect(not fault.answers_all or members <= accepted, "members without a confirmed response")
    expect(members == set(states), f"without a row: {sorted(members ^ set(states))[:3]}")
    expect(sent <= set(mails), f"called sent and not there: {sorted(sent - set(mails))[:3]}")
    strangers = set(mails) - set(states)
    expect(not strangers, f"mails to nobody's row: {sorted(strangers)[:3]}")
    expect(bool(sent), "no mail was sent")
    if fault.refuses:
        expect(bool(failed), "no mail failed, though the server refused")
    else:
        expect(not failed, f"{len(failed)} failed: {[r.last_error for r in failed.values()][:3]}")
    expect(all(row.last_error for row in failed.values()), "a mail failed without a reason")
    expect(not set(failed) & set(mails), "a mail is called failed and came")
    if not fault.answers_lost:
        words = f"{outcome.copies} copies of {fault.killed} killed processes"
        expect(outcome.copies <= fault.killed, words)
    for name, number in mails.items():
        if name in states and number > states[name].attempts:
            wrong.append(f"{name} got {number} mails in {states[name].attempts} attempts")
    for status, count in outcome.statuses.items():
        if status.startswith("5") and not (status == "503" and fault.mysql_away):
            wrong.append(f"{count} answers {status}")
        if not status.isdigit() and not fault.webs_die:
            wrong.append(f"{count} times {status}")


def report(outcomes: list[Outcome]) -> None:
    heads = [
        "asked",
        "accepted",
        "sent",
        "failed",
        "mails",
        "copies",
        "slowest s",
        "recovery s",
    ]
    print(f"\n| {'fault':42} | " + " | ".join(heads) + " |")
    print("|---|" + "--:|" * len(heads))
    for o in outcomes:
        numbers = [o.asked, len(o.accepted), o.sent, o.failed, o.mails, o.copies]
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
            "DJANGO_SETTINGS_MODULE": "chaos.settings",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "DATA_DIR": folder,
            "MEDIA_ROOT": f"{folder}/media",
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
        stack = Stack(Path(folder), sink)
        print(f"Ready after {time.monotonic() - start:.0f} s", flush=True)
        try:
            for fault in FAULTS:
                only = os.environ.get("CHAOS_ONLY")
                if (QUICK and not fault.quick) or (only and only not in fault.name):
                    continue
                if {"mysql": not MYSQL, "redis": not REDIS}.get(fault.needs):
                    print(f"Skipped, CHAOS_{fault.needs.upper()} is not set: {fault.name}")
                    continue
                outcome = drill(stack, fault)
                outcomes.append(outcome)
                print(
                    f"{time.monotonic() - start:4.0f} s {fault.name}: {dict(outcome.statuses)}",
                    *outcome.wrong,
                    sep="\n         WRONG " if outcome.wrong else "",
                    flush=True,
                )
        finally:
            for process in stack.processes:
                process.signal(signal.SIGCONT)
                process.kill()
            if keep := os.environ.get("CHAOS_LOGS"):
                for process in stack.processes:
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
