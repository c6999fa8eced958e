"""Several rows in one statement, each with conditions and values of its own."""

from datetime import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from members.models import Member, WelcomeEmail
from project.base.database import update_rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> list[WelcomeEmail]:
    odd = {"task_id": "it’s \\ 'quoted' %s", "journal": [{"reason": "№ 5 „nein“ 'a' \\ %"}]}
    columns = {"ann": {"last_error": "a"}, "bob": odd, "cat": {"attempts": 3}}
    return [
        WelcomeEmail.objects.create(
            member=Member.objects.create(username=name, email=f"{name}@example.org"), **kept
        )
        for name, kept in columns.items()
    ]


def values() -> dict[int, dict]:
    return {row["id"]: row for row in WelcomeEmail.objects.values()}


def test_each_row_gets_what_is_meant_for_it_and_keeps_the_rest(rows, django_assert_num_queries):
    ann, bob, _ = rows
    before = values()
    now = timezone.now()
    odd = {"last_error": "it’s \\ 'quoted' %s", "journal": [{"at": now, "reason": "№ '\\ %s"}]}
    read = {"attempts": 0, "claimed_at": None, "queued_at": ann.queued_at}
    with django_assert_num_queries(1):
        done = update_rows(
            WelcomeEmail,
            (ann.pk, read, {"attempts": 1, "claimed_at": now, **odd}),
            (bob.pk, {"task_id": bob.task_id}, {"attempts": 2, "sent_at": now}),
        )
    assert done == 2
    before[ann.pk] |= {"attempts": 1, "claimed_at": now, **odd}
    before[bob.pk] |= {"attempts": 2, "sent_at": now}
    after = values()
    assert datetime.fromisoformat(after[ann.pk]["journal"][0].pop("at")).minute == now.minute
    del before[ann.pk]["journal"][0]["at"]
    assert after == before


@pytest.mark.parametrize(
    "read", [{"attempts": 1}, {"claimed_at": timezone.now()}, {"attempts": 0, "task_id": "x"}]
)
@pytest.mark.parametrize("first", [False, True])
def test_a_row_that_is_not_as_it_was_read_is_left_alone(rows, read, first):
    ann, bob, _ = rows
    before = values()
    changes = [(bob.pk, {"attempts": 0}, {"attempts": 9}), (ann.pk, read, {"attempts": 9})]
    assert update_rows(WelcomeEmail, *reversed(changes) if first else changes) == 1
    before[bob.pk]["attempts"] = 9
    assert values() == before


def test_what_was_read_as_nothing_may_not_be_something_by_now(rows):
    bob = rows[1]
    assert not update_rows(WelcomeEmail, (bob.pk, {"task_id": None}, {"attempts": 9}))
    assert values()[bob.pk]["attempts"] == 0


def test_rows_that_are_gone_are_not_counted(rows):
    ann, bob, _ = rows
    ann.delete()
    changes = [(row.pk, {}, {"attempts": 9}) for row in (ann, bob)]
    assert update_rows(WelcomeEmail, *changes) == 1


@pytest.mark.mysql
def test_rows_are_found_by_their_ids_alone(rows):
    """Or each mail would lock and read what is none of its business."""
    for number in range(200):
        Member.objects.create(username=f"member{number}", email=f"member{number}@example.org")
    WelcomeEmail.objects.bulk_create(
        WelcomeEmail(member=member) for member in Member.objects.filter(welcome_email=None)
    )
    with CaptureQueriesContext(connection) as queries:
        waiting = {"state": "queued", "attempts": 0}
        rows = [(row.pk, waiting, {"attempts": 1, "state": "sending"}) for row in rows[:2]]
        assert update_rows(WelcomeEmail, *rows) == 2
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN FORMAT=TRADITIONAL " + queries[0]["sql"])
        names = [column[0] for column in cursor.description]
        [plan] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    assert (plan["type"], plan["key"], plan["rows"]) == ("range", "PRIMARY", 2)
