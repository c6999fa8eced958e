"""Erasing a member removes its address and its name everywhere."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_results.models import TaskResult

from members import erasing
from members.files.models import MemberImport
from members.files.tests.test_jobs import examined, imported
from members.mail.tasks import SENT, SKIPPED, send_welcome_emails
from members.mail.tests.mail_server import mail_server
from members.models import Member, WelcomeEmail
from project.imports import engine
from project.imports.engine import begin
from project.jobs.tasks import work
from project.tests.forms import filled

NAME, ADDRESS = "annabel.reader", "Annabel.Reads@Example.org"
LATER = "annabel.now@example.org"
TRACES = [NAME, "annabel", ADDRESS, LATER]
WELCOMES = reverse("admin:members_welcomeemail_changelist")


def everything() -> Iterator[tuple[str, str]]:
    """Each value of each table, whether or not a model describes it."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            for row in cursor.fetchall():
                for value in row:
                    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
                    yield table, str(text)


def traces() -> list[tuple[str, str]]:
    return [
        (table, text)
        for table, text in everything()
        if any(trace.lower() in text.lower() for trace in TRACES)
    ]


def attempt(welcome: WelcomeEmail, settings, **answers) -> None:
    """As a worker makes it, with a result in the database."""
    with mail_server(settings, **answers):
        send_welcome_emails.apply(args=[welcome.pk])


@pytest.fixture
def life(client, staff, settings, delay, monkeypatch) -> Member:
    """A member with a history: registered in the admin, refused, edited, sent again."""
    monkeypatch.setattr(send_welcome_emails, "store_eager_result", True)
    client.force_login(staff)
    client.post(reverse("admin:members_member_add"), {"username": NAME, "email": ADDRESS})
    member = Member.objects.get()
    welcome = member.welcome_email
    attempt(welcome, settings, rcpt=f"550 5.1.1 <{ADDRESS}>: no mailbox annabel.reads ({NAME})")
    change = reverse("admin:members_member_change", args=[member.pk])
    client.post(change, filled(client.get(change)) | {"email": LATER})
    chosen = {"action": "send_again", "_selected_action": [welcome.pk], "confirmed": 1}
    client.post(WELCOMES, chosen)
    attempt(welcome, settings, data="451 4.7.1 annabel.now@example.org is greylisted, Annabel.Now")
    client.post(WELCOMES, chosen)
    attempt(welcome, settings)
    welcome.refresh_from_db()
    assert welcome.state == WelcomeEmail.State.SENT
    assert len(welcome.journal) == 3
    return member


def by_admin(client, member: Member) -> None:
    client.post(reverse("admin:members_member_delete", args=[member.pk]), {"post": "yes"})


def by_list(client, member: Member) -> None:
    chosen = {"action": "delete_selected", "_selected_action": [member.pk], "post": "yes"}
    client.post(reverse("admin:members_member_changelist"), chosen)


def by_api(client, member: Member) -> None:
    client.delete(reverse("member-detail", args=[member.pk]))


def by_hand(client, member: Member) -> None:
    member.delete()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("erase", [by_admin, by_list, by_api, by_hand])
def test_the_whole_database_forgets_the_member(life, client, erase):
    assert TaskResult.objects.count() == 3
    assert {table for table, _ in traces()} == {
        "members_member",
        "members_historicalmember",
        "django_admin_log",
    }, "while it is a member, its name stands here and no address elsewhere"
    pk = life.pk
    erase(client, life)
    assert not Member.objects.exists()
    assert not WelcomeEmail.objects.exists()
    assert traces() == []
    entries = LogEntry.objects.filter(content_type__model="member", object_id=str(pk))
    assert entries.count() == (3 if erase in (by_admin, by_list) else 2)
    assert set(entries.values_list("object_repr", flat=True)) == {f"#{pk}"}


@pytest.mark.django_db
def test_the_history_of_others_stays(client, staff):
    client.force_login(staff)
    for name in ("ann", "bob"):
        form = {"username": name, "email": f"{name}@example.org"}
        client.post(reverse("admin:members_member_add"), form)
    Member.objects.filter(username="ann").delete()
    assert sorted(LogEntry.objects.values_list("object_repr", flat=True))[1] == "bob"


@pytest.mark.django_db
def test_the_history_of_another_table_stays(staff, owed):
    """Its rows may have the same ids."""
    member = owed("ann").member
    for record in (member, staff):
        LogEntry.objects.create(
            user=staff,
            content_type=ContentType.objects.get_for_model(record),
            object_id=str(member.pk),
            object_repr="kept",
            change_message="kept",
            action_flag=CHANGE,
        )
    member.delete()
    told = set(LogEntry.objects.values_list("object_repr", "change_message"))
    assert told == {("kept", "kept"), (f"#{LogEntry.objects.first().object_id}", "")}


