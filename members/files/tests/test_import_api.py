"""Member files, for programs. What books and members share: library/files/tests/test_import_api*.py."""

from unittest.mock import Mock

import pytest
from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from library.files.models import Import
from members.files.models import MemberImport
from members.models import Member, WelcomeEmail
from project.api.tests.programs import program
from project.jobs.models import State
from project.jobs.tasks import work

from .test_jobs import add, files, members, row, worked_on  # noqa: F401  # files: a fixture

pytestmark = pytest.mark.django_db

IMPORTS = "/api/v1/members/imports/"


@pytest.fixture(autouse=True)
def delay(monkeypatch) -> Mock:
    delay = Mock()
    monkeypatch.setattr(work, "delay", delay)
    return delay


@pytest.fixture
def sync(db) -> APIClient:
    return program("member-sync")


def send(api, *rows: str, query: str = "", header: str = "username,e-mail", **headers: str):
    body = "\n".join([header, *rows])
    return api.generic("POST", f"{IMPORTS}{query}", body, "text/csv", headers=headers)


def finished(response) -> MemberImport:
    assert response.status_code == 202, response.content
    job = MemberImport.objects.get(pk=response.json()["id"])
    while job.state in (State.UPLOADED, State.QUEUED):
        worked_on(job)
    return job


def test_members_are_registered_changed_and_refused(sync):
    add("ann"), add("eve", "taken@example.org")
    response = send(sync, row("bob"), "Ann,new@example.org", "carl,taken@example.org", "x,x")
    location = response.headers["Location"]
    assert location.endswith(f"{IMPORTS}{response.json()['id']}/")
    finished(response)
    status = sync.get(location).json()
    assert status["found"] == {"read": 4, "new": 1, "changed": 1, "same": 0, "refused": 2}
    assert status["written"] == {"new": 1, "changed": 1, "same": 0}
    assert members() == [
        ("ann", "new@example.org"), ("eve", "taken@example.org"), ("bob", "bob@example.org"),
    ]  # fmt: skip
    refused = b"".join(sync.get(status["refused"])).decode("utf-8-sig").splitlines()
    assert refused[0] == "refused row,refused because,username,e-mail"
    assert [line.partition(",")[0] for line in refused[1:]] == ["4", "5"]


@pytest.mark.parametrize(
    ("query", "states"),
    [("", ["cancelled"]), ("?welcome_emails=false", ["cancelled"]), ("?welcome_emails=true", ["queued"])],
)  # fmt: skip
def test_new_members_get_a_welcome_email_only_if_that_is_said(sync, query, states):
    finished(send(sync, row("bob"), query=query))
    assert list(WelcomeEmail.objects.values_list("state", flat=True)) == states


def test_the_columns_of_members_are_named(sync):
    query = "?username_column=Who&email_column=Where"
    finished(send(sync, row("bob"), header="Who,Where", query=query))
    assert members() == [("bob", "bob@example.org")]
    assert send(sync, row("eve"), query="?isbn_column=Who").status_code == 400


def test_no_cache_may_keep_what_names_members(sync):
    response = send(sync, "x,x")
    finished(response)
    location = response.headers["Location"]
    answers = [response, sync.get(IMPORTS), sync.get(location), sync.get(f"{location}refused/")]
    assert [answer.headers["Cache-Control"] for answer in answers] == ["no-store"] * 4


def test_the_file_is_deleted_once_it_is_read(sync, settings):
    job = finished(send(sync, row("bob")))
    assert not job.file
    assert not [path for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()]


def test_a_dry_run_registers_nobody(sync):
    assert finished(send(sync, row("bob"), query="?dry_run=true")).state == State.EXAMINED
    assert not Member.objects.exists()


def test_an_erased_member_takes_a_waiting_file_along(sync):
    add("ann")
    response = send(sync, row("ann"), query="?email_column=e-mail")
    Member.objects.get().delete()
    status = sync.get(response.headers["Location"]).json()
    assert status["state"] == "cancelled"
    assert status["error"].startswith("A member was erased in the meantime.")
    job = MemberImport.objects.get()
    assert not job.file
    assert job.options == {"dry_run": False, "token": "nightly"}


def test_the_history_tells_the_file_and_the_token(sync):
    finished(send(sync, row("bob"), query="?filename=new.csv"))
    row_ = Member.history.get()
    assert (row_.door, row_.detail) == ("import", "new.csv (API nightly)")


def test_the_lists_of_books_and_members_are_two(sync):
    send(sync, row("bob"))
    assert not Import.objects.exists()
    assert sync.get("/api/v1/imports/").json()["results"] == []
    assert len(sync.get(IMPORTS).json()["results"]) == 1


def test_a_retry_with_its_key_registers_once(sync):
    answers = [send(sync, row("bob"), **{"Idempotency-Key": "a"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    other = send(sync, row("bob"), query="?welcome_emails=true", **{"Idempotency-Key": "a"})
    assert other.status_code == 422
    assert MemberImport.objects.count() == 1


@pytest.mark.parametrize("group", ["Cataloguers", "Integrator, read", "Operators"])
def test_who_may_not_register_members_imports_none(api, group):
    user = User.objects.create_user("program")
    user.groups.add(Group.objects.get(name=group))
    api.force_authenticate(user)
    assert send(api, row("bob")).status_code == 403
    assert api.get(IMPORTS).status_code == 403
