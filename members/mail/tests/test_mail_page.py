"""The page of a welcome e-mail: what happened to it, and how it looks."""

import re
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import mark_safe

from members.conftest import claim
from members.mail.actions import SEND_AGAIN, note
from members.mail.admin import MAX_ENTRIES, timeline
from members.mail.reasons import RefusedError
from members.mail.tasks import AttemptFailedError, send_welcome_emails
from members.models import WelcomeEmail
from project.admin.display import moment

from .operators import State, page_of, post, result_of, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("delay")]


def test_the_page_of_a_mail_offers_what_its_state_allows_and_says_why_not(operator, owed):
    welcome = owed(state=State.SENT, sent_at=timezone.now())
    html = text(operator.get(page_of(welcome)))
    assert reverse("admin:members_welcomeemail_send_again", args=[welcome.pk]) in html
    assert reverse("admin:members_welcomeemail_hold", args=[welcome.pk]) not in html
    assert (
        '<div class="small text-body-secondary mb-2" id="why-hold">It has been sent.</div>' in html
    )
    assert "prove that it reached the member" in html


def test_each_attempt_is_told_with_its_task_result(operator, owed, monkeypatch):
    def refuse(welcome):
        raise RefusedError("The mail server refuses the mail (550 no).", "550")

    welcome = owed()
    result = result_of(welcome, "first")
    with monkeypatch.context() as patched, pytest.raises(AttemptFailedError):
        patched.setattr("members.mail.tasks.deliver", refuse)
        send_welcome_emails.apply(args=[welcome.pk], task_id="first", throw=True)
    post(operator, "send_again", welcome, confirmed=1)
    send_welcome_emails.apply(args=[welcome.pk], task_id="second")
    html = text(operator.get(page_of(welcome)))
    told = html[html.index("desk-timeline") :]
    assert told.index("Attempt 2") < told.index("Sent again.") < told.index("Attempt 1")
    assert "(550 no)" in told
    assert reverse("admin:django_celery_results_taskresult_change", args=[result.pk]) in told
    assert "Task second" in told, "its result is gone, its number is not"


def test_an_attempt_is_told_with_the_seconds_that_it_took(owed):
    started = {"started": "2026-11-24T10:00:00+00:00", "ended": "2026-11-24T10:00:02.500000+00:00"}
    welcome = owed(journal=[started | {"state": "sent", "reason": "", "task": None}])
    (attempt,) = timeline(welcome)
    assert (attempt["number"], attempt["seconds"]) == (1, 2.5)


def test_the_page_costs_the_same_for_many_attempts(operator, owed, django_assert_max_num_queries):
    attempt = {"started": timezone.now(), "ended": timezone.now(), "state": "queued"}
    told = [{**attempt, "task": f"t-{n}", "reason": "Later.", "code": "451"} for n in range(60)]
    welcome = owed(journal=told)
    for number in range(60):
        result_of(welcome, f"t-{number}")
    with django_assert_max_num_queries(8):
        operator.get(page_of(welcome))


def test_the_latest_things_that_operators_did_are_told(owed, staff, rf):
    welcome, request = owed(), rf.get("/")
    request.user = staff
    for number in range(MAX_ENTRIES + 1):
        note(request, [welcome], f"{number}.")
    told = [event["text"] for event in timeline(welcome)]
    assert (len(told), told[0], told[-1]) == (MAX_ENTRIES, f"{MAX_ENTRIES}.", "1.")


def test_the_journal_is_bounded(owed):
    welcome = owed()
    for number in range(WelcomeEmail.MAX_JOURNAL + 5):
        SEND_AGAIN.apply(WelcomeEmail.objects.filter(pk=welcome.pk))
        attempt = claim(welcome, "t")
        attempt.fail(f"No {attempt.pk}.", f"{number}")
    welcome.refresh_from_db()
    codes = [attempt["code"] for attempt in welcome.journal]
    assert codes == [str(number) for number in range(5, WelcomeEmail.MAX_JOURNAL + 5)]


def test_the_mail_is_shown_in_a_frame_that_may_do_nothing(operator, owed):
    with patch("members.mail.admin.render") as render:
        render.return_value = EmailMultiAlternatives(body=mark_safe("Plain <script>"))
        render.return_value.attach_alternative(mark_safe('<p class="x">Hello'), "text/html")
        html = text(operator.get(page_of(owed())))
    assert 'sandbox srcdoc="&lt;p class=&quot;x&quot;&gt;Hello"' in html
    assert "Plain &lt;script&gt;" in html


def test_a_broken_template_does_not_break_the_page(operator, owed, monkeypatch):
    def broken(welcome):
        raise KeyError("ann@example.org")

    monkeypatch.setattr("members.mail.admin.render", broken)
    assert "The template is broken: KeyError." in text(operator.get(page_of(owed())))


def test_each_time_of_a_mail_stands_at_its_name(operator, owed):
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    welcome = owed(
        state=State.SENT,
        claimed_at=at,
        enqueued_at=at + timedelta(minutes=1),
        sent_at=at + timedelta(minutes=2),
    )
    rows = re.findall(
        r'desk-label">([^<]*)</div>.*?<div class="readonly">(.*?)<',
        operator.get(page_of(welcome)).content.decode(),
        re.DOTALL,
    )
    times = [moment(at + timedelta(minutes=minutes)) for minutes in range(3)]
    assert [dict(rows)[name] for name in ("Last attempt", "Handed to the queue", "Sent")] == times


@pytest.mark.parametrize(
    ("state", "badge"),
    [("queued", "not sent"), ("failed", "failed"), ("sent", "sent")],
)
def test_an_attempt_that_is_tried_again_is_called_not_sent(operator, owed, state, badge):
    now = timezone.now()
    told = {"task": "<b>t", "started": now, "ended": now, "state": state, "reason": "", "code": ""}
    html = text(operator.get(page_of(owed(state=State.HELD, journal=[told], task_id="<b>t"))))
    timeline = html[html.index("desk-timeline") :]
    assert f">{badge}</span>" in timeline
    assert "<b>t" not in html


@pytest.mark.parametrize("page", ["welcomeemail", "member"])
def test_a_page_tells_one_moment_of_a_mail_that_is_recorded_meanwhile(page, operator, owed):
    welcome = owed(state=State.SENDING)
    sent = {"task": None, "state": State.SENT, "reason": "", "code": ""}
    sent |= {"started": timezone.now(), "ended": timezone.now()}

    def recorded_after_it_was_read(execute, sql, *args):
        answer = execute(sql, *args)
        if "members_welcomeemail" in sql and sql.startswith("SELECT"):
            row = WelcomeEmail.objects.filter(pk=welcome.pk, state=State.SENDING)
            row.update(state=State.SENT, journal=[sent])
        return answer

    keys = {"welcomeemail": welcome.pk, "member": welcome.member_id}
    with connection.execute_wrapper(recorded_after_it_was_read):
        address = reverse(f"admin:members_{page}_change", args=[keys[page]])
        html = text(operator.get(address))
    assert ("Attempt 1" in html) == ("/send_again/" in html)
