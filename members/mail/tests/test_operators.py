"""What operators may do with welcome e-mails, and how they are asked first."""

import re
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.messages import WARNING, get_messages
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.text import capfirst
from django_celery_results.models import TaskResult

from members.conftest import claim
from members.mail.actions import HOLD, SEND_AGAIN, note
from members.mail.admin import MAX_ENTRIES, timeline
from members.mail.reasons import RefusedError
from members.mail.tasks import AttemptFailedError, send_welcome_emails, sweep_welcome_emails
from members.models import Dispatch, WelcomeEmail
from project.admin.display import moment

LIST = reverse("admin:members_welcomeemail_changelist")
RESULTS = reverse("admin:django_celery_results_taskresult_changelist")
State = WelcomeEmail.State
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("delay")]

ALLOWED = [
    ("send_again", State.QUEUED, State.QUEUED),
    ("send_again", State.SENT, State.QUEUED),
    ("send_again", State.FAILED, State.QUEUED),
    ("send_again", State.CANCELLED, State.QUEUED),
    ("hold", State.QUEUED, State.HELD),
    ("release", State.HELD, State.QUEUED),
    ("cancel", State.QUEUED, State.CANCELLED),
    ("cancel", State.HELD, State.CANCELLED),
]
REFUSED = [
    (action, state)
    for action in ("send_again", "hold", "release", "cancel")
    for state in State
    if (action, state) not in {(action, state) for action, state, _ in ALLOWED}
]


@pytest.fixture
def operator(client):
    account = User.objects.create_user("operator", is_staff=True)
    account.groups.add(Group.objects.get(name="Operators"))
    client.force_login(account)
    return client


def post(client, action: str, *welcomes: WelcomeEmail, page: str = LIST, **form):
    chosen = [welcome.pk for welcome in welcomes]
    return client.post(page, {"action": action, "_selected_action": chosen, **form})


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (LIST, "Every new member gets a welcome e-mail."),
        (RESULTS, "Results appear here after tasks run"),
        (reverse("admin:index"), "No e-mails were sent or failed in the last 30 days."),
    ],
)
def test_where_nothing_is_yet_the_page_says_what_will_be(operator, page, words):
    assert words in text(operator.get(page))


def test_what_waits_while_sending_is_paused_says_so(operator, owed):
    owed()
    assert "as soon as a worker is free" in text(operator.get(LIST))
    Dispatch.objects.pause("Wait.", Dispatch.OPERATOR)
    assert "when sending resumes" in text(operator.get(LIST))


def page_of(welcome: WelcomeEmail) -> str:
    return reverse("admin:members_welcomeemail_change", args=[welcome.pk])


def text(response) -> str:
    return " ".join(response.content.decode().split())


def result_of(welcome: WelcomeEmail, task_id: str = "t-1", **columns) -> TaskResult:
    """That of its latest attempt."""
    WelcomeEmail.objects.filter(pk=welcome.pk).update(task_id=task_id)
    return TaskResult.objects.create(
        task_id=task_id,
        task_name="members.tasks.send_welcome_emails",
        task_args=f'"({welcome.pk},)"',
        **{"status": "FAILURE", **columns},
    )


@pytest.mark.parametrize(("action", "before", "after"), ALLOWED)
def test_an_action_moves_a_mail_and_is_written_into_its_history(
    operator, owed, action, before, after
):
    welcome = owed(state=before)
    response = post(operator, action, welcome, confirmed=1)
    assert response.status_code == 302
    welcome.refresh_from_db()
    assert welcome.state == after
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user.username) == (str(welcome.pk), "operator")
    assert "ann" not in entry.object_repr + entry.change_message


def test_what_a_colleague_did_is_told_in_the_readers_language(operator, owed):
    welcome = owed()
    operator.cookies["django_language"] = "ru"
    post(operator, "hold", welcome, confirmed=1)
    assert "Приостановлено." in text(operator.get(page_of(welcome)))
    operator.cookies["django_language"] = "en"
    assert "Put on hold." in text(operator.get(page_of(welcome)))


