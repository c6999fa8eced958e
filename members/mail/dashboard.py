"""The dashboard's block about welcome e-mails: is mail going out, and if not, why."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.humanize.templatetags.humanize import naturaltime
from django.db.models import CharField, Count, Value
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from project.admin.display import age, bounded, moment
from project.admin.phrases import grouped
from project.base.broker import queue_length
from project.base.cache import remembered

from .admin import OLDEST_FIRST
from .filters import retrying, sent_since
from .models import Dispatch, WelcomeEmail

State = WelcomeEmail.State

MAX_SILENCE = timedelta(minutes=2)  # of beat or the workers, before it is an alarm
MAX_WAIT = timedelta(minutes=5)  # for a mail that waits and has not been tried
CHART_DAYS = 30


@dataclass
class Number:
    title: str
    value: str
    note: str = ""
    url: str = ""
    colour: str = ""


@dataclass
class Day:
    date: date
    sent: int = 0
    failed: int = 0


def overview(request: HttpRequest) -> dict[str, Any] | None:
    """A handful of queries by indexes; None for an account that may not see welcome e-mails."""
    if not request.user.has_perm("members.view_welcomeemail"):
        return None
    dispatch = Dispatch.objects.current()
    waiting = WelcomeEmail.objects.filter(state=State.QUEUED)
    oldest = waiting.order_by("queued_at").values_list("queued_at", flat=True).first()
    days = remembered("sending:days", 60, _days)
    if not any(day.sent or day.failed for day in days):
        days = _days()  # quick then, and the first mail shows at once
    highest = max(day.sent + day.failed for day in days)
    return {
        "dispatch": dispatch,
        "may_switch": request.user.has_perm("members.change_dispatch"),
        "numbers": _numbers(dispatch, oldest),
        "alarms": _alarms(dispatch, oldest),
        "days": days,
        "highest": highest,
        "sent": sum(day.sent for day in days),
        "failed": sum(day.failed for day in days),
    }


def _numbers(dispatch: Dispatch, oldest: datetime | None) -> list[Number]:
    page = reverse("admin:members_welcomeemail_changelist")
    mails = WelcomeEmail.objects.all()
    now = timezone.now()
    queued, failed, held = (
        bounded(mails.filter(state=state)) for state in (State.QUEUED, State.FAILED, State.HELD)
    )
    again = bounded(retrying(mails))
    sent = bounded(sent_since(mails, now - timedelta(days=1)))
    oldest_page = f"{page}?state=queued&o={OLDEST_FIRST}"
    length = remembered("sending:queue", 5, queue_length)
    queue = _("unknown") if length is None else grouped(length)
    late = "warning" if oldest and now - oldest > MAX_WAIT else ""
    waits = (
        (age(oldest), moment(oldest), oldest_page) if oldest else ("–", _("nothing waiting"), "")
    )
    warn_again = "warning" if again != "0" else ""
    warn_failed = "danger" if failed != "0" else ""
    return [
        Number(_("Waiting"), queued, _("for their turn or a free worker"), f"{page}?state=queued"),
        Number(_("Oldest waiting"), *waits, late),
        Number(
            _("Trying again"),
            again,
            _("at least one attempt failed"),
            f"{page}?state=retrying",
            warn_again,
        ),
        Number(_("Failed"), failed, _("see why, send again"), f"{page}?state=failed", warn_failed),
        Number(_("On hold"), held, _("until somebody releases them"), f"{page}?state=held"),
        Number(
            _("Sent in 24 hours"), sent, _("handed to the mail server"), f"{page}?state=sent&sent=1"
        ),
        _seen(_("Last success"), dispatch.success_at),
        _seen(_("Worker last seen"), dispatch.worker_at, _is_silent(dispatch.worker_at, oldest)),
        _seen(_("Scheduler last seen"), dispatch.beat_at, _is_silent(dispatch.beat_at, oldest)),
        Number(
            _("Queue"),
            queue,
            _("messages for the workers"),
            colour="warning" if length is None else "",
        ),
    ]


def _seen(title: str, at: datetime | None, silent: bool = False) -> Number:
    colour = "danger" if silent else ""
    if at is None:
        return Number(title, _("never"), colour=colour)
    return Number(title, naturaltime(at), moment(at), colour=colour)


def _is_silent(at: datetime | None, oldest: datetime | None) -> bool:
    """What has never been seen may be about to start, unless a mail waits for it already."""
    since = at or oldest
    return since is not None and timezone.now() - since > MAX_SILENCE


def _alarms(dispatch: Dispatch, oldest: datetime | None) -> list[str]:
    found = []
    words = {"time": moment(dispatch.paused_at), "reason": dispatch.reason}
    if dispatch.paused_at and dispatch.pause_code != Dispatch.OPERATOR:
        found.append(_("Sending stopped: the mail settings are wrong. %(reason)s") % words)
        if dispatch.resume_at:
            again = moment(dispatch.resume_at)
            found[-1] += " " + _("Next try at %(time)s.") % {"time": again}
    elif dispatch.paused_at:
        found.append(_("Sending has been paused since %(time)s: %(reason)s") % words)
    if _is_silent(dispatch.beat_at, oldest):
        found.append(
            _(
                "The scheduler (beat) isn’t responding, so nothing is retried. Is the beat process running?"
            )
        )
    if _is_silent(dispatch.worker_at, oldest):
        found.append(
            _("No worker is responding, so nothing is sent. Is the worker process running?")
        )
    return found


def _days() -> list[Day]:
    """By ranges of the indexes (state, sent_at) and (state, claimed_at), all in one query.

    No truncation of times to days, which MySQL cannot do without its tables of time zones.
    """
    today = timezone.localdate()
    dates = [today - timedelta(days=back) for back in range(CHART_DAYS - 1, -1, -1)]
    days = {day.isoformat(): Day(day) for day in dates}
    parts = []
    for day in dates:
        start, end = _midnight(day), _midnight(day + timedelta(days=1))
        for state, column in ((State.SENT, "sent_at"), (State.FAILED, "claimed_at")):
            rows = WelcomeEmail.objects.order_by().filter(
                **{"state": state, f"{column}__gte": start, f"{column}__lt": end}
            )
            # Grouped by the state, so that a day without any gives no row.
            label = Value(day.isoformat(), output_field=CharField())
            parts.append(rows.values("state").annotate(number=Count("pk"), day=label))
    first, *others = parts
    for row in first.union(*others, all=True):
        setattr(days[row["day"]], row["state"], row["number"])
    return list(days.values())


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime(day.year, day.month, day.day))
