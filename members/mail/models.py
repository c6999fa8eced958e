import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from email.utils import parseaddr
from functools import partial
from itertools import takewhile
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import Exists, F, Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from project.base.database import persistently

from .reasons import ConfigurationError, in_words


class DispatchQuerySet(models.QuerySet["Dispatch"]):
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

    def recover(self) -> None:
        """Mails come through again: a pause that has run out is over, and no alarm any more."""
        self.filter(pk=1, paused_at__isnull=False, resume_at__lte=timezone.now()).resume()

    def heartbeat(self, *parts: str) -> None:
        """`parts` ("beat", "worker", "sweep", "success") are alive."""
        now = dict.fromkeys((f"{part}_at" for part in parts), timezone.now())
        if not self.filter(pk=1).update(**now):
            self.current()
            self.filter(pk=1).update(**now)


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
        verbose_name = _("dispatch")
        verbose_name_plural = _("dispatch")

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

    def claim(
        self, ids: Collection[int], task_id: str | None, at: datetime
    ) -> list["WelcomeEmail"]:
        """Take those that are due for one attempt: of several workers exactly one gets a row.

        In the order of sending. `at` marks the claim: who asks again with the same one gets the
        same rows.
        """
        columns = {"claimed_at": at, "task_id": task_id}
        due = self.due(at).filter(pk__in=ids)
        due.update(state=State.SENDING, attempts=F("attempts") + 1, **columns)
        claimed = self.claimed(task_id, at).filter(pk__in=ids).select_related("member")
        welcomes = list(claimed.in_order_of_sending())
        if len(welcomes) < len(ids):
            # Their message is used up: the sweeper need not take it for one on its way.
            self.filter(pk__in=ids, state=State.QUEUED).update(enqueued_at=None)
        return welcomes

    def due(self, at: datetime) -> "WelcomeEmailQuerySet":
        """What may be sent at that time: nothing while sending is paused."""
        is_paused = Exists(Dispatch.objects.pausing())
        return self.filter(~is_paused, state=State.QUEUED, next_attempt_at__lte=at)

    def claimed(self, task_id: str | None, at: datetime | None) -> "WelcomeEmailQuerySet":
        """Those of this claim that have not ended."""
        return self.filter(state=State.SENDING, task_id=task_id, claimed_at=at)

    def in_order_of_sending(self) -> "WelcomeEmailQuerySet":
        """A mail that met a fault of our settings is behind all others (WelcomeEmail.not_tried)."""
        return self.order_by("next_attempt_at", "pk")

    def give_back(self, at: datetime | None = None, enqueued_at: datetime | None = None) -> int:
        """Their attempt did not begin: their turn comes at that time, or as soon as may be."""
        columns: dict[str, Any] = {"next_attempt_at": at} if at else {}
        columns |= {"state": State.QUEUED, "attempts": F("attempts") - 1}
        return self.update(enqueued_at=enqueued_at, **columns)

    def free_stuck(self, max_claims: int = 100) -> int:
        """End the claims of workers that died.

        Each end of an attempt is recorded at once, so the first that has none is the one at which
        the worker died: it alone goes one place on in the timetable, and a mail that kills every
        worker is given up in the end like any other. The others go back first, so that whoever
        frees the rest after us finds the same one.
        """
        freed = 0
        limit = timezone.now() - self.CLAIM_TIMEOUT
        stuck = self.filter(state=State.SENDING, claimed_at__lte=limit).order_by("claimed_at")
        for _claim in range(max_claims):
            if (oldest := stuck.first()) is None:
                break
            claim = self.claimed(oldest.task_id, oldest.claimed_at)
            # Or a worker that lives after all has just recorded the last of it.
            in_flight, *others = list(claim.in_order_of_sending()) or [oldest]
            freed += claim.filter(pk__in=[welcome.pk for welcome in others]).give_back() + 1
            in_flight.lost()
        return freed

    def take_due(self, limit: int) -> list[int]:
        """Ids of due rows of which no message is on its way, marked as enqueued."""
        now = timezone.now()
        is_lost = Q(enqueued_at=None) | Q(enqueued_at__lte=now - self.ENQUEUE_TIMEOUT)
        due = self.due(now).filter(is_lost).order_by("next_attempt_at")
        ids = list(due.values_list("pk", flat=True)[:limit])
        self.filter(pk__in=ids).update(enqueued_at=now)
        return ids

    # What operators do. Whoever calls send_again() or release() enqueues these rows.

    def send_again(self) -> list[int]:
        """Put these back at the beginning of their timetable."""
        times = dict.fromkeys(["queued_at", "next_attempt_at", "enqueued_at"], timezone.now())
        fresh = {"state": State.QUEUED, "attempts": 0, "last_error": "", "last_error_code": ""}
        return self._move("send_again", **times, **fresh)

    def hold(self) -> list[int]:
        return self._move("hold", state=State.HELD)

    def release(self) -> list[int]:
        """Let these go on in their timetable where they stood."""
        return self._move("release", state=State.QUEUED, enqueued_at=timezone.now())

    def cancel(self) -> list[int]:
        return self._move("cancel", state=State.CANCELLED)

    @transaction.atomic
    def _move(self, action: str, **columns: object) -> list[int]:
        """Write the columns where the state allows the action; the ids of exactly those rows.

        Locked in between: a worker either claims a row before this or no longer can.
        """
        chosen = list(self.order_by().values_list("pk", flat=True))
        rows = WelcomeEmail.objects.select_for_update().filter(pk__in=chosen).order_by("pk")
        rows = rows.filter(state__in=WelcomeEmail.ACTION_STATES[action])
        ids = list(rows.values_list("pk", flat=True))
        WelcomeEmail.objects.filter(pk__in=ids).update(**columns)
        return ids


