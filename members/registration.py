"""Registering a member: API, admin and imports all call it."""

from collections.abc import Sequence

from django.db import transaction

from project.base.database import insert_rows

from .mail.reasons import KNOWN_ALREADY
from .mail.tasks import enqueue
from .models import Member, WelcomeEmail


@transaction.atomic(savepoint=False)
def register_member(member: Member) -> Member:
    """Save a new member together with its welcome e-mail.

    Raises IntegrityError if the username or the address is taken.
    """
    member.save(force_insert=True)
    welcome = WelcomeEmail(member=member)
    insert_rows([welcome])
    transaction.on_commit(lambda: enqueue(welcome.pk), robust=True)
    return member


@transaction.atomic(savepoint=False)
def register_members(members: Sequence[Member], sends_welcome: bool) -> None:
    """Save new members, each with its welcome e-mail.

    The sweeper sends them; those of members who are known already are cancelled, and may be sent
    again like any other.
    """
    state = {} if sends_welcome else {"state": WelcomeEmail.State.CANCELLED, **KNOWN_ALREADY}
    WelcomeEmail.objects.bulk_create(
        WelcomeEmail(member=member, enqueued_at=None, **state)
        for member in Member.objects.bulk_create(members)
    )
