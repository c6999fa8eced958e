"""By what operators choose among welcome e-mails; each filter is answered by an index."""

from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from project.admin.filters import ChoiceFilter

from .models import State, WelcomeEmail


class StateFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    choices_of = dict([State.choices[0], ("retrying", _("trying again")), *State.choices[1:]])

    def chosen(self, welcomes: QuerySet[WelcomeEmail], value: str) -> QuerySet[WelcomeEmail]:
        return retrying(welcomes) if value == "retrying" else welcomes.filter(state=value)


def retrying(welcomes: QuerySet[WelcomeEmail]) -> QuerySet[WelcomeEmail]:
    """Those that wait because at least one attempt failed. By the error's code, which has an index."""
    return welcomes.filter(state=State.QUEUED, last_error_code__gt="")


class AgeFilter(ChoiceFilter):
    """How long ago it was queued."""

    title = _("age")
    parameter_name = "age"
    choices_of = {
        "under-1": _("last hour"),
        "under-24": _("last 24 hours"),
        "under-168": _("last 7 days"),
        "over-1": _("older than an hour"),
        "over-24": _("older than a day"),
        "over-168": _("older than a week"),
    }

    def chosen(self, welcomes: QuerySet[WelcomeEmail], value: str) -> QuerySet[WelcomeEmail]:
        side, hours = value.split("-")
        border = timezone.now() - timedelta(hours=int(hours))
        return welcomes.filter(**{"queued_at__gte" if side == "under" else "queued_at__lt": border})


class SentFilter(ChoiceFilter):
    title = _("sent")
    parameter_name = "sent"
    choices_of = {"1": _("last 24 hours"), "7": _("last 7 days"), "30": _("last 30 days")}

    def chosen(self, welcomes: QuerySet[WelcomeEmail], value: str) -> QuerySet[WelcomeEmail]:
        border = timezone.now() - timedelta(days=int(value))
        return welcomes.filter(state=State.SENT, sent_at__gte=border)


class ReasonFilter(ChoiceFilter):
    """Why the last attempt failed, by classes of codes: a short list that no table has to give."""

    title = _("reason")
    parameter_name = "reason"
    codes: ClassVar[dict[str, tuple[Any, str]]] = {
        "address": (_("address refused"), "501 550 551 553 556"),
        "full": (_("mailbox full"), "452 552"),
        "busy": (_("server asked us to wait"), "421 431 450 451"),
        "unreachable": (_("server not reached"), "disconnected timeout unreachable"),
        "settings": (
            _("our login or settings"),
            "530 534 535 538 connection not-supported policy sender settings tls",
        ),
        "ours": (_("our template or worker"), "rendering worker-lost"),
        "known": (_("imported as already known"), "known"),
    }
    choices_of = {name: text for name, (text, _codes) in codes.items()} | {"other": _("any other")}

    def chosen(self, welcomes: QuerySet[WelcomeEmail], value: str) -> QuerySet[WelcomeEmail]:
        # The states are named for the index, which begins with them; what is sent has no reason.
        welcomes = welcomes.filter(state__in=[state for state in State if state != State.SENT])
        if value in self.codes:
            return welcomes.filter(last_error_code__in=self.codes[value][1].split())
        known = " ".join(codes for _text, codes in self.codes.values()).split()
        return welcomes.filter(last_error_code__gt="").exclude(last_error_code__in=known)