@pytest.mark.parametrize(("action", "state"), REFUSED)
def test_an_action_leaves_other_states_alone_and_says_why(operator, owed, action, state):
    welcome = owed(state=state)
    asked = text(post(operator, action, welcome))
    assert "be done with any of these e-mails" in asked
    assert f"{capfirst(state.label)}: 1. It " in asked
    assert 'name="confirmed"' not in asked
    done = post(operator, action, welcome, confirmed=1)
    assert [message.level for message in get_messages(done.wsgi_request)] == [WARNING]
    welcome.refresh_from_db()
    assert welcome.state == state
    assert not LogEntry.objects.exists()


def test_nothing_happens_before_it_is_confirmed(operator, owed):
    ann, bob, cat = owed("ann"), owed("bob"), owed("cat", state=State.SENT)
    asked = text(post(operator, "hold", ann, bob, cat))
    assert "Hold: 2 e-mails" in asked
    assert "Stays on hold until somebody releases it." in asked
    assert "Sent: 1. It has been sent." in asked
    assert page_of(cat) in asked
    assert set(WelcomeEmail.objects.values_list("state", flat=True)) == {"queued", "sent"}
    assert not LogEntry.objects.exists()


def test_who_got_the_mail_already_is_counted_before_it_goes_out_twice(operator, owed):
    asked = text(post(operator, "send_again", owed("ann", state=State.SENT), owed("bob")))
    assert "1 of them was already sent, so the member will get it twice." in asked
    asked = text(post(operator, "send_again", WelcomeEmail.objects.get(state=State.SENT)))
    assert "It was already sent, so the member will get it twice." in asked


def test_all_pages_of_a_filtered_list_are_asked_about_and_done(operator, owed):
    for number in range(60):
        owed(f"ann{number}", state=State.FAILED, last_error_code="550")
    owed("bob", state=State.FAILED, last_error_code="421")
    page = f"{LIST}?state=failed&reason=address"
    first = WelcomeEmail.objects.filter(last_error_code="550").first()
    asked = text(post(operator, "send_again", first, page=page, select_across=1))
    assert "Send again: 60 e-mails" in asked
    assert '<input type="hidden" name="select_across" value="1">' in asked
    post(operator, "send_again", first, page=page, select_across=1, confirmed=1)
    assert WelcomeEmail.objects.filter(state=State.QUEUED).count() == 60
    assert LogEntry.objects.count() == 60


@pytest.mark.parametrize(
    ("action", "state", "sends"),
    [
        ("send_again", State.FAILED, True),
        ("release", State.HELD, True),
        ("hold", State.QUEUED, False),
        ("cancel", State.QUEUED, False),
    ],
)
def test_what_an_operator_sends_is_enqueued_once(operator, owed, delay, action, state, sends):
    """Not by the action and then by a sweep."""
    past = timezone.now() - timedelta(hours=1)
    chosen = [
        owed(f"ann{number}", state=state, next_attempt_at=past, enqueued_at=None)
        for number in range(60)
    ]
    other = owed("bob", state=State.FAILED)
    post(operator, action, *chosen, confirmed=1)
    sweep_welcome_emails()
    handed = [pk for call in delay.call_args_list for pk in call.args]
    assert sorted(handed) == ([welcome.pk for welcome in chosen] if sends else [])
    assert other.pk not in handed


def test_resuming_enqueues_once_what_is_due(operator, owed, delay):
    due = [owed(f"ann{number}", enqueued_at=None).pk for number in range(60)]
    owed("bob", enqueued_at=None, next_attempt_at=timezone.now() + timedelta(hours=1))
    Dispatch.objects.pause("Wait.", Dispatch.OPERATOR)
    operator.post(reverse("admin:members_dispatch_resume"))
    sweep_welcome_emails()
    assert sorted(pk for call in delay.call_args_list for pk in call.args) == due


def test_releasing_keeps_the_place_in_the_timetable(operator, owed):
    later = timezone.now() + timedelta(hours=1)
    welcome = owed(state=State.HELD, attempts=5, next_attempt_at=later)
    post(operator, "release", welcome, confirmed=1)
    welcome.refresh_from_db()
    assert (welcome.attempts, welcome.next_attempt_at) == (5, later)


def test_a_claim_before_an_action_wins_and_one_after_it_finds_nothing(owed):
    ann, bob = owed("ann"), owed("bob")
    assert claim(ann, "a")
    assert HOLD.apply(WelcomeEmail.objects.filter(pk__in=[ann.pk, bob.pk])) == [bob.pk]
    assert claim(bob, "b") is None


