import re

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse
from knox.models import AuthToken

ADD = reverse("admin:knox_authtoken_add")
LATER = {"expiry_0": "2999-01-31", "expiry_1": "12:00:00"}
pytestmark = pytest.mark.django_db


def issue(client, account: User, **fields):
    return client.post(ADD, {"user": account.pk} | LATER | fields, follow=True)


def test_a_token_is_shown_once_and_works(client, staff, api):
    client.force_login(staff)
    (told,) = map(str, issue(client, staff).context["messages"])
    secret = re.search(r"<code>(\w{64})</code>", told)[1]
    assert AuthToken.objects.get().digest not in told, "it looks like the token"
    assert secret not in client.get(reverse("admin:knox_authtoken_changelist")).content.decode()
    assert api.get("/api/v1/members/", HTTP_AUTHORIZATION=f"Token {secret}").status_code == 200


def test_a_token_that_has_expired_is_not_issued(client, staff):
    client.force_login(staff)
    answer = issue(client, staff, expiry_0="2020-01-31")
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
    rows = client.get(reverse("admin:knox_authtoken_changelist")).context["cl"].result_list
    assert list(rows) == []
