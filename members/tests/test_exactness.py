"""Values are typed strictly, and the domain of an address has a dot."""

import base64
import re

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from members.filters import MemberFilterSet
from members.models import Member

pytestmark = pytest.mark.django_db

MEMBERS = "/api/v1/members/"
REGISTER = f"{MEMBERS}register/"
GIVEN = {"username": "ann", "email": "ann@example.org"}
PARAMETERS = [*MemberFilterSet.base_filters, "ordering", "cursor", "page_size", "count"]


def codes(response) -> dict[str, str]:
    assert response.status_code == 400, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    return {error["field"]: error["code"] for error in response.json()["errors"]}


@pytest.mark.parametrize("field", ["username", "email"])
@pytest.mark.parametrize("value", [12345, 0.5, 0, True, False], ids=repr)
def test_only_a_string_is_a_text(api, staff_api, owed, field, value):
    assert codes(api.post(REGISTER, {**GIVEN, field: value})) == {field: "invalid"}
    path = f"{MEMBERS}{owed().member_id}/"
    assert codes(staff_api.patch(path, {field: value})) == {field: "invalid"}


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", ["", "%20", "%C2%A0"], ids=repr)
def test_a_blank_parameter_is_an_error_and_not_the_whole_register(staff_api, owed, name, value):
    owed()
    assert codes(staff_api.get(f"{MEMBERS}?{name}={value}")) == {name: "blank"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_nul_is_refused_in_each_parameter(staff_api, name):
    expected = {name: "null_characters_not_allowed"}
    assert codes(staff_api.get(f"{MEMBERS}?{name}=a%00b")) == expected


@pytest.mark.parametrize("address", ["a@localhost", "a@LOCALHOST", "a@intranet", "a@b."])
def test_an_address_without_a_dot_in_its_domain_is_refused_on_every_path(
    api, staff_api, client, staff, owed, address
):
    response = api.post(REGISTER, {**GIVEN, "email": address})
    assert codes(response) == {"email": "invalid"}
    assert len(response.json()["errors"]) == 1
    assert not Member.objects.exists()
    member = owed().member
    path = f"{MEMBERS}{member.pk}/"
    assert codes(staff_api.patch(path, {"email": address})) == {"email": "invalid"}
    client.force_login(staff)
    for path in ("add/", f"{member.pk}/change/"):
        form = {"username": "bob", "email": address}
        page = client.post(f"/admin/members/member/{path}", form)
        assert page.status_code == 200
        errors = page.context["adminform"].form.errors
        assert list(errors) == ["email"] and len(errors["email"]) == 1
    assert [m.email for m in Member.objects.all()] == [member.email]
    with pytest.raises(ValidationError) as error:
        Member(username="bob", email=address).full_clean()
    assert list(error.value.error_dict) == ["email"]


@pytest.mark.parametrize(
    "address", ["no address", "@example.org", "a@", "a b@example.org", "a\0@b.cd"]
)
def test_the_model_itself_knows_an_address(address):
    with pytest.raises(ValidationError) as error:
        Member(username="bob", email=address).full_clean()
    assert list(error.value.error_dict) == ["email"]


@pytest.mark.parametrize("address", ["a@b.cd", "a@localhost.example", "a@xn--80ak6aa92e.com"])
def test_an_address_with_a_dot_in_its_domain_is_taken(api, address):
    Member(username="bob", email=address).full_clean()
    assert api.post(REGISTER, {**GIVEN, "email": address}).status_code == 201


def test_no_name_or_address_can_be_read_in_a_cursor(staff_api, owed):
    for name in ("ann.reader", "bob.writer", "cat.editor"):
        owed(name)
    for ordering in ("username", "-email", "email,username", "registered_at"):
        link = staff_api.get(f"{MEMBERS}?ordering={ordering}&page_size=2").json()["next"]
        payload = re.search(r"cursor=\.?([\w-]+)", link)[1]
        content = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        assert not re.search(rb"bob|writer|example|org", content)


@pytest.mark.parametrize(
    "name", ["ann\n", "\nann", "ann b", "ann@example.org", "an", "\u0430nn", "a" * 151]
)
def test_the_model_itself_knows_a_username(name):
    with pytest.raises(ValidationError) as error:
        Member(username=name, email="a@b.cd").full_clean()
    assert list(error.value.error_dict) == ["username"]


@pytest.mark.parametrize("name", ["AzZ", "a-b", "a_b", "a.b", "019", "a" * 150])
def test_each_letter_digit_and_sign_of_a_username_is_taken(name):
    Member(username=name, email="a@b.cd").full_clean()


@pytest.mark.parametrize("wrong", [{"username": "an"}, {"email": ""}], ids=repr)
def test_what_no_form_has_seen_is_refused_by_the_database_too(wrong):
    member = Member(**{**GIVEN, **wrong})
    with pytest.raises(ValidationError):
        member.validate_constraints()
    with pytest.raises(IntegrityError), transaction.atomic():
        Member.objects.bulk_create([member])


def test_three_letters_satisfy_the_database():
    member = Member(username="ann", email="a@b.cd")
    member.validate_constraints()
    Member.objects.bulk_create([member])
