import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from members.models import Member, WelcomeEmail

REGISTER = "/api/v1/members/register/"
PROBLEM = "application/problem+json"


def post(client: APIClient, username: object = "ann", email: object = "ann@example.org", **more):
    return client.post(REGISTER, {"username": username, "email": email, **more})


def codes(response) -> dict[str | None, str]:
    assert response.headers["Content-Type"] == PROBLEM
    return {error["field"]: error["code"] for error in response.json()["errors"]}


@pytest.mark.django_db
def test_anyone_may_register(api, delay, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        response = post(api, " ann.reader ", "Ann@Example.org")
    member = Member.objects.get()
    assert response.status_code == 201
    assert response.json() == {
        "id": member.pk,
        "username": "ann.reader",
        "email": "Ann@Example.org",
        "registered_at": member.registered_at.isoformat().replace("+00:00", "Z"),
    }
    delay.assert_called_once_with(member.welcome_email.pk)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("broker_is", "number"), [(None, 5), (ConnectionError, 6)])
def test_a_registration_is_few_statements(api, delay, broker_is, number, django_assert_num_queries):
    delay.side_effect = broker_is
    with django_assert_num_queries(
        number
    ):  # begin, three rows, commit; that no message was enqueued
        assert post(api).status_code == 201


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("username", "email", "field"),
    [
        ("an", "ann@example.org", "username"),
        ("a" * 151, "ann@example.org", "username"),
        ("ann reader", "ann@example.org", "username"),
        ("ann@example.org", "ann@example.org", "username"),
        ("https://spam.example", "ann@example.org", "username"),
        ("jos\u00e9", "ann@example.org", "username"),
        ("ann\n", None, "email"),
        ("ann\u0000", "ann@example.org", "username"),
        ("ann\ud800", "ann@example.org", "username"),
        ("", "ann@example.org", "username"),
        (None, "ann@example.org", "username"),
        (True, "ann@example.org", "username"),
        ({"$ne": ""}, "ann@example.org", "username"),
        ("ann", "no address", "email"),
        ("ann", "ann@example.org\nBcc: all@example.org", "email"),
        ("ann", "ann@example.org, bob@example.org", "email"),
        ("ann", f"{'a' * 250}@example.org", "email"),
        ("ann", ["ann@example.org"], "email"),
    ],
)
def test_rejected_registration_leaves_nothing(api, username, email, field):
    # Without the test client's encoder, which refuses what a hostile client may send.
    body = json.dumps({"username": username, "email": email})
    response = api.generic("POST", REGISTER, body, "application/json")
    assert response.status_code == 400
    assert field in codes(response)
    assert not Member.objects.exists()
    assert not WelcomeEmail.objects.exists()


@pytest.mark.django_db
def test_unknown_fields_and_parameters_are_named(api):
    assert codes(post(api, e_mail="x")) == {"e_mail": "unknown"}
    assert codes(api.post(f"{REGISTER}?notify=1", {})) == {"notify": "unknown"}
    assert not Member.objects.exists()


@pytest.mark.django_db
def test_what_is_taken_is_a_conflict_that_names_the_field(api, staff_api):
    member = post(api).json()
    assert post(api, "ANN", "other@example.org").status_code == 409
    assert codes(post(api, "ANN", "other@example.org")) == {"username": "unique"}
    assert codes(post(api, "other", "ANN@example.org")) == {"email": "unique"}
    assert codes(post(api)) == {"username": "unique", "email": "unique"}
    assert "existing" not in post(api).json(), "only who may see members is told where it is"
    assert post(staff_api).json()["existing"].endswith(f"/members/{member['id']}/")


@pytest.mark.django_db
def test_closed_registration_wants_the_add_permission(api, staff_api, settings):
    settings.PUBLIC_REGISTRATION = False
    response = post(api)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert post(staff_api).status_code == 201


@pytest.mark.django_db
def test_registering_by_the_api_costs_few_queries(api, django_assert_max_num_queries):
    with django_assert_max_num_queries(8):  # register_member's and two savepoints
        response = post(api)
    assert response.status_code == 201


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@pytest.mark.django_db
@settings(
    max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.fixed_dictionaries({}, optional={"username": JSON, "email": JSON, "x": JSON}) | JSON)
def test_no_json_makes_a_server_error(api, body):
    response = api.generic("POST", REGISTER, json.dumps(body), "application/json")
    assert response.status_code in (201, 400, 409)


@pytest.mark.mysql
@pytest.mark.django_db(transaction=True)
def test_a_race_for_one_username_has_one_winner(delay):
    def register(number: int) -> int:
        try:
            body = {"username": "ann", "email": f"ann{number}@example.org"}
            return Client().post(REGISTER, body, content_type="application/json").status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(register, range(24)))
    assert statuses == [201] + [409] * 23
    assert WelcomeEmail.objects.count() == 1
