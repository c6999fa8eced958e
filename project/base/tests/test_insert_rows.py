"""A new row without the ORM's statement: what is stored must be the same."""

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction

from members.models import Member, WelcomeEmail
from project.base.database import insert_rows

pytestmark = pytest.mark.django_db
ODD = {
    "last_error": "it’s \\ 'quoted' %s",
    "journal": [{"reason": "№ 5 „nein“ 'a' \\ %"}],
    "claimed_at": datetime(2026, 1, 31, 9, 30, 0, 123456, UTC),
    "task_id": None,
    "attempts": 3,
}


@pytest.fixture
def members() -> list[Member]:
    return [Member.objects.create(username=n, email=f"{n}@example.org") for n in ("ann", "bob")]


def test_it_writes_what_save_writes(members):
    saved, written = [WelcomeEmail(member=member, **ODD) for member in members]
    saved.save()
    insert_rows([written])
    own = {"id": saved.pk, "member_id": saved.member_id, "message_id": saved.message_id}
    own |= {name: getattr(saved, name) for name in ("queued_at", "next_attempt_at", "enqueued_at")}
    by_id = {row["id"]: row for row in WelcomeEmail.objects.values()}
    assert by_id[written.pk] | own == by_id[saved.pk]
    assert written.message_id == by_id[written.pk]["message_id"], "the defaults are the instance's"


def test_afterwards_it_is_a_stored_instance(members):
    insert_rows([welcome := WelcomeEmail(member=members[0])])
    welcome.attempts = 7
    welcome.save()
    assert [row.attempts for row in WelcomeEmail.objects.all()] == [7]


def test_the_database_refuses_as_ever(members):
    insert_rows([WelcomeEmail(member=members[0])])
    with pytest.raises(IntegrityError), transaction.atomic():
        insert_rows([WelcomeEmail(member=members[0])])
