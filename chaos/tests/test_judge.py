"""The drill itself must be able to fail."""

from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from chaos import imports
from chaos.__main__ import MIN_ACCEPTED, judge
from chaos.faults import FAULTS, Fault
from chaos.imports import judge_import
from chaos.stack import Outcome
from library.files.models import Import
from library.models import Book
from library.tests.books import add
from members.models import Member, WelcomeEmail
from project.base.history import Door, recorded_as

pytestmark = pytest.mark.django_db
NAMES = [f"mem{number}" for number in range(MIN_ACCEPTED)]


class Drill:
    """A drill in which all went well, for tests to spoil."""

    def __init__(self) -> None:
        self.outcome = Outcome("a fault", accepted=list(NAMES))
        self.outcome.statuses["201"] = len(NAMES)
        self.before: Counter[str] = Counter({"earlier@example.org": 1})
        self.taken = Counter({f"{name}@example.org": 1 for name in NAMES}) + self.before
        for name in NAMES:
            member = Member.objects.create(username=name, email=f"{name}@example.org")
            WelcomeEmail.objects.create(member=member, state="sent", attempts=1)

    def row(self, name: str):
        return WelcomeEmail.objects.filter(member__username=name)

    def judged(self, **fault) -> list[str]:
        stack = SimpleNamespace(sink=SimpleNamespace(taken=self.taken))
        judge(stack, Fault("a fault", nullcontext, **fault), self.outcome, 0, self.before)
        return self.outcome.wrong


@pytest.fixture
def drill() -> Drill:
    return Drill()


def test_all_well(drill):
    assert drill.judged() == []
    outcome = drill.outcome
    assert (outcome.sent, outcome.failed, outcome.mails, outcome.copies) == (5, 0, 5, 0)


def test_no_mail_at_all(drill):
    drill.taken = drill.before
    WelcomeEmail.objects.update(state="failed", last_error="No.")
    assert "no mail was sent" in drill.judged(refuses=True)


def test_mails_that_are_called_sent_and_never_came(drill):
    drill.taken = drill.before
    assert any("called sent and not there" in wrong for wrong in drill.judged())


def test_a_failure_where_nothing_was_refused(drill):
    drill.row("mem1").update(state="failed", last_error="No.")
    del drill.taken["mem1@example.org"]
    assert drill.judged() == ["1 failed: ['No.']"]


def test_a_failure_where_mails_were_refused(drill):
    drill.row("mem1").update(state="failed", last_error="No.")
    del drill.taken["mem1@example.org"]
    assert drill.judged(refuses=True) == []


def test_no_failure_where_mails_were_refused(drill):
    assert drill.judged(refuses=True) == ["no mail failed, though the server refused"]


def test_a_failure_without_a_reason(drill):
    drill.row("mem1").update(state="failed")
    del drill.taken["mem1@example.org"]
    assert drill.judged(refuses=True) == ["a mail failed without a reason"]


def test_a_failed_mail_that_came(drill):
    drill.row("mem1").update(state="failed", last_error="No.")
    assert drill.judged(refuses=True) == ["a mail is called failed and came"]


@pytest.mark.parametrize(("copies", "killed", "well"), [(1, 0, False), (2, 2, True), (2, 1, False)])
def test_copies_are_one_for_each_killed_process(drill, copies, killed, well):
    WelcomeEmail.objects.update(attempts=9)
    drill.taken["mem1@example.org"] += copies
    assert (drill.judged(killed=killed) == []) is well


def test_copies_where_the_servers_answer_was_lost(drill):
    WelcomeEmail.objects.update(attempts=2)
    drill.taken["mem1@example.org"] += 1
    assert drill.judged(answers_lost=True) == []
    drill.taken["mem1@example.org"] += 1
    assert drill.judged(answers_lost=True) == ["mem1 got 3 mails in 2 attempts"]


def test_who_was_accepted_and_is_not_there(drill):
    Member.objects.filter(username="mem1").delete()
    assert any("accepted and not there" in wrong for wrong in drill.judged(mysql_away=True))


