import uuid
from datetime import datetime, timedelta
from email.utils import parseaddr
from functools import partial
from itertools import takewhile
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Exists, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from project.base.database import Change, persistently, update_rows
from project.base.results import mark_lost

from .reasons import ConfigurationError, in_words


class DispatchQuerySet(models.QuerySet["Dispatch"]):
    SUCCESS_INTERVAL = timedelta(seconds=5)

    def current(self) -> "Dispatch":
        return self.get_or_create(pk=1)[0]

    def pausing(self) -> "DispatchQuerySet":
        """The row, while nothing may be sent."""
        over = Q(paused_at=None) | Q(resume_at__lte=timezone.now())
        return self.filter(pk=1).exclude(over)

    def pause(self, reason: str, code: str, lasts: timedelta | None = None) -> None:
        """Send nothing for so long (a fault), or until somebody resumes (OPERATOR).

        A fault does not end an operator's pause.
        """
        self.current()
        row = self.filter(pk=1)
        if code != Dispatch.OPERATOR:
            row = row.exclude(pause_code=Dispatch.OPERATOR)
        now = timezone.now()
        times = {"paused_at": now, "resume_at": now + lasts if lasts else None}
        row.update(pause_reason=reason[:500], pause_code=code, **times)

    def resume(self) -> None:
        self.filter(pk=1).update(paused_at=None, resume_at=None, pause_reason="", pause_code="")

    def heartbeat(self, *parts: str) -> None:
        """`parts` ("beat", "worker", "sweep", "success") are alive."""
        now = dict.fromkeys((f"{part}_at" for part in parts), timezone.now())
        self.update_or_create(pk=1, defaults=now)

    def came_through(self) -> None:
        """A mail was sent: a fault's pause that has run out is no alarm any more.

        Noted once in SUCCESS_INTERVAL, or all processes would wait for each other at this row.
        """
        now = timezone.now()
        row = self.filter(pk=1).exclude(success_at__gt=now - self.SUCCESS_INTERVAL)
        row.update(worker_at=now, success_at=now)
        self.filter(resume_at__lte=now).resume()


class Dispatch(models.Model):
    """Whether welcome e-mails go out now, and when each part was last seen: one row.

    A pause of an operator lasts until somebody resumes; one that a fault of our settings caused
    ends by itself at resume_at, so that the next mails show whether the fault is cured.
    """

    OPERATOR = "operator"

    paused_at = models.DateTimeField(_("paused"), null=True)
    resume_at = models.DateTimeField(_("resumes"), null=True)
    pause_reason = models.CharField(_("reason"), max_length=500, blank=True)
    pause_code = models.CharField(_("code"), max_length=40, blank=True)
    beat_at = models.DateTimeField(_("clock seen"), null=True)
    worker_at = models.DateTimeField(_("worker seen"), null=True)
    sweep_at = models.DateTimeField(_("last sweep"), null=True)
    success_at = models.DateTimeField(_("last success"), null=True)

    objects = DispatchQuerySet.as_manager()

    class Meta:
        verbose_name = verbose_name_plural = _("dispatch")

    def __str__(self) -> str:
        return str(self._meta.verbose_name)

    @property
    def reason(self) -> str:
        """Why nothing is sent: as an operator wrote it, or a fault in the reader's language."""
        own = self.pause_code == self.OPERATOR
        return self.pause_reason if own else in_words(self.pause_reason)


def new_message_id() -> str:
    """A Message-ID (RFC 5322, 3.6.4) under the sender's domain."""
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return f"<welcome.{uuid.uuid4().hex}@{domain}>"


class State(models.TextChoices):
    QUEUED = "queued", _("waiting")
    SENDING = "sending", _("being sent")
    SENT = "sent", _("sent")
    FAILED = "failed", _("failed")
    HELD = "held", _("on hold")
    CANCELLED = "cancelled", _("cancelled")


