import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse
from django.utils import timezone

from project.api.authentication import AuthToken

ADD = reverse("admin:project_authtoken_add")
LATER = {"expiry": "2999-01-31T12:00"}
pytestmark = pytest.mark.django_db


def issue(client, account: User, **fields):
    return client.post(ADD, {"user": account.pk} | LATER | fields, follow=True)


def test_a_token_is_shown_once_and_works(client, staff, api):
    client.force_login(staff)
    (told,) = map(str, issue(client, staff).context["messages"])
    secret = re.search(r"<code>(\w{64})</code>", told)[1]
    assert AuthToken.objects.get().digest not in told, "it looks like the token"
    assert secret not in client.get(reverse("admin:project_authtoken_changelist")).content.decode()
    assert api.get("/api/v1/members/", HTTP_AUTHORIZATION=f"Token {secret}").status_code == 200


def test_a_token_gets_the_name_that_is_typed(client, staff):
    client.force_login(staff)
    assert 'name="name"' in client.get(ADD).content.decode()
    issue(client, staff, name="Opening hours")
    token = AuthToken.objects.get()
    assert token.name == "Opening hours"
    assert "Opening hours" in client.get(page_of(token)).content.decode()


def test_a_token_that_has_expired_is_not_issued(client, staff):
    client.force_login(staff)
    answer = issue(client, staff, expiry="2020-01-31T12:00")
    assert "Choose a time in the future." in answer.content.decode()
    assert not AuthToken.objects.exists()


def test_nobody_issues_a_token_of_a_stronger_account(client, staff):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.groups.add(Group.objects.get(name="Cataloguers"))
    names = ["add_authtoken", "view_authtoken"]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(clerk)
    issue(client, staff)
    assert not AuthToken.objects.exists()
    issue(client, clerk)
    assert AuthToken.objects.get().user == clerk


def test_others_tokens_are_not_seen(client, staff):
    AuthToken.objects.create(staff)
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_authtoken"))
    client.force_login(clerk)
    rows = client.get(reverse("admin:project_authtoken_changelist")).context["cl"].result_list
    assert list(rows) == []


LIST = reverse("admin:project_authtoken_changelist")


def page_of(token: AuthToken) -> str:
    return reverse("admin:project_authtoken_change", args=[token.pk])


@pytest.fixture
def now(monkeypatch):
    now = timezone.now().replace(microsecond=0)
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    return now


def at(time) -> dict[str, str]:
    return {"expiry": f"{time:%Y-%m-%dT%H:%M:%S}"}


@pytest.mark.parametrize(("seconds", "issued"), [(59, False), (60, True), (3600, True)])
def test_a_token_lasts_a_minute_at_least(client, staff, now, seconds, issued):
    client.force_login(staff)
    issue(client, staff, **at(now + timedelta(seconds=seconds)))
    assert AuthToken.objects.exists() is issued


def test_a_token_ends_when_the_form_says_and_30_days_are_proposed(client, staff, now):
    client.force_login(staff)
    proposed = client.get(ADD).context["adminform"].form["expiry"].value()
    assert timezone.make_aware(proposed) == now + timedelta(days=30)
    issue(client, staff, **at(now + timedelta(days=3)))
    assert AuthToken.objects.get().expiry == now + timedelta(days=3)


def test_a_superuser_issues_and_sees_tokens_of_others(client, staff):
    program = User.objects.create_user("program")
    client.force_login(staff)
    issue(client, program)
    token = AuthToken.objects.get()
    assert token.user == program
    assert list(client.get(LIST).context["cl"].result_list) == [token]
    assert client.get(page_of(token)).status_code == 200


def test_no_page_shows_the_hash_and_none_changes_a_token(client, staff):
    client.force_login(staff)
    token = AuthToken.objects.create(staff)[0]
    for page in (client.get(LIST), client.get(page_of(token))):
        assert f">{token.digest}<" not in page.content.decode()
    assert client.post(page_of(token), {"user": staff.pk} | LATER).status_code == 403
    assert client.get(page_of(token)).content.decode().count('name="_save"') == 0


@pytest.mark.parametrize("page", ["change", "delete", "history"])
def test_others_tokens_are_not_reached_by_their_address(client, staff, page):
    token = AuthToken.objects.create(staff)[0]
    clerk = User.objects.create_user("clerk", is_staff=True)
    names = ["view_authtoken", "delete_authtoken", "change_authtoken"]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(clerk)
    address = reverse(f"admin:project_authtoken_{page}", args=[token.pk])
    assert client.get(address).status_code == 302
    client.post(address, {"post": "yes"})
    client.post(LIST, {"action": "delete_selected", "_selected_action": token.pk, "post": "yes"})
    assert AuthToken.objects.exists()
    own = AuthToken.objects.create(clerk)[0]
    client.post(reverse("admin:project_authtoken_delete", args=[own.pk]), {"post": "yes"})
    assert AuthToken.objects.get() == token


def test_the_list_has_the_newest_first_and_is_searched_by_key_or_name(client, staff):
    client.force_login(staff)
    ann = User.objects.create_user("ann")
    old = AuthToken.objects.create(staff)[0]
    AuthToken.objects.filter(pk=old.pk).update(created=timezone.now() - timedelta(days=1))
    new = AuthToken.objects.create(ann)[0]

    def found(words: str) -> list[str]:
        return [row.pk for row in client.get(LIST, {"q": words}).context["cl"].result_list]

    assert found("") == [new.pk, old.pk]
    assert found(old.token_key) == [old.pk]
    assert found("ann") == [new.pk]
    assert found("an") == found(new.token_key[:4]) == []


def test_a_token_is_listed_by_the_beginning_that_its_owner_knows(client, staff):
    client.force_login(staff)
    (told,) = map(str, issue(client, staff).context["messages"])
    secret = re.search(r"<code>(\w{64})</code>", told)[1]
    assert AuthToken.objects.get().token_key == secret[:15]
    said = LogEntry.objects.get()
    assert secret not in said.object_repr + said.change_message + said.object_id


@pytest.mark.parametrize("rows", [1, 9])
def test_the_list_costs_the_same_for_many_rows(client, staff, rows, django_assert_max_num_queries):
    client.force_login(staff)
    for number in range(rows):
        AuthToken.objects.create(User.objects.create_user(f"ann{number}"))
    with django_assert_max_num_queries(4):  # session, account, count, rows
        client.get(LIST)


def test_the_form_leads_to_no_account(client, staff):
    client.force_login(staff)
    html = client.get(ADD).content.decode()
    assert "related-widget-wrapper-link" not in html
