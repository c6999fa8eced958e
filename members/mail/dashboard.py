"""The dashboard's block about welcome e-mails: is mail going out, and if not, why."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.humanize.templatetags.humanize import naturaltime
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse_lazy
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from project.admin.charts import Bar, BarChart, count_by_day, days_to
from project.admin.display import age, bounded, moment
from project.admin.phrases import grouped
from project.base.broker import queue_length
from project.base.cache import remembered

from .admin import WelcomeEmailAdmin
from .filters import retrying
from .models import Dispatch, State, WelcomeEmail

LIST = reverse_lazy("admin:members_welcomeemail_changelist")

MAX_SILENCE = timedelta(minutes=2)  # of beat or the workers, before it is an alarm
MAX_WAIT = timedelta(minutes=5)  # for a mail that waits and has not been tried
CHART_DAYS = 30


@dataclass
class Number:
    title: str
    value: str
    note: str
    colour: str = ""
    url: str = ""


def overview(request: HttpRequest) -> dict[str, Any] | None:
    """A handful of queries by indexes; None for an account that may not see welcome e-mails."""
    if not request.user.has_perm("members.view_welcomeemail"):
        return None
    dispatch = Dispatch.objects.current()
    waiting = WelcomeEmail.objects.filter(state=State.QUEUED)
    oldest = waiting.order_by("queued_at").values_list("queued_at", flat=True).first()
    # What was never seen may be about to start.
    seen = {"beat": dispatch.beat_at or oldest, "worker": dispatch.worker_at or oldest}
    silent = {part: bool(at and timezone.now() - at > MAX_SILENCE) for part, at in seen.items()}
    return {
        "dispatch": dispatch,
        "may_switch": request.user.has_perm("members.change_dispatch"),
        "numbers": [
            *_counts(oldest),
            _seen(_("Last success"), dispatch.success_at),
            _seen(_("Worker last seen"), dispatch.worker_at, silent["worker"]),
            _seen(_("Scheduler last seen"), dispatch.beat_at, silent["beat"]),
            _queue(),
        ],
        "alarms": list(_alarms(dispatch, silent)),
        # Drawn anew where it is empty: that is quick, and the first mail shows at once.
        "chart": remembered(f"sending:chart-html:{get_language()}", 60, lambda: _chart().html())
        or _chart().html(),
    }


def _counts(oldest: datetime | None) -> list[Number]:
    mails = WelcomeEmail.objects.all()
    queued, held, failed, sent = (
        mails.filter(state=state) for state in (State.QUEUED, State.HELD, State.FAILED, State.SENT)
    )
    today = sent.filter(sent_at__gte=timezone.now() - timedelta(days=1))
    return [
        _count(failed, _("Failed"), _("see why, send again"), "state=failed", "danger"),
        _count(
            retrying(mails),
            *(_("Trying again"), _("at least one attempt failed"), "state=retrying", "warning"),
        ),
        _count(queued, _("Waiting"), _("for their turn or a free worker"), "state=queued"),
        _oldest(oldest),
        _count(held, _("On hold"), _("until somebody releases them"), "state=held"),
        _count(today, _("Sent in 24 hours"), _("handed to the mail server"), "state=sent&sent=1"),
    ]


def _count(
    mails: QuerySet[WelcomeEmail], title: str, note: str, query: str, colour: str = ""
) -> Number:
    """A number that links to its list, coloured unless it is zero."""
    number = bounded(mails)
    return Number(title, number, note, colour if number != "0" else "", f"{LIST}?{query}")


def _oldest(queued_at: datetime | None) -> Number:
    title = _("Oldest waiting")
    if queued_at is None:
        return Number(title, "–", _("nothing waiting"))
    colour = "warning" if timezone.now() - queued_at > MAX_WAIT else ""
    page = f"{LIST}?state=queued&o={WelcomeEmailAdmin.OLDEST_FIRST}"
    return Number(title, age(queued_at), moment(queued_at), colour, page)


def _seen(title: str, at: datetime | None, silent: bool = False) -> Number:
    colour = "danger" if silent else ""
    return Number(title, naturaltime(at) if at else _("never"), moment(at) if at else "", colour)


def _queue() -> Number:
    length = remembered("sending:queue", 5, queue_length)
    value, colour = (_("unknown"), "warning") if length is None else (grouped(length), "")
    return Number(_("Queue"), value, _("messages for the workers"), colour)


def _alarms(dispatch: Dispatch, silent: dict[str, bool]) -> Iterator[str]:
    words = {"time": moment(dispatch.paused_at), "reason": dispatch.reason}
    if dispatch.resume_at:  # of a fault's pause
        stopped = _("Sending stopped: the mail settings are wrong. %(reason)s") % words
        again = _("Next try at %(time)s.") % {"time": moment(dispatch.resume_at)}
        yield f"{stopped} {again}"
    elif dispatch.paused_at:
        yield _("Sending has been paused since %(time)s: %(reason)s") % words
    if silent["beat"]:
        yield _(
            "The scheduler (beat) isn’t responding, so nothing is retried. Is the beat process running?"
        )
    if silent["worker"]:
        yield _("No worker is responding, so nothing is sent. Is the worker process running?")


def _chart() -> BarChart:
    """By ranges of the indexes (state, sent_at) and (state, claimed_at)."""
    days = days_to(timezone.localdate(), CHART_DAYS)
    mails = WelcomeEmail.objects.all()
    sent = count_by_day(mails.filter(state=State.SENT), "sent_at", days)
    failed = count_by_day(mails.filter(state=State.FAILED), "claimed_at", days)
    bars = [
        Bar(date_format(day), [sent[day], failed[day]], "" if back % 7 else date_format(day, "j M"))
        for back, day in zip(range(CHART_DAYS - 1, -1, -1), sent, strict=True)
    ]
    title, series = _("E-mails of the last 30 days"), [_("sent"), _("failed")]
    return BarChart(title, _("Day"), series, bars)
