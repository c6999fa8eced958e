"""What happened to one welcome e-mail: its attempts, and what operators did."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils.dateparse import parse_datetime
from django_celery_results.models import TaskResult

from .models import WelcomeEmail
from .reasons import in_words

MAX_ENTRIES = 50  # of operators, on one page


@dataclass
class Event:
    """One line of a mail's timeline: an attempt, or what an operator did."""

    at: datetime
    state: str = ""
    text: str = ""
    number: int = 0
    seconds: float | None = None
    task_id: str = ""
    result: TaskResult | None = None
    by: str = ""


def timeline(welcome: WelcomeEmail) -> list[Event]:
    """All of it, the latest first; at any size of the tables two look-ups by an index."""
    return sorted(
        [*_attempts(welcome), *_interventions(welcome)], key=lambda event: event.at, reverse=True
    )


def _attempts(welcome: WelcomeEmail) -> list[Event]:
    tasks = [attempt["task"] for attempt in welcome.journal if attempt["task"]]
    results = {
        result.task_id: result
        for result in TaskResult.objects.only("pk", "task_id", "status").filter(task_id__in=tasks)
    }
    return [
        Event(
            at=_time(attempt["started"]),
            state=attempt["state"],
            text=in_words(attempt["reason"]),
            number=number,
            seconds=(_time(attempt["ended"]) - _time(attempt["started"])).total_seconds(),
            task_id=attempt["task"] or "",
            result=results.get(attempt["task"]),
        )
        for number, attempt in enumerate(welcome.journal, 1)
    ]


def _interventions(welcome: WelcomeEmail) -> list[Event]:
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(welcome), object_id=str(welcome.pk)
    )
    return [
        Event(at=entry.action_time, text=entry.get_change_message(), by=entry.user.get_username())
        for entry in entries.select_related("user").order_by("-action_time")[:MAX_ENTRIES]
    ]


def _time(value: Any) -> datetime:
    moment = parse_datetime(value)
    assert moment is not None
    return moment
