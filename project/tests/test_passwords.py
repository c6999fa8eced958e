"""Passwords that staff may not choose; each is refused for exactly one reason."""

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.urls import reverse

from project.api.authentication import AuthToken

GOOD = "seven-lamps-7"


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("ann.walker1", "password_too_similar"),
        ("lamps-7", "password_too_short"),
        ("basketball", "password_too_common"),
        ("8203957164", "password_entirely_numeric"),
    ],
)
def test_a_weak_password_is_refused(password, reason):
    with pytest.raises(ValidationError) as caught:
        validate_password(password, User(username="ann.walker"))
    assert [error.code for error in caught.value.error_list] == [reason]


def test_other_passwords_need_eight_characters():
    validate_password("lamps-77", User(username="ann.walker"))


@pytest.mark.parametrize(("password", "taken"), [("8203957164", False), (GOOD, True)])
def test_the_page_of_the_own_password_holds_the_rule(client, staff, password, taken):
    client.force_login(staff)
    form = {"old_password": "staff", "new_password1": password, "new_password2": password}
    answer = client.post(reverse("admin:password_change"), form)
    assert answer.status_code == (302 if taken else 200)
    staff.refresh_from_db()
    assert staff.check_password(password) is taken


def test_a_new_password_ends_the_tokens_of_its_account_alone(client, staff):
    other = User.objects.create_user("other")
    for account in (staff, other):
        AuthToken.objects.create(account)
    client.force_login(staff)
    form = {"old_password": "staff", "new_password1": GOOD, "new_password2": GOOD}
    page = reverse("admin:password_change")
    assert "its API tokens" in client.get(page).content.decode()
    client.post(page, form)
    assert [token.user for token in AuthToken.objects.all()] == [other]


def test_a_hash_that_is_brought_up_to_date_ends_no_token(staff, settings):
    AuthToken.objects.create(staff)
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.ScryptPasswordHasher",
        *settings.PASSWORD_HASHERS,
    ]
    assert staff.check_password("staff")
    staff.refresh_from_db()
    assert staff.password.startswith("scrypt")
    assert AuthToken.objects.exists()
