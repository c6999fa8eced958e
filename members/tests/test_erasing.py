"""Erasing a member removes its address and its name everywhere."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core import mail
from django.db import connection
from django.urls import reverse
from django_celery_results.models import TaskResult

from members import erasing
from members.mail.tasks import send_welcome_emails
from members.mail.tests.mail_server import mail_server
from members.models import Member, WelcomeEmail
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
        patch("members.models.erase_from_history", side_effect=ZeroDivisionError),
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
        sentence = send_welcome_emails.apply(args=[welcome.pk]).get()
    assert sentence == f"Sent welcome e-mail {welcome.pk} to member {welcome.member_id}."
    assert not WelcomeEmail.objects.exists()
    assert traces() == []


@pytest.mark.django_db
def test_a_mail_that_waits_is_not_sent_once_its_member_is_erased(owed):
    welcome = owed(NAME)
    pk = welcome.pk
    Member.objects.all().delete()
    assert send_welcome_emails.apply(args=[pk]).get().startswith("Skipped")
    assert mail.outbox == []


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
