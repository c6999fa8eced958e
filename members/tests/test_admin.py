from unittest.mock import patch

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from members.models import Member, WelcomeEmail
from members.registration import register_member
from project.tests.forms import filled

LIST = reverse("admin:members_member_changelist")
ADD = reverse("admin:members_member_add")
WELCOMES = reverse("admin:members_welcomeemail_changelist")
DELAY = "members.mail.tasks.send_welcome_emails.delay"
ANN = {"username": "ann", "email": "ann@example.org"}
State = WelcomeEmail.State
pytestmark = pytest.mark.django_db


@pytest.fixture
def staff_client(client, staff):
    client.force_login(staff)
    return client


def member(state: State = State.SENT, **fields) -> Member:
    saved = register_member(Member(**ANN | fields))
    WelcomeEmail.objects.filter(member=saved).update(state=state)
    return saved


def test_adding_a_member_registers_it(staff_client, django_capture_on_commit_callbacks):
    with patch(DELAY) as delay, django_capture_on_commit_callbacks(execute=True):
        assert staff_client.post(ADD, ANN).status_code == 302
    welcome = WelcomeEmail.objects.get(member__username="ann")
    delay.assert_called_once_with(welcome.pk)


def test_a_member_that_is_refused_is_owed_nothing(staff_client, django_capture_on_commit_callbacks):
    with patch(DELAY) as delay, django_capture_on_commit_callbacks(execute=True):
        assert staff_client.post(ADD, ANN | {"email": "no address"}).status_code == 200
    delay.assert_not_called()
    assert not WelcomeEmail.objects.exists()


@pytest.mark.parametrize("taken", [{"username": "ANN"}, {"email": "Ann@Example.org"}])
def test_a_name_or_address_that_differs_in_case_alone_is_taken(staff_client, taken):
    member()
    other = {"username": "ben", "email": "ben@example.org"}
    html = staff_client.post(ADD, other | taken).content.decode()
    assert "is registered already" in html
    assert Member.objects.count() == 1


def test_changing_a_member_sends_no_second_welcome(staff_client):
    saved = member()
    change = reverse("admin:members_member_change", args=[saved.pk])
    with patch(DELAY) as delay:
        staff_client.post(change, filled(staff_client.get(change)) | {"email": "new@example.org"})
    delay.assert_not_called()
    saved.refresh_from_db()
    assert saved.email == "new@example.org"
    assert saved.welcome_email.state == State.SENT


def test_the_member_page_shows_its_welcome_e_mail(staff_client):
    saved = member(State.FAILED)
    WelcomeEmail.objects.update(last_error="The mail server refuses the mail (550 no such user).")
    html = staff_client.get(
        reverse("admin:members_member_change", args=[saved.pk])
    ).content.decode()
    assert '<span class="badge text-bg-danger">failed</span>' in html
    assert "The member was registered." in html
    assert "550 no such user" in html
    delivery = reverse("admin:members_welcomeemail_change", args=[saved.welcome_email.pk])
    assert delivery in html


@pytest.mark.parametrize("state", [State.FAILED, State.SENT, State.QUEUED])
@pytest.mark.parametrize("page", [LIST, WELCOMES])
def test_send_again_starts_the_timetable_anew(staff_client, page, state):
    welcome = member(state).welcome_email
    chosen = welcome.member_id if page == LIST else welcome.pk
    with patch(DELAY) as delay:
        staff_client.post(
            page, {"action": "send_again", "_selected_action": chosen, "confirmed": 1}
        )
    delay.assert_called_once_with(welcome.pk)
    welcome.refresh_from_db()
    assert (welcome.state, welcome.attempts) == (State.QUEUED, 0)


@pytest.mark.parametrize("state", [State.SENDING, State.HELD])
def test_send_again_leaves_the_others_alone(staff_client, state):
    welcome = member(state).welcome_email
    form = {"action": "send_again", "_selected_action": welcome.pk, "confirmed": 1}
    with patch(DELAY) as delay:
        staff_client.post(WELCOMES, form)
    delay.assert_not_called()
    welcome.refresh_from_db()
    assert welcome.state == state


@pytest.mark.parametrize("taken", [{"username": "ANN"}, {"email": "Ann@Example.org"}])
def test_a_duplicate_links_to_the_member_that_has_it(staff_client, taken):
    saved, other = member(), member(username="ben", email="ben@example.org")
    address = reverse("admin:members_member_change", args=[saved.pk])
    change = reverse("admin:members_member_change", args=[other.pk])
    added = staff_client.post(ADD, {"username": "cat", "email": "cat@example.org"} | taken)
    changed = staff_client.post(change, filled(staff_client.get(change)) | taken)
    for page in (added, changed):
        assert f'<a href="{address}">ann</a>' in page.content.decode()
    own = staff_client.post(address, filled(staff_client.get(address)) | taken)
    assert own.status_code == 302, "it is no duplicate of itself"