class WelcomeEmail(models.Model):
    """The outbox and the journal of the one e-mail that a member is owed.

    The row is the truth; a message in the broker only asks to look at it.
    """

    State = State
    # What operators may do, and in which states.
    ACTION_STATES = {
        "send_again": [State.QUEUED, State.SENT, State.FAILED, State.CANCELLED],
        "hold": [State.QUEUED],
        "release": [State.HELD],
        "cancel": [State.QUEUED, State.HELD],
    }
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

    began: datetime | None = None  # this attempt, and not the batch in which it was claimed

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
        faults = list(takewhile(lambda attempt: attempt["code"] == code, reversed(self.journal)))
        first_at = parse_datetime(faults[-1]["ended"]) if faults else None
        if first_at is None or success_at is None:
            return False
        return success_at >= first_at + ConfigurationError.pause

    # How an attempt ends: each writes the row at once, unless another attempt owns it by now.

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

    def lost(self) -> None:
        self.retry(gettext_noop("The worker died while it was sending."), "worker-lost")

    def not_tried(self, reason: str, code: str) -> None:
        """The fault was ours, not the mail's: no attempt is counted.

        It is due at once, behind all others that are: if it alone is refused, they still go out.
        """
        columns = {"next_attempt_at": timezone.now(), "enqueued_at": None}
        self._end(State.QUEUED, reason, code, attempts=self.attempts - 1, **columns)

    def _end(self, state: str, reason: str = "", code: str = "", **columns: object) -> bool:
        reason = reason[:500]
        attempt = {
            "task": self.task_id,
            "started": self.began or self.claimed_at,
            "ended": timezone.now(),
            "state": state,
            "reason": reason,
            "code": code,
        }
        columns |= {"state": state, "last_error": reason, "last_error_code": code}
        columns["journal"] = [*self.journal, attempt][-self.MAX_JOURNAL :]
        mine = WelcomeEmail.objects.filter(
            pk=self.pk, task_id=self.task_id, claimed_at=self.claimed_at
        )
        if state != State.SENT:  # what the mail server took is sent in any case
            mine = mine.filter(state=State.SENDING)
        return bool(persistently(partial(mine.update, **columns), self.RECORD_RETRY_SECONDS))