@pytest.mark.django_db
def test_erasing_many_members_erases_them_all(staff, owed, monkeypatch):
    monkeypatch.setattr(erasing, "HISTORY_BATCH_SIZE", 2)
    for number in range(5):
        member = owed(f"ann{number}").member
        LogEntry.objects.create(
            user=staff,
            content_type=ContentType.objects.get_for_model(Member),
            object_id=str(member.pk),
            object_repr=member.username,
            action_flag=CHANGE,
        )
    Member.objects.all().delete()
    assert not LogEntry.objects.exclude(object_repr__startswith="#").exists()
    left = set(Member.history.values_list("history_type", "username", "email"))
    assert left == {("-", "", "")}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rows", ["one", "many"])
def test_a_member_is_erased_whole_or_not_at_all(owed, rows):
    member = owed("ann").member
    erase = member.delete if rows == "one" else Member.objects.all().delete
    with (
        patch("members.models.erase_traces", side_effect=ZeroDivisionError),
        pytest.raises(ZeroDivisionError),
    ):
        erase()
    assert Member.objects.exists()
    assert WelcomeEmail.objects.exists()


@pytest.mark.django_db
def test_a_mail_that_is_being_sent_while_its_member_is_erased_records_nothing(owed):
    welcome = owed(NAME)

    def erase_in_the_middle(message):
        Member.objects.filter(username=NAME).delete()
        return 1

    with patch("members.mail.delivery.EmailMultiAlternatives.send", autospec=True) as send:
        send.side_effect = erase_in_the_middle
        assert send_welcome_emails.apply(args=[welcome.pk]).get() == [[SENT, {"count": 1}]]
    assert not WelcomeEmail.objects.exists()
    assert traces() == []


@pytest.mark.django_db
def test_a_mail_that_waits_is_not_sent_once_its_member_is_erased(owed):
    welcome = owed(NAME)
    pk = welcome.pk
    Member.objects.all().delete()
    assert send_welcome_emails.apply(args=[pk]).get() == [[SKIPPED, {"count": 1}]]
    assert mail.outbox == []


# --- Member files ---


@pytest.fixture
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def names_in(job: MemberImport) -> bool:
    job.refresh_from_db()
    stored = [job.reading, job.error, job.undone, [page.rows for page in job.pages.all()]]
    return any(trace.lower() in repr(stored).lower() for trace in TRACES)


ROW, OTHER = f"{NAME},{ADDRESS}", "bob,bob@example.org"


def changed_address(job: MemberImport) -> None:
    """The old address stands in the import, and in no row of the member."""
    Member.objects.filter(username=NAME).update(email="new@example.org")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "rows",
    [
        [ROW, OTHER],
        [OTHER, f"a b,<{ADDRESS.upper()}>"],
        [OTHER, f"{NAME},{ADDRESS},too many"],
        [f"somebody,{ADDRESS}", OTHER],  # refused: it is hers
        [f"{NAME},{LATER}", OTHER],
    ],
)
@pytest.mark.parametrize("change", [None, changed_address])
def test_the_rows_of_an_import_go_with_the_member_whom_they_name(media, rows, change):
    Member.objects.create(username=NAME, email=ADDRESS)
    job = imported(*rows)
    if change:
        change(job)
    assert names_in(job)
    assert not list(media.glob("imports/*")), "the file is deleted once it is confirmed"
    Member.objects.get(username=NAME).delete()
    assert not names_in(job)
    assert (job.state, job.is_kept, job.pages.count()) == ("done", False, 0)
    assert job.written["new"] <= 2


@pytest.mark.django_db
def test_the_rows_that_name_others_stay(media):
    """Whose name is the beginning, the end or a part of an erased one, or an address of hers."""
    job = imported("annabel,annabel@example.org", "ann.lee,ann@example.org", "joann,j.ann@x.org")
    Member.objects.create(username="ann", email="lee@example.org").delete()
    job.refresh_from_db()
    assert job.pages.exists() and job.is_kept