@pytest.mark.parametrize("action", ["send_again", "hold", "release", "cancel"])
def test_without_the_permission_there_are_no_actions(client, owed, action):
    clerk = User.objects.create_user("clerk", is_staff=True)
    may_see = ("view_member", "view_welcomeemail")
    clerk.user_permissions.set(Permission.objects.filter(codename__in=may_see))
    client.force_login(clerk)
    welcome = owed(state=State.HELD if action == "release" else State.QUEUED)
    post(client, action, welcome, confirmed=1)
    address = reverse(f"admin:members_welcomeemail_{action}", args=[welcome.pk])
    assert client.post(address, {"confirmed": 1}).status_code == 403
    of_member = reverse("admin:members_member_change", args=[welcome.member_id])
    for page in (page_of(welcome), of_member):
        assert address not in text(client.get(page))
    welcome.refresh_from_db()
    assert welcome.state == (State.HELD if action == "release" else State.QUEUED)


def test_the_page_of_a_mail_offers_what_its_state_allows_and_says_why_not(operator, owed):
    welcome = owed(state=State.SENT, sent_at=timezone.now())
    html = text(operator.get(page_of(welcome)))
    assert reverse("admin:members_welcomeemail_send_again", args=[welcome.pk]) in html
    assert reverse("admin:members_welcomeemail_hold", args=[welcome.pk]) not in html
    assert (
        '<div class="small text-body-secondary mb-2" id="why-hold">It has been sent.</div>' in html
    )
    assert "prove that it reached the member" in html


def test_a_button_asks_and_leads_back_to_its_page(operator, owed):
    welcome = owed()
    address = reverse("admin:members_welcomeemail_hold", args=[welcome.pk])
    assert "Hold: 1 e-mail" in text(operator.get(address))
    assert operator.post(address, {"confirmed": 1}).headers["Location"] == page_of(welcome)
    welcome.refresh_from_db()
    assert welcome.state == State.HELD
    assert "Put on hold." in text(operator.get(page_of(welcome)))


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


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=retrying", ["cat"]),
        ("state=held", ["dan"]),
        ("age=under-24", ["cat", "dan", "eve"]),
        ("age=over-24", ["ann", "bob"]),
        ("reason=address", ["bob"]),
        ("reason=busy", ["cat"]),
        ("reason=other", ["dan"]),
        ("sent=7", ["ann"]),
        ("sent=1", []),
        ("state=sent&age=over-1&sent=30&q=AN", ["ann"]),
        ("q=bob@exam", ["bob"]),
        ("q=task-of-ann", ["ann"]),
        ("reason=settings", ["eve"]),
        ("q=an-earlier-task", []),
        ("q=nobody", []),
    ],
)
def test_filters_and_search(operator, owed, query, expected):
    before = timezone.now() - timedelta(days=2)
    owed("ann", state=State.SENT, sent_at=before, queued_at=before, task_id="task-of-ann")
    owed("bob", state=State.FAILED, last_error_code="550", queued_at=before)
    cat = owed("cat", attempts=1, last_error_code="451")
    owed("dan", state=State.HELD, last_error_code="weird")
    result_of(cat, "an-earlier-task")
    result_of(cat, "its-latest-task")
    owed("eve", last_error_code="policy", state=State.CANCELLED)
    response = operator.get(f"{LIST}?{query}")
    assert response.status_code == 200
    rows = response.context["cl"].result_list
    assert sorted(welcome.member.username for welcome in rows) == expected


def test_a_failed_task_is_sent_again_from_its_page_and_from_the_list(operator, owed):
    ann, bob = owed("ann", state=State.FAILED), owed("bob", state=State.FAILED)
    first, second = result_of(ann, "a"), result_of(bob, "b")
    retry = reverse("admin:django_celery_results_taskresult_retry", args=[first.pk])
    page = reverse("admin:django_celery_results_taskresult_change", args=[first.pk])
    assert retry in text(operator.get(page))
    assert "Send again: 1 e-mail" in text(operator.get(retry))
    assert operator.post(retry, {"confirmed": 1}).headers["Location"] == page
    form = {"action": "retry", "_selected_action": [first.pk, second.pk]}
    assert "Waiting: 1. It is already waiting" in text(operator.post(RESULTS, form))
    operator.post(RESULTS, {**form, "confirmed": 1})
    assert set(WelcomeEmail.objects.values_list("state", flat=True)) == {"queued"}
    assert LogEntry.objects.count() == 2


