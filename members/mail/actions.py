"""What operators may do with welcome e-mails, and the page that asks them first."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from project.admin.base import BaseAdmin

from .models import State, WelcomeEmail
from .tasks import enqueue

MAX_MAILS_NAMED = 10  # on the page that asks


class Resend:
    """The permission to send e-mails again, hold, release and cancel them."""

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("members.change_welcomeemail")


WHY_NOT = {
    State.QUEUED: _("It is already waiting."),
    State.SENDING: _("It is being sent right now."),
    State.SENT: _("It has been sent."),
    State.FAILED: _("It failed. Send it again instead."),
    State.HELD: _("It is on hold. Release it instead."),
    State.CANCELLED: _("It is cancelled."),
}


@dataclass(frozen=True)
class Action:
    name: str
    states: list[State]  # in which it can be done
    becomes: State
    label: Any
    icon: str
    effect: Any  # what happens, for the page that asks
    done: Any
    entry: Any  # in the history
    starts_over: bool = False  # the retry schedule

    @property
    def sends(self) -> bool:
        return self.becomes == State.QUEUED

    def refusal(self, state: str) -> str:
        """Why it cannot be done in this state; empty where it can."""
        return "" if state in self.states else str(WHY_NOT[State(state)])

    @transaction.atomic
    def apply(self, welcomes: QuerySet[WelcomeEmail]) -> list[int]:
        """Do it where the state allows; the ids of exactly these, to enqueue if it sends.

        Locked in between: a worker either claims a row before this or no longer can.
        """
        chosen = list(welcomes.order_by().values_list("pk", flat=True))
        rows = WelcomeEmail.objects.select_for_update().filter(pk__in=chosen).order_by("pk")
        ids = list(rows.filter(state__in=self.states).values_list("pk", flat=True))
        columns: dict[str, Any] = {"state": self.becomes}
        if self.sends:
            columns["enqueued_at"] = timezone.now()
        if self.starts_over:
            columns |= {"attempts": 0, "last_error": "", "last_error_code": ""}
            columns |= dict.fromkeys(["queued_at", "next_attempt_at"], columns["enqueued_at"])
        WelcomeEmail.objects.filter(pk__in=ids).update(**columns)
        return ids


SEND_AGAIN = Action(
    "send_again",
    [State.QUEUED, State.SENT, State.FAILED, State.CANCELLED],
    State.QUEUED,
    _("Send again"),
    "fa-paper-plane",
    _("Sent immediately; retried like a new e-mail if that fails."),
    ngettext_lazy("%d e-mail queued again.", "%d e-mails queued again."),
    _("Sent again."),
    starts_over=True,
)
# The same from a failed task, which may be an old story: the mail may have been sent since.
RETRY = replace(SEND_AGAIN, states=[State.FAILED])
HOLD = Action(
    "hold",
    [State.QUEUED],
    State.HELD,
    _("Hold"),
    "fa-pause",
    _("Stays on hold until somebody releases it."),
    ngettext_lazy("%d e-mail is on hold.", "%d e-mails are on hold."),
    _("Put on hold."),
)
RELEASE = Action(
    "release",
    [State.HELD],
    State.QUEUED,
    _("Release"),
    "fa-play",
    _("Continues on its retry schedule; sent immediately if it is due."),
    ngettext_lazy("%d e-mail released.", "%d e-mails released."),
    _("Released."),
)
CANCEL = Action(
    "cancel",
    [State.QUEUED, State.HELD],
    State.CANCELLED,
    _("Cancel sending"),
    "fa-ban",
    _("Won’t be sent. You can still send it again later."),
    ngettext_lazy("%d e-mail cancelled.", "%d e-mails cancelled."),
    _("Cancelled."),
)
ACTIONS = {action.name: action for action in (SEND_AGAIN, HOLD, RELEASE, CANCEL)}


def ask_or_do(
    page: BaseAdmin,
    request: HttpRequest,
    action: Action,
    welcomes: QuerySet[WelcomeEmail],
    back: str = "",
    about: Model | None = None,  # the row from whose page it was asked for
) -> HttpResponse:
    """The page that says what would happen to how many; once that is confirmed, do it."""
    back = back or request.get_full_path()
    if request.method == "POST" and "confirmed" in request.POST:
        count = do(request, action, welcomes)
        level = messages.SUCCESS if count else messages.WARNING
        page.message_user(request, str(action.done % count), level)
        return HttpResponseRedirect(back)
    context = {"title": action.label, "action": action, "back": back, "original": about}
    return page.ask(request, "admin/members/confirm.html", **context, **prospect(action, welcomes))


def do(request: HttpRequest, action: Action, welcomes: QuerySet[WelcomeEmail]) -> int:
    with transaction.atomic():
        ids = action.apply(welcomes)
        note(request, WelcomeEmail.objects.only("pk").filter(pk__in=ids), action.entry)
    if action.sends:
        enqueue(*ids)
    return len(ids)


def note(request: HttpRequest, rows: Iterable[Model], text: Any) -> None:
    """An entry in the history of each row, which is translated for its reader."""
    account: Any = request.user  # signed in, or the admin would have asked
    with translation.override(None):
        LogEntry.objects.log_actions(account.pk, rows, CHANGE, str(text))


def prospect(action: Action, welcomes: QuerySet[WelcomeEmail]) -> dict[str, Any]:
    """To how many of these it would happen, and why not to the others."""
    ids = list(welcomes.order_by().values_list("pk", flat=True))
    chosen = WelcomeEmail.objects.filter(pk__in=ids)
    counts = dict(chosen.values_list("state").annotate(Count("pk")).order_by("state"))
    moved = {state: counts.pop(state) for state in action.states if state in counts}
    named = chosen.select_related("member").defer("journal").order_by("pk")
    return {
        "count": sum(moved.values()),
        "some": named.filter(state__in=action.states)[:MAX_MAILS_NAMED],
        "more": max(sum(moved.values()) - MAX_MAILS_NAMED, 0),
        "by_state": [(state.label, count) for state, count in moved.items()],
        "sent_already": moved.get(State.SENT, 0),
        "left_out": [
            {
                "state": State(state).label,
                "count": count,
                "why": action.refusal(state),
                "some": named.filter(state=state)[:MAX_MAILS_NAMED],
                "more": max(count - MAX_MAILS_NAMED, 0),
            }
            for state, count in counts.items()
        ],
    }
