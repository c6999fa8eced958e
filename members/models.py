from typing import Any

from django.core.validators import MinLengthValidator, RegexValidator
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Length
from django.db.models.lookups import GreaterThanOrEqual
from django.utils.translation import gettext_lazy as _

from project.base.fields import CaseInsensitiveCharField, CaseInsensitiveEmailField
from project.base.history import History
from project.base.versioned import VersionedModel, VersionedQuerySet

from .erasing import erase_traces
from .files.models import MemberImport, MemberImportPage
from .mail.models import Dispatch, WelcomeEmail, new_message_id

__all__ = [
    "Dispatch",
    "Member",
    "MemberImport",
    "MemberImportPage",
    "WelcomeEmail",
    "new_message_id",
]


class MemberQuerySet(VersionedQuerySet["Member"]):
    def beginning_with(self, text: str, limit: int) -> list[Any]:
        """Whose username or address begins so; each by its index, which one OR would not use."""
        found: dict[Any, None] = {}
        for column in ("username", "email"):
            if len(found) < limit:
                rows = self.filter(**{f"{column}__istartswith": text}).order_by(column)
                found |= dict.fromkeys(rows[:limit])
        return list(found)

    @transaction.atomic
    def delete(self) -> tuple[int, dict[str, int]]:
        """Erase them: the rows with all that belongs to them, and their names in history and imports."""
        ids = list(self.values_list("pk", flat=True))
        deleted = super().delete()
        # Afterwards: who was editing one of them has by now written his entry.
        erase_traces(self.model, ids)
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class Member(VersionedModel):
    """A reader of the library: a record, not a login, so it has no password."""

    username = CaseInsensitiveCharField(
        _("username"),
        max_length=150,
        unique=True,
        validators=[
            MinLengthValidator(3),
            # A name that is an address or a link would turn the welcome e-mail into spam.
            RegexValidator(
                r"\A[A-Za-z0-9_.-]+\Z", _("Use the letters A to Z, digits and _ . - only.")
            ),
        ],
        help_text=_("3 to 150 of the letters A to Z, digits and _ . -"),
        error_messages={"unique": _("A member with this username is registered already.")},
    )
    email = CaseInsensitiveEmailField(
        _("e-mail address"),
        unique=True,
        error_messages={"unique": _("A member with this e-mail address is registered already.")},
    )
    registered_at = models.DateTimeField(_("registered"), auto_now_add=True, db_index=True)

    key_field = "username"
    objects = MemberQuerySet.as_manager()
    history = History(
        verbose_name=_("change to a member"),
        verbose_name_plural=_("changes to members"),
        no_db_index=["username", "email", "registered_at"],
    )

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        ordering = ["username", "pk"]
        # For programs that keep in step, by updated_since.
        indexes = [models.Index(fields=["updated_at"], name="members_member_updated")]
        constraints = [
            models.CheckConstraint(
                name="members_member_username_length",
                condition=GreaterThanOrEqual(Length("username"), 3),
                violation_error_message=_("A username has 3 to 150 characters."),
            ),
            models.CheckConstraint(
                name="members_member_email_not_empty",
                condition=~Q(email=""),
                violation_error_message=_("A member has an e-mail address."),
            ),
        ]

    def __str__(self) -> str:
        return self.username or _("Erased member #%s") % self.pk

    @transaction.atomic
    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Erase it, as the query set does."""
        pk = self.pk
        deleted = super().delete(*args, **kwargs)
        erase_traces(type(self), [pk])
        return deleted
