"""`prepare`, which every start runs, and `wait`."""

import io
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.utils import OperationalError

from library.models import Book
from members.models import Member, WelcomeEmail
from project.base import database

pytestmark = pytest.mark.django_db


def prepare(**options) -> str:
    out = io.StringIO()
    call_command("prepare", stdout=out, stderr=io.StringIO(), verbosity=0, **options)
    return out.getvalue()


@pytest.fixture
def samples():
    prepare(sample_data=True)


def test_an_empty_database_gets_the_sample_data_if_asked():
    prepare()
    assert not Book.objects.exists() and not Member.objects.exists()
    prepare(sample_data=True)
    assert Book.objects.count() > 50
    assert Member.objects.count() > 10
    assert Book.objects.search("orwell").exists()
    assert not WelcomeEmail.objects.exclude(state="sent").exists(), "nobody is written to"


@pytest.mark.parametrize(("value", "loaded"), [("1", True), ("0", False)])
def test_the_environment_may_ask_too(monkeypatch, value, loaded):
    monkeypatch.setenv("LOAD_SAMPLE_DATA", value)
    prepare()
    assert Book.objects.exists() == Member.objects.exists() == loaded


def test_the_next_start_keeps_edited_books_and_members_and_brings_no_deleted_ones_back(samples):
    edited, deleted, *_ = Book.objects.order_by("pk")
    Book.objects.filter(pk=edited.pk).update(title="Edited", publication_year=1999)
    deleted.delete()
    member, gone, *_ = Member.objects.order_by("pk")
    Member.objects.filter(pk=member.pk).update(email="edited@example.org")
    gone.delete()
    books = list(Book.objects.order_by("pk").values_list())
    members = list(Member.objects.order_by("pk").values_list())
    prepare(sample_data=True)
    assert list(Book.objects.order_by("pk").values_list()) == books
    assert list(Member.objects.order_by("pk").values_list()) == members


@pytest.mark.parametrize("emptied", [Book, Member])
def test_samples_that_were_deleted_stay_deleted_while_others_remain(samples, emptied):
    emptied.objects.all().delete()
    prepare(sample_data=True)
    assert not emptied.objects.exists()


def test_the_first_account_gets_a_password_that_is_shown_once():
    report = prepare()
    account = User.objects.get()
    assert account.username == "admin" and account.is_superuser and account.is_staff
    password = report.rpartition("shown this once: ")[2].strip()
    assert len(password) >= 16
    assert account.check_password(password)
    assert prepare() == ""
    assert User.objects.count() == 1


def test_the_first_account_may_be_given_and_then_no_password_is_shown(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "ann")
    monkeypatch.setenv("DJANGO_SUPERUSER_EMAIL", "ann@example.org")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a-good-secret")
    report = prepare()
    account = User.objects.get()
    assert (account.username, account.email) == ("ann", "ann@example.org")
    assert account.check_password("a-good-secret")
    assert "ann" in report and "a-good-secret" not in report


def test_an_account_that_is_there_is_left_alone(staff):
    assert prepare() == ""
    assert User.objects.get() == staff
    assert staff.check_password("staff")


def test_a_start_that_fails_half_way_leaves_the_database_new(monkeypatch):
    monkeypatch.setattr("django.contrib.auth.models.UserManager.create_superuser", None)
    with pytest.raises(TypeError):
        prepare(sample_data=True)
    assert not Book.objects.exists() and not Member.objects.exists()


def test_it_waits_for_the_database_warns_about_the_server_and_prepares_alone(monkeypatch):
    steps: list[str] = []

    @contextmanager
    def alone(log):
        steps.append("locked")
        yield
        steps.append("unlocked")

    command = "project.management.commands.prepare"
    monkeypatch.setattr(f"{command}.wait_for_database", lambda log: steps.append("waited"))
    monkeypatch.setattr(f"{command}.warn_about_server", lambda log: steps.append("warned"))
    monkeypatch.setattr(f"{command}.one_at_a_time", alone)
    monkeypatch.setattr(f"{command}.Command.prepare", lambda *args: steps.append("prepared"))
    prepare()
    assert steps == ["waited", "warned", "locked", "prepared", "unlocked"]


def test_wait_returns_once_the_database_lets_us_in(monkeypatch):
    monkeypatch.setattr(database.time, "sleep", lambda seconds: None)
    refusals = [OperationalError(2002, "Can't connect")] * 2 + [None]
    err = io.StringIO()
    with patch("django.db.connection.ensure_connection", side_effect=refusals) as ensure:
        call_command("wait", stderr=err)
    assert ensure.call_count == 3
    assert "Waiting for the database" in err.getvalue()
