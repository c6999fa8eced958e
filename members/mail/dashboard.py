"""The dashboard's block about welcome e-mails: is mail going out, and if not, why."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.humanize.templatetags.humanize import naturaltime
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from project.admin.charts import Bar, BarChart, count_by_day, days_to
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


def overview(request: HttpRequest) -> dict[str, Any] | None:
    """A handful of queries by indexes; None for an account that may not see welcome e-mails."""
    if not request.user.has_perm("members.view_welcomeemail"):
        return None
    dispatch = Dispatch.objects.current()
    waiting = WelcomeEmail.objects.filter(state=State.QUEUED)
    oldest = waiting.order_by("queued_at").values_list("queued_at", flat=True).first()
    # Counted anew where it is empty: that is quick, and the first mail shows at once.
    chart = remembered(f"sending:chart:{get_language()}", 60, _chart) or _chart()
    return {
        "dispatch": dispatch,
        "may_switch": request.user.has_perm("members.change_dispatch"),
        "numbers": _numbers(dispatch, oldest),
        "alarms": _alarms(dispatch, oldest),
        "chart": chart,
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
        Number(_("Failed"), failed, _("see why, send again"), f"{page}?state=failed", warn_failed),
        Number(
            _("Trying again"),
            again,
            _("at least one attempt failed"),
            f"{page}?state=retrying",
            warn_again,
        ),
        Number(_("Waiting"), queued, _("for their turn or a free worker"), f"{page}?state=queued"),
        Number(_("Oldest waiting"), *waits, late),
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


def _chart() -> BarChart:
    """By ranges of the indexes (state, sent_at) and (state, claimed_at)."""
    days = days_to(timezone.localdate(), CHART_DAYS)
    mails = WelcomeEmail.objects.all()
    sent = count_by_day(mails.filter(state=State.SENT), "sent_at", days)
    failed = count_by_day(mails.filter(state=State.FAILED), "claimed_at", days)
    bars = [
        Bar(
            date_format(day),
            [sent[day], failed[day]],
            "" if number % 7 else date_format(day, "j M"),
        )
        for number, day in enumerate(reversed(sent))
    ]
    return BarChart(
        _("E-mails of the last 30 days"), _("Day"), [_("sent"), _("failed")], bars[::-1]
    )
