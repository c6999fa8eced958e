"""The pages of an import of members: who may, what they say, the choice of welcome e-mails."""

import csv
import io
from datetime import timedelta
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from members.files.models import MemberImport
from members.models import Member, WelcomeEmail
from project.imports import admin as pages
from project.imports.tasks import purge_imports
from project.jobs.models import State

from .test_jobs import add, examined, imported, row, uploaded, worked_on

pytestmark = pytest.mark.django_db

LIST = reverse("admin:members_memberimport_changelist")
ADD = reverse("admin:members_memberimport_add")
MEMBERS = reverse("admin:members_member_changelist")
VIEWS = {
    "get": ["change", "progress", "refused", "file"],
    "post": ["examine", "confirm", "cancel", "again", "undo"],
}


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def desk(client):
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.groups.add(Group.objects.get(name="Membership desk"))
    client.force_login(clerk)
    return client


@pytest.fixture
def enqueued(monkeypatch) -> Mock:
    monkeypatch.setattr(pages, "enqueue", Mock())
    return pages.enqueue


def url(job: MemberImport, name: str = "change") -> str:
    return reverse(f"admin:members_memberimport_{name}", args=[job.pk])


def html(client, job: MemberImport, query: str = "") -> str:
    return client.get(url(job) + query).content.decode()


@pytest.mark.parametrize(
    "permissions",
    [[], ["add_member"], ["change_member", "view_member"], ["add_book", "change_book"]],
)
def test_who_may_not_add_and_change_members_may_not_import(client, permissions):
    job = examined(row("ann"))
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(clerk)
    assert [client.get(page).status_code for page in (LIST, ADD)] == [403, 403]
    for method, names in VIEWS.items():
        for name in names:
            assert getattr(client, method)(url(job, name)).status_code == 403
    assert ADD not in client.get(MEMBERS).content.decode()


def test_the_membership_desk_imports_from_the_list_to_the_members(desk, enqueued):
    assert ADD in desk.get(MEMBERS).content.decode()
    assert "Members are matched by username" in desk.get(ADD).content.decode()
    file = SimpleUploadedFile("Читатели.csv", "Логин;Эл. почта\nann;ann@example.org".encode())
    response = desk.post(ADD, {"file": file})
    job = MemberImport.objects.get()
    assert response.headers["Location"] == url(job)
    worked_on(job)
    assert "ann@example.org" in html(desk, job)
    desk.post(url(job, "confirm"), {"welcome": "known"})
    worked_on(job)
    assert Member.objects.get().username == "ann"
    assert f"?batch=memberimport-{job.pk}" in html(desk, job)


def test_the_preview_shows_the_old_address_beside_the_new(desk):
    add("ann", "old@example.org")
    page = html(desk, examined(row("ann"), row("bob")), "?show=changed")
    assert "<del>old@example.org</del>" in page and "<ins>ann@example.org</ins>" in page
    assert ">E-mail address</th>" in page


@pytest.mark.parametrize(
    ("chosen", "state"),
    [({}, "cancelled"), ({"welcome": "known"}, "cancelled"), ({"welcome": "send"}, "queued")],
)
def test_only_a_deliberate_choice_sends_welcome_e_mails(desk, enqueued, chosen, state):
    job = examined(row("ann"))
    page = html(desk, job)
    assert 'value="known" id="welcome-known" form="confirm" checked' in page
    assert "Send 1 e-mail " in page
    desk.post(url(job, "confirm"), chosen)
    worked_on(job)
    assert WelcomeEmail.objects.get().state == state
    assert ("no welcome e-mail is sent" in html(desk, job)) == (state == "cancelled")


def test_who_adds_nobody_is_asked_nothing(desk):
    add("ann", "old@example.org")
    assert 'name="welcome"' not in html(desk, examined(row("ann")))


def test_the_known_are_found_by_their_reason(desk):
    imported(row("ann"))
    welcomes = reverse("admin:members_welcomeemail_changelist")
    for reason, found in {"known": 1, "other": 0}.items():
        page = desk.get(f"{welcomes}?reason={reason}")
        assert len(page.context["cl"].result_list) == found


def test_columns_are_corrected_by_hand(desk, enqueued):
    job = examined("Ann Lee,ann,ann@example.org", header="Name,Who,Where")
    assert "looks like the username" in html(desk, job)
    given = {
        "header_row": "1",
        "encoding": "utf-8",
        "delimiter": ",",
        "username": "1",
        "email": "2",
    }
    desk.post(url(job, "examine"), given)
    assert worked_on(job).found["new"] == 1


def test_refused_rows_come_as_a_file(desk):
    add("ann")
    job = examined("1,bob,ann@example.org", "2,an,an@example.org", header="no,login,mail")
    text = b"".join(desk.get(url(job, "refused"))).decode("utf-8-sig")
    header, first, second = csv.reader(io.StringIO(text))
    assert header == ["refused row", "refused because", "no", "login", "mail"]
    assert first == ["2", "the member “ann” has this e-mail address", "1", "bob", "ann@example.org"]
    assert second[0] == "3"


def test_an_undo_is_offered_in_words_and_names_what_it_left(desk):
    job = imported(row("ann"), row("bob"))
    bob = Member.objects.get(username="bob")
    bob.email = "his@example.org"
    bob.save()
    assert "erased for good" in html(desk, job)
    desk.post(url(job, "undo"))
    worked_on(job)
    page = html(desk, job)
    assert f'<a href="{reverse("admin:members_member_change", args=[bob.pk])}">bob</a>' in page
    assert "changed afterwards" in page
    bob.delete()
    assert ">bob<" not in html(desk, job)


@pytest.mark.parametrize(("line", "status"), [("ann", 403), ("bob", 302)], ids=["new", "changed"])
def test_who_may_not_erase_members_does_not_by_an_undo(client, line, status):
    add("bob", "old@example.org")
    job = imported(row(line))
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    names = ["view_member", "add_member", "change_member"]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(clerk)
    assert (url(job, "undo") in html(client, job)) == (status == 302)
    assert client.post(url(job, "undo")).status_code == status


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_each_state_has_its_page(desk, state, language, django_assert_max_num_queries):
    job = imported(row("ann"), "bob,")
    MemberImport.objects.update(state=state)
    desk.cookies["django_language"] = language
    with django_assert_max_num_queries(9):
        assert desk.get(url(job)).status_code == 200


def test_the_page_says_what_becomes_of_the_file(desk):
    job = examined(row("ann"))
    assert ": deleted once you confirm" in html(desk, job)
    job = imported(row("bob"))
    assert not job.file
    assert "The uploaded file is deleted. The rows" in html(desk, job)
    job.purge()
    assert "The rows were deleted, after 30 days" in html(desk, job)


def test_a_failed_import_goes_on_without_its_file(desk, enqueued):
    job = imported(row("ann"))
    MemberImport.objects.update(state=State.FAILED, position=0)
    assert url(job, "again") in html(desk, job)
    desk.post(url(job, "again"))
    assert worked_on(job).state == State.DONE


def test_old_rows_of_confirmed_imports_are_purged(settings):
    job, young = imported(row("ann")), uploaded(row("bob"))
    MemberImport.objects.filter(pk=job.pk).update(uploaded_at=timezone.now() - timedelta(days=31))
    assert purge_imports() == "1 imports purged."
    assert purge_imports() == "0 imports purged."
    job.refresh_from_db()
    assert (job.pages.count(), job.reading, job.written["new"]) == (0, {}, 1)
    assert young.file.storage.exists(young.file.name)