def test_an_old_failure_does_not_send_what_was_sent_since(operator, owed):
    welcome = owed(state=State.SENT)
    result = result_of(welcome)  # whose task ran twice, for its message came back
    page = reverse("admin:django_celery_results_taskresult_change", args=[result.pk])
    assert "It has been sent." in text(operator.get(page))
    retry = reverse("admin:django_celery_results_taskresult_retry", args=[result.pk])
    operator.post(retry, {"confirmed": 1})
    welcome.refresh_from_db()
    assert welcome.state == State.SENT


def test_a_result_of_an_earlier_attempt_says_that_others_followed(operator, owed):
    welcome = owed(state=State.FAILED)
    result = result_of(welcome, "first")
    result_of(welcome, "second")
    page = reverse("admin:django_celery_results_taskresult_change", args=[result.pk])
    html = text(operator.get(page))
    assert html.count("A later task has since retried it, or the member was deleted.") == 2
    assert "ann" not in html
    retry = reverse("admin:django_celery_results_taskresult_retry", args=[result.pk])
    assert "None of these has a welcome e-mail." in text(operator.get(retry))
    operator.post(retry, {"confirmed": 1})
    welcome.refresh_from_db()
    assert welcome.state == State.FAILED, "the latest attempt is another's"


def test_pausing_wants_a_reason_and_resuming_shows_the_backlog(operator, owed, delay):
    welcome = owed(queued_at=timezone.now() - timedelta(days=2), enqueued_at=None)
    pause = reverse("admin:members_dispatch_pause")
    assert "Enter a reason." in text(operator.post(pause, {"reason": " "}))
    assert not Dispatch.objects.pausing().exists()
    operator.post(pause, {"reason": "The mail server moves"})
    dispatch = Dispatch.objects.pausing().get()
    assert (dispatch.pause_reason, dispatch.pause_code) == ("The mail server moves", "operator")
    resume = reverse("admin:members_dispatch_resume")
    asked = text(operator.get(resume))
    assert "Waiting: 1" in asked
    assert "Oldest: waiting for 2" in asked
    assert Dispatch.objects.pausing().exists(), "a look changes nothing"
    delay.assert_not_called()
    operator.post(resume)
    delay.assert_called_once_with(welcome.pk)
    assert not Dispatch.objects.pausing().exists()
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize("page", ["pause", "resume"])
def test_switching_all_sending_has_its_own_permission(operator, page):
    user = User.objects.get()
    user.groups.clear()
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_welcomeemail", "change_welcomeemail"])
    )
    address = reverse(f"admin:members_dispatch_{page}")
    assert address not in text(operator.get(reverse("admin:index")))
    assert operator.post(address, {"reason": "why"}).status_code == 403


def test_an_action_asks_for_the_token_of_its_form(owed):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    for name, args in (("members_dispatch_pause", []), ("members_welcomeemail_hold", [owed().pk])):
        address = reverse(f"admin:{name}", args=args)
        assert client.post(address, {"reason": "x", "confirmed": 1}).status_code == 403


def test_the_oldest_first_is_read_from_one_index(operator, owed, django_assert_max_num_queries):
    """Django would sort by the age, by the age again and by the key the other way."""
    owed()
    with django_assert_max_num_queries(6) as queries:
        operator.get(f"{LIST}?state=queued&o=5")
    (rows,) = [q["sql"] for q in queries if "last_error" in q["sql"] and "ORDER BY" in q["sql"]]
    order = rows[rows.index("ORDER BY") :].replace("`", '"')
    assert order.startswith(
        'ORDER BY "members_welcomeemail"."queued_at" ASC, "members_welcomeemail"."id" ASC'
    )


def test_a_search_that_finds_too_many_says_so(operator, owed, monkeypatch):
    monkeypatch.setattr("members.mail.admin.WelcomeEmailAdmin.MAX_MEMBERS", 2)
    for number in range(3):
        owed(f"ann{number}")
    assert "Type more letters" in text(operator.get(f"{LIST}?q=ann"))


def test_the_page_that_asks_hands_on_what_was_chosen(operator, owed):
    ann, bob = owed("ann"), owed("bob", state=State.SENT)
    asked = post(operator, "send_again", ann, bob)
    hidden = asked.context["hidden"]
    assert hidden == [
        ("action", "send_again"),
        ("_selected_action", str(ann.pk)),
        ("_selected_action", str(bob.pk)),
    ]
    assert asked.context["left_out"] == []
    assert "second time" not in text(post(operator, "hold", ann, bob))