@pytest.mark.django_db
@pytest.mark.parametrize(
    "cell",
    [
        *("mailto:Ann@Über.org", "Ann <ann@über.org>", "x;ann@über.org", "“ann@über.org”"),
        *("'ann@über.org'", "ann@über.org.", "C:\\new\\ann@über.org", "[ann@über.org]"),
        "her@x.org/ann@über.org",
    ],
)
def test_an_address_is_found_in_whatever_stands_around_it(media, cell):
    Member.objects.create(username="ann", email="Ann@über.org")
    job = imported("bob,bob@example.org", f'nobody,"{cell}"')
    Member.objects.filter(username="ann").delete()
    job.refresh_from_db()
    assert not job.is_kept


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["uploaded", "examined", "queued", "failed", "cancelled"])
def test_a_file_that_waits_goes_with_any_member(media, staff, client, state):
    """It may name her in a column or a sheet that nobody reads."""
    member = Member.objects.create(username="ann", email="ann@example.org")
    job = examined(OTHER)
    MemberImport.objects.update(state=state)
    member.delete()
    job.refresh_from_db()
    assert job.state == ("failed" if state == "failed" else "cancelled")
    assert not job.is_kept and not list(media.glob("imports/*"))
    if state != "cancelled":
        assert "A member was erased in the meantime" in str(job.problem)
        client.force_login(staff)
        page = client.get(reverse("admin:members_memberimport_change", args=[job.pk]))
        assert "A member was erased in the meantime" in page.content.decode()


@pytest.mark.django_db
def test_a_worker_stops_where_the_member_of_its_import_is_erased(media, monkeypatch):
    monkeypatch.setattr(engine, "PAGE_SIZE", 1)
    monkeypatch.setattr(engine, "PAGES_PER_BATCH", 1)
    job = examined(OTHER, ROW)
    begin(job)
    next_pages = engine.next_pages

    def erased_meanwhile(job):
        found = next_pages(job)
        Member.objects.filter(username="bob").delete()
        return found

    monkeypatch.setattr(engine, "next_pages", erased_meanwhile)
    assert "was cancelled" in str(work("memberimport", job.pk))
    job.refresh_from_db()
    assert (job.state, Member.objects.count()) == ("cancelled", 0)


@pytest.mark.django_db
def test_an_undo_erases_all_that_it_registered(media):
    job = imported(ROW, OTHER)
    assert job.begin_undo(None)
    work("memberimport", job.pk)
    assert not names_in(job)
    assert (job.state, job.undone["deleted"]) == ("undone", 2)
    assert traces() == []


@pytest.mark.django_db
def test_what_an_undo_left_alone_is_not_named_once_it_is_erased(media):
    job = imported(ROW)
    member = Member.objects.get()
    member.email = LATER
    member.save()
    job.begin_undo(None)
    work("memberimport", job.pk)
    member.delete()
    assert job.undone is not None and not names_in(job)
    assert traces() == []


@pytest.mark.django_db
def test_an_import_whose_first_member_is_erased_stays_one_line_of_all_activity(media):
    job = imported(ROW, OTHER, "cleo,cleo@example.org")
    Member.objects.get(username=NAME).delete()
    listed = Member.history.filter(batch=job.batch, listed=True)
    assert [version.username for version in listed] == ["bob"]


@pytest.mark.django_db
def test_an_erased_member_is_not_restored(client, staff, owed):
    member = owed("ann").member
    member.username = "anna"
    member.save()
    version = member.history.last()
    address = reverse("admin:members_member_restore", args=[member.pk, version.pk])
    client.force_login(staff)
    assert client.get(address).status_code == 200
    member.delete()
    version.save(force_insert=True)  # as a restored backup may bring it back
    assert client.post(address, {"version": ""}).status_code == 403
    assert not Member.objects.exists()


@pytest.mark.mysql
@pytest.mark.django_db
def test_the_history_of_a_member_is_found_by_an_index():
    with connection.cursor() as cursor:
        cursor.execute(
            "EXPLAIN FORMAT=TRADITIONAL UPDATE django_admin_log SET change_message = '' "
            "WHERE content_type_id = 7 AND object_id IN ('1', '2')"
        )
        assert "project_history_of_record" in str(cursor.fetchall())


def test_no_model_keeps_a_copy_of_an_address():
    """A new field that holds one must be added to the test above."""
    fields = [
        str(field)
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if field.get_internal_type() == "EmailField" or field.name == "email"
    ]
    assert sorted(fields) == [
        "auth.User.email",
        "members.HistoricalMember.email",
        "members.Member.email",
    ]


@pytest.mark.mysql
@pytest.mark.django_db
def test_imports_are_locked_while_a_member_is_erased():
    """Else a worker might write a page that names the member after it was searched."""
    member = Member.objects.create(username="ann.reader", email="ann@example.org")
    with CaptureQueriesContext(connection) as queries:
        member.delete()
    reads = [q["sql"] for q in queries if "FROM `members_memberimport`" in q["sql"]]
    assert len(reads) == 1 and "FOR UPDATE" in reads[0]
