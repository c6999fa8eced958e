"""Members of a file beside those that are registered."""

from collections import Counter
from collections.abc import Sequence

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from members.models import Member
from members.registration import register_members
from project.base.files.rows import Problem
from project.imports.records import (
    Column,
    Comparison,
    Entry,
    Records,
    RefusedError,
    refuse_invalid,
)

COLUMNS = (
    Column(
        "username",
        (
            *("username", "user name", "login", "login name", "user", "account"),
            *("имя пользователя", "логин", "пользователь", "учётная запись", "учетная запись"),
            *("benutzername", "benutzer", "nutzername", "anmeldename", "benutzerkennung"),
        ),
        gettext_noop("No column looks like the username."),
    ),
    Column(
        "email",
        (
            *("e mail", "email", "e mail address", "email address", "mail"),
            *("эл. почта", "эл почта", "электронная почта", "почта", "адрес электронной почты"),
            *("адрес эл. почты", "e mail адрес", "email адрес", "имейл"),
            *("e mail adresse", "email adresse", "mailadresse", "e mailadresse"),
        ),
        gettext_noop("No column looks like the e-mail address."),
    ),
)
SPACES = {
    "username": gettext_noop("username: spaces at the ends removed"),
    "email": gettext_noop("e-mail address: spaces at the ends removed"),
}
REPEATED_USERNAME = gettext_noop("row %(row)d has the same username but another e-mail address")
REPEATED_EMAIL = gettext_noop("row %(row)d has the same e-mail address but another username")
TAKEN = gettext_noop("the member “%(username)s” has this e-mail address")


class Members(Records[Member]):
    """Known by their username. Both columns are compared without case, as everywhere."""

    model = Member
    columns = COLUMNS
    compared = ("email",)

    def __init__(self, sends_welcome: bool = False) -> None:
        self.sends_welcome = sends_welcome

    def record_of(self, entry: Entry, repairs: Counter[str]) -> Member:
        if entry.problem:
            raise RefusedError(str(entry.problem))
        given = {name: entry.texts[name][0] for name in self.fields}
        texts = {name: text.strip() for name, text in given.items()}
        missing = {"username": _("no username"), "email": _("no e-mail address")}
        reasons = [missing[name] for name in self.fields if not texts[name]]
        member = Member(**texts)
        refuse_invalid(member, reasons, filter(texts.get, self.fields))
        repairs.update(SPACES[name] for name in self.fields if texts[name] != given[name])
        return member

    def keys(self, record: Member) -> dict[str, str]:
        username, email = self.identity(record)
        return {f"username {username}": REPEATED_USERNAME, f"email {email}": REPEATED_EMAIL}

    def identity(self, record: Member) -> list[str]:
        return [record.username.lower(), record.email.lower()]

    def compare(self, records: Sequence[Member], lock: bool = False) -> Comparison[Member]:
        """The changed get the key and the spelling of the registered member."""
        by_username = self._registered("username", records, lock)
        by_email = self._registered("email", records, lock)
        found = Comparison[Member]()
        for member in records:
            registered = by_username.get(member.username.lower())
            owner = by_email.get(member.email.lower())
            if owner is not None and owner != registered:
                found.refused.append((member, Problem(TAKEN, {"username": owner.username})))
            elif registered is None:
                found.new.append(member)
            elif owner is not None:
                found.same.append(member)
            else:
                member.pk, member.username = registered.pk, registered.username
                found.changed.append((member, [registered.email]))
        return found

    def _registered(self, name: str, members: Sequence[Member], lock: bool) -> dict[str, Member]:
        rows = Member.objects.filter(**{f"{name}__in": [getattr(each, name) for each in members]})
        rows = rows.order_by("pk").select_for_update() if lock else rows
        return {getattr(row, name).lower(): row for row in rows}

    def write(self, found: Comparison[Member]) -> None:
        register_members(found.new, sends_welcome=self.sends_welcome)
        Member.objects.bulk_update([member for member, old in found.changed], ["email"])