def test_a_member_without_a_confirmed_response(drill):
    drill.outcome.accepted[1] = drill.outcome.accepted[0]
    assert "members without a confirmed response" in drill.judged()


def test_an_answer_may_be_lost_with_the_database_or_the_web(drill):
    extra = Member.objects.create(username="extra", email="extra@example.org")
    WelcomeEmail.objects.create(member=extra, state="sent", attempts=1)
    drill.taken["extra@example.org"] += 1
    assert drill.judged(mysql_away=True) == []
    assert drill.judged(webs_die=True) == []
    assert drill.judged() == ["members without a confirmed response"]


def test_a_member_without_a_row(drill):
    drill.row("mem1").delete()
    assert any("without a row" in wrong for wrong in drill.judged())


def test_a_mail_to_nobody(drill):
    drill.taken["stranger@example.org"] += 1
    assert drill.judged() == ["mails to nobody's row: ['stranger']"]


def test_too_few_registrations(drill):
    drill.outcome.accepted.pop()
    Member.objects.get(username=NAMES[-1]).delete()
    del drill.taken[f"{NAMES[-1]}@example.org"]
    assert drill.judged() == ["only 4 registrations were accepted"]


def test_an_error_of_the_web(drill):
    drill.outcome.statuses["500"] = 1
    assert drill.judged(mysql_away=True) == ["1 answers 500"]


def test_a_503_is_for_a_database_that_is_away(drill):
    drill.outcome.statuses["503"] = 1
    assert drill.judged(mysql_away=True) == []
    assert drill.judged() == ["1 answers 503"]


def test_a_connection_that_broke(drill):
    drill.outcome.statuses["ConnectionResetError"] = 1
    assert drill.judged(webs_die=True) == []
    assert drill.judged() == ["1 times ConnectionResetError"]


@pytest.fixture
def job(monkeypatch) -> Import:
    """An import that went well, for tests to spoil."""
    monkeypatch.setattr(imports, "BOOKS", 2)
    written = {"new": 2, "changed": 0, "same": 0}
    job = Import.objects.create(name="fault-7.csv", state="done", written=written)
    with recorded_as(Door.IMPORT, batch=job.batch):
        for number in range(2):
            add(title=f"fault-7 book {number}")
    return job


def judged_import(job: Import) -> list[str]:
    outcome = Outcome("a fault")
    judge_import(job, outcome)
    return outcome.wrong


def test_an_import_that_went_well(job):
    assert judged_import(job) == []


def test_an_import_that_did_not_end(job):
    job.state = "running"
    assert judged_import(job) == ["the import is running: None"]


def test_an_import_that_counted_a_batch_twice(job):
    job.written = {"new": 2, "changed": 0, "same": 1}
    assert judged_import(job) == ["it counted {'new': 2, 'changed': 0, 'same': 1}"]


def test_an_import_that_lost_a_book(job):
    Book.objects.first().delete()
    assert judged_import(job) == ["1 of 2 books were imported"]


def test_an_import_that_wrote_a_book_twice(job):
    with recorded_as(Door.IMPORT, batch=job.batch):
        Book.objects.filter(title="fault-7 book 1").update(author="Twice")
    assert judged_import(job) == ["3 lines of history for 2 imported books"]


def test_which_faults_may_fail_a_mail_repeat_one_or_refuse_a_registration():
    named = {fault.name: fault for fault in FAULTS}
    assert len(named) == len(FAULTS) >= 26
    assert {name for name, fault in named.items() if fault.refuses} == {
        "mail server answers 550",
        "mail server answers 552",
    }
    assert [name for name, fault in named.items() if fault.answers_lost] == [
        "mail server closes after DATA"
    ]
    assert {name: fault.killed for name, fault in named.items() if fault.killed} == {
        "workers killed in the middle of SMTP": 4,
        "workers killed in the middle of batches": 4,
        "a worker asleep for longer than its claims": 2,
    }
    assert all(name.startswith("MySQL") == fault.mysql_away for name, fault in named.items())