class WelcomeEmailQuerySet(models.QuerySet["WelcomeEmail"]):
    # Longer than any attempt lasts: CELERY_TASK_SOFT_TIME_LIMIT ends one after two minutes.
    CLAIM_TIMEOUT = timedelta(minutes=5)
    # A message that no worker has taken by then counts as lost. A sweep that waited a minute
    # behind a backlog is dropped (CELERY_BEAT_SCHEDULE), so older messages are not waiting.
    ENQUEUE_TIMEOUT = timedelta(minutes=2)

    def due(self, at: datetime) -> "WelcomeEmailQuerySet":
        """What may be sent at that time: nothing while sending is paused."""
        is_paused = Exists(Dispatch.objects.pausing())
        return self.filter(~is_paused, state=State.QUEUED, next_attempt_at__lte=at)

    def free_stuck(self) -> int:
        """End the attempts of workers that died, which are one for each process."""
        limit = timezone.now() - self.CLAIM_TIMEOUT
        stuck = self.filter(state=State.SENDING, claimed_at__lte=limit).order_by("claimed_at")
        for welcome in stuck:
            welcome.retry(gettext_noop("The worker died while it was sending."), "worker-lost")
        mark_lost(limit, task_id__in=[welcome.task_id for welcome in stuck])
        return len(stuck)

    def take_due(self, limit: int) -> list[int]:
        """Ids of due rows of which no message is on its way, marked as enqueued."""
        now = timezone.now()
        is_lost = Q(enqueued_at=None) | Q(enqueued_at__lte=now - self.ENQUEUE_TIMEOUT)
        due = self.due(now).filter(is_lost).order_by("next_attempt_at")
        ids = list(due.values_list("pk", flat=True)[:limit])
        self.filter(pk__in=ids).update(enqueued_at=now)
        return ids


