"""What operators may do with welcome e-mails, and how they are asked first."""

from datetime import timedelta
from unittest.mock import patch

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages import WARNING, get_messages
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst

from members.conftest import claim
from members.mail.actions import HOLD
from members.mail.tasks import sweep_welcome_emails
from members.models import WelcomeEmail

from .operators import LIST, State, page_of, post, text

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


def test_a_button_asks_and_leads_back_to_its_page(operator, owed):
    welcome = owed()
    address = reverse("admin:members_welcomeemail_hold", args=[welcome.pk])
    assert "Hold: 1 e-mail" in text(operator.get(address))
    assert operator.post(address, {"confirmed": 1}).headers["Location"] == page_of(welcome)
    welcome.refresh_from_db()
    assert welcome.state == State.HELD
    assert "Put on hold." in text(operator.get(page_of(welcome)))


def test_an_action_asks_for_the_token_of_its_form(owed):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    for name, args in (("members_dispatch_pause", []), ("members_welcomeemail_hold", [owed().pk])):
        address = reverse(f"admin:{name}", args=args)
        assert client.post(address, {"reason": "x", "confirmed": 1}).status_code == 403


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
