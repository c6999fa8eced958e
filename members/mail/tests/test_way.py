"""The whole way of a mail: registration, row, task, a real SMTP server, and back into the row."""

import os
from contextlib import suppress
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.utils import timezone

from members.mail.delivery import deliver
from members.mail.tasks import send_welcome_emails, sweep_welcome_emails
from members.models import Dispatch, Member, WelcomeEmail
from members.registration import register_member

from .mail_server import MailServer, mail_server

State = WelcomeEmail.State
pytestmark = pytest.mark.django_db
NAMES = ("ann", "bob", "cat", "dan")


@pytest.fixture
def run(delay):
    """Whatever is enqueued runs at once, as in a worker."""
    delay.side_effect = lambda *ids: send_welcome_emails.apply(
        args=ids, task_id=os.urandom(8).hex()
    )
    return delay


@pytest.fixture
def ids(owed) -> list[int]:
    return [owed(name, enqueued_at=None).pk for name in NAMES]


def row(name: str = "ann") -> WelcomeEmail:
    return WelcomeEmail.objects.get(member__username=name)


def names(server: MailServer) -> list[str]:
    return [mail["To"].partition("@")[0] for mail in server.taken]


def make_due() -> None:
    WelcomeEmail.objects.filter(state=State.QUEUED).update(next_attempt_at=timezone.now())


def test_a_registration_becomes_a_mail(settings, run, django_capture_on_commit_callbacks):
    with mail_server(settings) as server, django_capture_on_commit_callbacks(execute=True):
        register_member(Member(username="ann", email="Ann@example.org"))
    assert [mail["To"] for mail in server.taken] == ["Ann@example.org"]
    assert row().state == State.SENT
    assert row().sent_at and row().sent_at >= row().claimed_at


@pytest.mark.parametrize(
    ("answers", "state", "attempts", "code"),
    [
        ({"rcpt": "550 5.1.1 no such user"}, State.FAILED, 1, "550"),
        ({"rcpt": "550 5.1.2 no such domain"}, State.FAILED, 1, "550"),
        ({"data": "552 5.2.2 mailbox full"}, State.FAILED, 1, "552"),
        ({"data": "554 5.6.0 content"}, State.FAILED, 1, "554"),
        ({"rcpt": "450 4.7.1 greylisted"}, State.QUEUED, 1, "450"),
        ({"rcpt": "421 4.7.0 not now"}, State.QUEUED, 1, "421"),
        ({"data": "451 4.3.0 later"}, State.QUEUED, 1, "451"),
        ({"data": None}, State.QUEUED, 1, "disconnected"),
        ({"rcpt": "554 5.7.1 Relay access denied"}, State.QUEUED, 0, "policy"),
        ({"rcpt": "554 Relay access denied"}, State.QUEUED, 0, "policy"),
        ({"data": "550 5.7.26 unauthenticated"}, State.QUEUED, 0, "policy"),
        ({"rcpt": "530 5.7.0 authentication required"}, State.QUEUED, 0, "530"),
        ({"rcpt": "550 5.1.8 bad sender"}, State.QUEUED, 0, "sender"),
    ],
)
def test_what_an_answer_leaves_in_the_row(ids, settings, run, answers, state, attempts, code):
    WelcomeEmail.objects.exclude(pk=ids[0]).delete()
    before = timezone.now()
    with mail_server(settings, **answers):
        sweep_welcome_emails()
    welcome = row()
    assert (welcome.state, welcome.attempts, welcome.last_error_code) == (state, attempts, code)
    assert welcome.last_error.endswith(".")
    ours = state == State.QUEUED and not attempts
    assert Dispatch.objects.pausing().exists() == ours
    if state == State.QUEUED:
        wait = timedelta(seconds=10 * attempts)
        assert welcome.next_attempt_at >= before + wait
        assert welcome.enqueued_at is None


def test_relaying_denied_stops_all_fails_nobody_and_all_go_out_once_it_is_cured(ids, settings, run):
    with mail_server(settings, rcpt="554 5.7.1 <x@y.org>: Relay access denied") as server:
        sweep_welcome_emails()
        sweep_welcome_emails()
        assert run.call_count == 1, "nothing more is tried"
        assert set(WelcomeEmail.objects.values_list("state", "attempts")) == {("queued", 0)}
        server.rcpt = "250 OK"
        Dispatch.objects.update(resume_at=timezone.now())
        sweep_welcome_emails()
    assert sorted(names(server)) == list(NAMES)
    assert set(WelcomeEmail.objects.values_list("state", "attempts")) == {("sent", 1)}
    assert not Dispatch.objects.current().paused_at


class Choosy(MailServer):
    """Refuses one member by a policy, and takes the mails of all others."""

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:  # noqa: N802
        self.rcpt = "550 5.7.1 closed" if address.startswith("bob") else "250 OK"
        return await super().handle_RCPT(server, session, envelope, address, options)


def test_a_member_whom_the_server_refuses_by_policy_stops_the_others_once(ids, settings, run):
    with mail_server(settings, Choosy) as server:
        sweep_welcome_emails()
        assert names(server) == ["ann"], "as far as anybody knows, the fault is ours"
        Dispatch.objects.update(resume_at=timezone.now() - timedelta(seconds=1))
        ended = timezone.now() - timedelta(minutes=6)  # five minutes pass
        WelcomeEmail.objects.filter(pk=ids[1]).update(
            journal=[row("bob").journal[0] | {"ended": ended.isoformat()}]
        )
        for _ in range(40):
            sweep_welcome_emails()
            make_due()
        assert not Dispatch.objects.pausing().exists()
    assert names(server) == ["ann", "cat", "dan"]
    assert (row("bob").state, row("bob").attempts) == (State.FAILED, 29)


class KilledError(BaseException):
    """The process is gone: whatever should have followed does not."""


def test_a_mail_that_kills_its_worker_is_given_up_and_the_others_get_theirs_once(
    ids, settings, run
):
    """In the middle of a batch, after another mail of it has failed."""

    killed = []

    def kill_at_cat(welcome: WelcomeEmail) -> None:
        if welcome.member.username == "cat":
            killed.append(welcome.attempts)
            raise KilledError
        deliver(welcome)

    def work() -> None:
        messages: list[tuple[int, ...]] = []
        run.side_effect = lambda *ids: messages.append(ids)
        sweep_welcome_emails()
        for message in messages:
            with patch("members.mail.tasks.deliver", kill_at_cat), suppress(KilledError):
                send_welcome_emails.apply(args=message, task_id=os.urandom(8).hex())

    def time_passes() -> None:
        past = timezone.now() - timedelta(hours=2)
        WelcomeEmail.objects.filter(state=State.SENDING).update(claimed_at=past)
        rows = WelcomeEmail.objects.filter(state=State.QUEUED)
        rows.update(next_attempt_at=past, enqueued_at=None)

    with mail_server(settings) as server:

        async def ann_is_unknown(smtp, session, envelope, address, options) -> str:
            if address.startswith("ann"):
                return "550 5.1.1 no such user"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        server.handle_RCPT = ann_is_unknown
        work()
        assert [row(name).state for name in NAMES] == ["failed", "sent", "sending", "queued"]
        for _ in range(100):
            time_passes()
            work()
    assert killed == list(range(1, 30))
    assert names(server) == ["bob", "dan"]
    assert (row("cat").state, row("cat").attempts) == (State.FAILED, 29)
    assert row("cat").last_error_code == "worker-lost"
    assert (row("dan").state, row("dan").attempts) == (State.SENT, 1)
    assert {entry["code"] for entry in row("cat").journal} == {"worker-lost"}
    assert len(row("cat").journal) == 29
