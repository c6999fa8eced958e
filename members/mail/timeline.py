"""How one welcome e-mail stands, what happened to it, and what may be done with it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_celery_results.models import TaskResult

from project.admin.display import badge

from .actions import ACTIONS
from .models import Dispatch, WelcomeEmail
from .reasons import in_words

State = WelcomeEmail.State
COLOURS = {
    State.QUEUED: "info",
    State.SENDING: "info",
    State.SENT: "success",
    State.FAILED: "danger",
    State.HELD: "warning",
    State.CANCELLED: "secondary",
}
MAX_ENTRIES = 50  # of operators, on one page


@admin.display(description=gettext_lazy("state"), ordering="state")
def state_badge(welcome: WelcomeEmail | None) -> SafeString:
    if welcome is None:
        return badge(_("none"), "secondary")
    if welcome.state == State.QUEUED and welcome.attempts:
        return badge(_("trying again"), "warning")
    return badge(welcome.get_state_display(), COLOURS[State(welcome.state)])


def sending(welcome: WelcomeEmail) -> dict[str, Any]:
    """For the pages of a mail and of its member."""
    return {
        "welcome": welcome,
        "state": state_badge(welcome),
        "events": timeline(welcome),
        "pausing": Dispatch.objects.pausing().first() if welcome.state == State.QUEUED else None,
        "choices": [
            {
                "action": action,
                "why_not": action.refusal(welcome.state),
                "url": reverse(f"admin:members_welcomeemail_{action.name}", args=[welcome.pk]),
            }
            for action in ACTIONS.values()
        ],
    }


@dataclass
class Event:
    """One line of a mail's timeline: an attempt, or what an operator did."""

    at: datetime
    text: str
    by: str = ""
    number: int = 0
    badge: str = ""
    seconds: float = 0
    task_id: str = ""
    result: TaskResult | None = None


def timeline(welcome: WelcomeEmail) -> list[Event]:
    """All of it, the latest first; at any size of the tables two look-ups by an index."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(welcome), object_id=str(welcome.pk)
    )
    events = [
        Event(entry.action_time, entry.get_change_message(), entry.user.get_username())
        for entry in entries.select_related("user").order_by("-action_time")[:MAX_ENTRIES]
    ]
    tasks = [attempt["task"] for attempt in welcome.journal if attempt["task"]]
    results = TaskResult.objects.only("task_id").in_bulk(tasks, field_name="task_id")
    for number, attempt in enumerate(welcome.journal, 1):
        started, ended = (datetime.fromisoformat(attempt[name]) for name in ("started", "ended"))
        state, task = State(attempt["state"]), attempt["task"] or ""
        events.append(
            Event(
                at=started,
                text=in_words(attempt["reason"]),
                number=number,
                badge=badge(_("not sent"), "warning")
                if state == State.QUEUED
                else badge(str(state.label), COLOURS[state]),
                seconds=(ended - started).total_seconds(),
                task_id=task,
                result=results.get(task),
            )
        )
    return sorted(events, key=lambda event: event.at, reverse=True)