class WelcomeEmail(models.Model):
    """The outbox and the journal of the one e-mail that a member is owed.

    The row is the truth; a message in the broker only asks to look at it.
    """

    State = State
    # 10 s, 30 s, 1, 5, 15 minutes, then hourly: 24 hours in all. By count and not by the clock,
    # for a mail that waited out a weekend in the queue is as young as any.
    RETRY_WAITS = [timedelta(seconds=s) for s in (10, 30, 60, 300, 900, *[3600] * 23)]
    MAX_JOURNAL = 60  # attempts: two whole timetables
    RECORD_RETRY_SECONDS = 1800  # a mail that went out and is not recorded would go out again

    member = models.OneToOneField(
        "members.Member", models.CASCADE, related_name="welcome_email", verbose_name=_("member")
    )
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.QUEUED)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    queued_at = models.DateTimeField(_("queued"), default=timezone.now)
    next_attempt_at = models.DateTimeField(_("next attempt"), default=timezone.now)
    enqueued_at = models.DateTimeField(_("handed to the queue"), null=True, default=timezone.now)
    claimed_at = models.DateTimeField(_("last attempt"), null=True)
    sent_at = models.DateTimeField(_("sent"), null=True)
    last_error = models.CharField(_("last error"), max_length=500, blank=True)
    last_error_code = models.CharField(_("error code"), max_length=40, blank=True)
    # Of the latest attempt.
    task_id = models.CharField(_("task"), max_length=255, null=True, db_index=True)  # noqa: DJ001
    message_id = models.CharField(_("Message-ID"), max_length=255, default=new_message_id)
    # Here and not in a table of its own: an attempt costs no second write, the page of a mail no
    # search among all task results, and erasing a member leaves nothing behind.
    journal = models.JSONField(_("attempts so far"), default=list, encoder=DjangoJSONEncoder)

    objects = WelcomeEmailQuerySet.as_manager()

    class Meta:
        verbose_name = _("welcome e-mail")
        verbose_name_plural = _("welcome e-mails")
        ordering = ["-pk"]
        indexes = [
            # What the sweeper asks every 30 seconds, answered by the index alone.
            models.Index(
                fields=["state", "next_attempt_at", "enqueued_at"], name="members_welcome_waiting"
            ),
            models.Index(fields=["state", "claimed_at"], name="members_welcome_claimed"),
            # The lists of the admin and the numbers of its dashboard.
            models.Index(fields=["queued_at"], name="members_welcome_queued"),
            models.Index(fields=["state", "queued_at"], name="members_welcome_age"),
            models.Index(fields=["state", "sent_at"], name="members_welcome_sent"),
            models.Index(fields=["state", "last_error_code"], name="members_welcome_reason"),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    @property
    def reason(self) -> str:
        """Why the last attempt failed, in the reader's language."""
        return in_words(self.last_error)

    def fails_alone(self, code: str, success_at: datetime | None) -> bool:
        """Whether another mail came through after the pause that this one first caused."""
        faults = takewhile(lambda attempt: attempt["code"] == code, reversed(self.journal))
        ended = [datetime.fromisoformat(attempt["ended"]) for attempt in faults]
        return bool(ended and success_at and success_at >= ended[-1] + ConfigurationError.pause)

    # An attempt, from its claim to one of its ends. Each end writes the row at once, unless
    # another attempt owns it by now.

    def claim(self, task_id: str | None, last: "WelcomeEmail | None" = None) -> bool:
        """Begin one; of several workers that have read this row exactly one does.

        The same statement records that `last` was sent, for each costs a flush to disk.
        """
        now = timezone.now()
        read = {"state": State.QUEUED, "attempts": self.attempts, "claimed_at": self.claimed_at}
        claim = {"attempts": self.attempts + 1, "claimed_at": now, "task_id": task_id}
        changes = [last._ended(State.SENT, sent_at=now)] if last else []
        changes.append((self.pk, read, claim | {"state": State.SENDING}))
        count = persistently(partial(update_rows, WelcomeEmail, *changes))
        mine = WelcomeEmail.objects.filter(pk=self.pk, **claim)
        # Where one is missing, `last` may be gone, or the answer to a first try was lost.
        if count < len(changes) and not persistently(mine.exists):
            return False
        self.attempts, self.claimed_at, self.task_id = self.attempts + 1, now, task_id
        return True

    def sent(self) -> bool:
        return self._end(State.SENT, sent_at=timezone.now())

    def fail(self, reason: str, code: str) -> bool:
        return self._end(State.FAILED, reason, code)

    def retry(self, reason: str, code: str) -> datetime | None:
        """Wait for the next place in the timetable; None where there is none and it has failed."""
        if self.attempts > len(self.RETRY_WAITS):
            self.fail(reason, code)
            return None
        at = timezone.now() + self.RETRY_WAITS[self.attempts - 1]
        self._end(State.QUEUED, reason, code, next_attempt_at=at, enqueued_at=None)
        return at

    def not_tried(self, reason: str, code: str) -> None:
        """The fault was ours, not the mail's: no attempt is counted.

        It is due at once, behind all others that are: if it alone is refused, they still go out.
        """
        columns = {"next_attempt_at": timezone.now(), "enqueued_at": None}
        self._end(State.QUEUED, reason, code, attempts=self.attempts - 1, **columns)

    def _end(self, *how: str, **columns: Any) -> bool:
        record = partial(update_rows, WelcomeEmail, self._ended(*how, **columns))
        return bool(persistently(record, self.RECORD_RETRY_SECONDS))

    def _ended(self, state: str, reason: str = "", code: str = "", **columns: Any) -> Change:
        reason = reason[:500]
        times = {"started": self.claimed_at, "ended": timezone.now()}
        attempt = {"task": self.task_id, **times, "state": state, "reason": reason, "code": code}
        columns |= {"state": state, "last_error": reason, "last_error_code": code}
        columns["journal"] = [*self.journal, attempt][-self.MAX_JOURNAL :]
        mine: dict[str, Any] = {"task_id": self.task_id, "claimed_at": self.claimed_at}
        if state != State.SENT:  # what the mail server took is sent in any case
            mine["state"] = State.SENDING
        return self.pk, mine, columns
