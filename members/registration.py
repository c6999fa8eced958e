"""The one door through which a member enters: API, admin and imports all call it."""

from django.db import transaction

from .mail.tasks import enqueue
from .models import Member, WelcomeEmail


@transaction.atomic(savepoint=False)
def register_member(member: Member) -> Member:
    """Save a new member together with the welcome e-mail that it is owed.

    Raises IntegrityError where the username or the address is taken.
    """
    member.save(force_insert=True)
    welcome = WelcomeEmail.objects.create(member=member)
    transaction.on_commit(lambda: enqueue(welcome.pk), robust=True)
    return member