@pytest.mark.parametrize(("number", "more"), [(10, 0), (11, 1)])
def test_of_those_left_out_ten_are_named(operator, owed, number, more):
    chosen = [owed(f"ann{n}", state=State.SENT) for n in range(number)]
    asked = post(operator, "hold", owed("bob"), *chosen)
    assert asked.context["count"] == 1
    [group] = asked.context["left_out"]
    assert (group["count"], len(group["some"]), group["more"]) == (number, 10, more)
    assert (f"and {more} more" in text(asked)) is bool(more)


def test_a_link_that_says_confirmed_does_nothing(operator, owed):
    welcome = owed()
    address = reverse("admin:members_welcomeemail_hold", args=[welcome.pk])
    operator.get(f"{address}?confirmed=1")
    welcome.refresh_from_db()
    assert welcome.state == State.QUEUED


def test_what_is_on_hold_is_to_be_released(operator, owed):
    assert "It is on hold. Release it instead." in text(
        post(operator, "send_again", owed(state=State.HELD))
    )


@pytest.mark.parametrize("query", ["q=nn", "q=xample"])
def test_a_search_is_for_beginnings(operator, owed, query):
    owed("ann")
    assert not operator.get(f"{LIST}?{query}").context["cl"].result_list


def test_blanks_around_a_search_do_not_count(operator, owed):
    owed("ann", task_id="t-1")
    for term in ("+ann+", "+t-1+"):
        assert len(operator.get(f"{LIST}?q={term}").context["cl"].result_list) == 1


@pytest.mark.parametrize(
    ("query", "expected"), [("", ["cat", "bob", "ann"]), ("sent=7", ["bob", "cat", "ann"])]
)
def test_the_latest_stand_first(operator, owed, query, expected):
    now = timezone.now()
    sent = {"state": State.SENT, "queued_at": now, "sent_at": now - timedelta(hours=2)}
    owed("ann", **sent)
    owed("bob", **sent | {"sent_at": now - timedelta(hours=1)})
    owed("cat", **sent)
    rows = operator.get(f"{LIST}?{query}").context["cl"].result_list
    assert [row.member.username for row in rows] == expected


def test_the_resume_page_tells_what_is_due_from_what_waits(operator, owed):
    owed("ann")
    owed("bob", next_attempt_at=timezone.now() + timedelta(hours=1))
    asked = operator.get(reverse("admin:members_dispatch_resume"))
    assert (asked.context["waiting"], asked.context["due"]) == ("2", "1")


def test_the_pause_page_complains_only_of_what_was_posted(operator):
    pause = reverse("admin:members_dispatch_pause")
    assert "Enter a reason." not in text(operator.get(pause))
    assert "Enter a reason." in text(operator.post(pause))


def test_a_mail_that_was_sent_and_is_queued_again_shows_its_next_attempt(operator, owed):
    owed(sent_at=timezone.now() - timedelta(days=1))
    assert "as soon as a worker is free" in text(operator.get(LIST))


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


def test_what_is_not_waiting_has_no_next_attempt(operator, owed):
    owed(state=State.FAILED)
    assert "as soon as a worker is free" not in text(operator.get(LIST))


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


def test_what_cannot_be_written_into_the_history_is_not_done(operator, owed):
    welcome = owed()
    broken = patch("members.mail.actions.note", side_effect=ZeroDivisionError)
    with broken, pytest.raises(ZeroDivisionError):
        post(operator, "hold", welcome, confirmed=1)
    welcome.refresh_from_db()
    assert welcome.state == State.QUEUED


def test_the_page_that_asks_names_the_members(operator, owed):
    ann, bob = owed("ann"), owed("bob")
    page = reverse("admin:members_welcomeemail_hold", args=[ann.pk])
    asked = text(operator.get(page)).partition("<main")[2]
    assert f'<a href="{page_of(ann)}">Welcome e-mail to ann</a>' in asked  # the way back
    assert f'<a href="{page_of(ann)}">ann</a>' in asked and "bob" not in asked
    form = {"action": "hold", "_selected_action": [ann.pk, bob.pk]}
    assert "ann</a>, <a" in text(operator.post(LIST, form))