def test_a_duplicate_names_nobody_to_who_may_not_see_members(client):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="add_member"))
    client.force_login(clerk)
    member(username="secret")
    html = client.post(ADD, ANN).content.decode()
    assert "A member with this e-mail address is registered already." in html
    assert "secret" not in html


@pytest.fixture
def desk_client(client):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.groups.add(Group.objects.get(name="Membership desk"))
    client.force_login(clerk)
    return client


@pytest.mark.parametrize(
    ("state", "actions"),
    [
        (State.QUEUED, {"send_again", "hold", "cancel"}),
        (State.SENDING, set()),
        (State.SENT, {"send_again"}),
        (State.FAILED, {"send_again"}),
        (State.HELD, {"release", "cancel"}),
        (State.CANCELLED, {"send_again"}),
    ],
)
def test_the_desk_keeps_a_mail_going_from_the_member_page(desk_client, state, actions):
    saved = member(state)
    page = reverse("admin:members_member_change", args=[saved.pk])
    html = desk_client.get(page).content.decode()
    buttons = {
        name: f"{reverse(f'admin:members_welcomeemail_{name}', args=[saved.welcome_email.pk])}"
        "?back=member"
        for name in ("send_again", "hold", "release", "cancel")
    }
    assert {name for name, address in buttons.items() if address in html} == actions
    for name in sorted(actions)[:1]:
        assert f'href="{page}"' in desk_client.get(buttons[name]).content.decode()
        with patch(DELAY):
            done = desk_client.post(buttons[name], {"confirmed": 1})
        assert done.headers["Location"] == page
        entry = LogEntry.objects.get().get_change_message()
        assert f"{entry} <" in desk_client.get(page).content.decode()


def test_a_member_without_a_welcome_e_mail_has_a_page(staff_client):
    saved = Member.objects.create(**ANN)
    page = staff_client.get(reverse("admin:members_member_change", args=[saved.pk]))
    assert page.status_code == 200
    assert "desk-timeline" not in page.content.decode()


def test_operators_send_again_but_edit_no_member(client):
    operator = User.objects.create_user("operator", is_staff=True)
    operator.groups.add(Group.objects.get(name="Operators"))
    client.force_login(operator)
    saved = member(State.FAILED)
    change = reverse("admin:members_member_change", args=[saved.pk])
    assert client.post(change, ANN | {"email": "new@example.org"}).status_code == 403
    chosen = {"action": "send_again", "_selected_action": saved.welcome_email.pk, "confirmed": 1}
    with patch(DELAY) as delay:
        client.post(WELCOMES, chosen)
    delay.assert_called_once()


def test_filters_and_search_work_together(staff_client):
    saved = member(State.FAILED)
    member(username="bob", email="bob@example.org")
    rows = staff_client.get(LIST, {"welcome": "failed", "registered": "today", "q": "an"})
    assert list(rows.context["cl"].result_list) == [saved]
    rows = staff_client.get(WELCOMES, {"state": "failed", "age": "under-24", "q": "ANN@"})
    assert [row.member for row in rows.context["cl"].result_list] == [saved]


def test_deleting_a_member_takes_its_welcome_e_mail_along(staff_client):
    saved = member()
    staff_client.post(reverse("admin:members_member_delete", args=[saved.pk]), {"post": "yes"})
    assert not Member.objects.exists()
    assert not WelcomeEmail.objects.exists()


def test_members_in_one_state_are_counted_by_its_index(staff_client):
    for number in range(3):
        member(State.FAILED, username=f"ann{number}", email=f"ann{number}@example.org")
    member()
    for query, number in (({}, 4), ({"welcome": "failed"}, 3), ({"welcome": "nonsense"}, 4)):
        assert staff_client.get(LIST, query).context["cl"].result_count == number
    narrowed = {"welcome": "failed", "q": "ann1"}
    assert staff_client.get(LIST, narrowed).context["cl"].result_count == 1
    narrowed = {"welcome": "failed", "registered_at__lt": "2000-01-01T00:00:00Z"}
    assert staff_client.get(LIST, narrowed).context["cl"].result_count == 0
    with CaptureQueriesContext(connection) as queries:
        staff_client.get(LIST, {"welcome": "failed", "o": "1", "size": "25", "q": ""})
    (count,) = [query["sql"] for query in queries if "COUNT" in query["sql"]]
    assert "members_member" not in count


@pytest.mark.parametrize("rows", [1, 30])
@pytest.mark.parametrize("page", [LIST, WELCOMES])
def test_lists_cost_the_same_for_many_rows(staff_client, page, rows, django_assert_max_num_queries):
    for number in range(rows):
        member(username=f"ann{number}", email=f"ann{number}@example.org")
    with django_assert_max_num_queries(4):  # session, account, count, rows
        staff_client.get(page)
