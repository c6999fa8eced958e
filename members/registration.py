"""Registering a member: API, admin and imports all call it."""

from django.db import transaction

from .mail.tasks import enqueue
from .models import Member, WelcomeEmail


@transaction.atomic(savepoint=False)
def register_member(member: Member) -> Member:
    """Save a new member together with its welcome e-mail.

    Raises IntegrityError if the username or the address is taken.
    """
    member.save(force_insert=True)
    welcome = WelcomeEmail.objects.create(member=member)
    transaction.on_commit(lambda: enqueue(welcome.pk), robust=True)
    return member
