import json
import uuid
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from email.utils import parseaddr
from functools import partial
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import Exists, F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from project.database import persistently

from ..reasons import in_words
from .dispatch import Dispatch
from .member import Member


def new_message_id() -> str:
    """A Message-ID (RFC 5322, 3.6.4) under the sender's domain."""
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return f"<welcome.{uuid.uuid4().hex}@{domain}>"


class WelcomeEmailQuerySet(models.QuerySet["WelcomeEmail"]):
    # Longer than any attempt lasts: CELERY_TASK_SOFT_TIME_LIMIT ends one after two minutes.
    CLAIM_LASTS = timedelta(minutes=5)
    # A hint that no worker has followed by then counts as lost. A sweep that waited a minute
    # behind a backlog is dropped (CELERY_BEAT_SCHEDULE), so hints older than that are not waiting.
    HINT_LASTS = timedelta(minutes=2)
    # After so long without a sweep the database may have been away: whoever sent a mail meanwhile
    # gets until the next sweep to record it.
    QUIET = timedelta(seconds=90)
    # Of the clock of the machine that wrote the row before the one that reads it.
    CLOCK_SKEW = timedelta(seconds=5)

    def claim(
        self, ids: Collection[int], task_id: str | None, at: datetime
    ) -> list["WelcomeEmail"]:
        """Take those that are due for one attempt: of several workers exactly one gets a row.

        AT is the claim's mark: who asks again with the same one gets the same rows.
        """
        due = self.filter(
            pk__in=ids, state=WelcomeEmail.State.QUEUED, next_attempt_at__lte=at + self.CLOCK_SKEW
        )
        taken = {
            "state": WelcomeEmail.State.SENDING,
            "attempts": F("attempts") + 1,
            "claimed_at": at,
            "task_id": task_id,
        }
        probe = None
        if not due.filter(~Exists(Dispatch.objects.not_free())).update(**taken):
            probe = due.order_by("pk").values_list("pk", flat=True).first()
            if probe is not None and Dispatch.objects.take_probe(self.CLAIM_LASTS):
                due.filter(pk=probe).update(**taken)
        # A member may be removed between the two statements.
        mine = self.claimed(ids, at).filter(task_id=task_id).select_related("member")
        welcomes = list(mine.order_by("pk"))
        if len(welcomes) < len(ids):
            # Their hints are used up: the sweeper need not take them for ones on their way.
            self.filter(pk__in=ids, state=WelcomeEmail.State.QUEUED).update(hinted_at=None)
        for welcome in welcomes:
            welcome.is_probe = welcome.pk == probe
        return welcomes

    def claimed(self, ids: Collection[int], at: datetime | None) -> "WelcomeEmailQuerySet":
        """Those of which the claim of that moment still holds."""
        return self.filter(pk__in=ids, state=WelcomeEmail.State.SENDING, claimed_at=at)

    def record(self, welcomes: Iterable["WelcomeEmail"]) -> None:
        """Write what became of these attempts, as their methods below left it.

        What ended alike is one statement. Only where the attempt still owns its row: the sweeper
        may have given it to another.
        """
        alike: dict[str, list[WelcomeEmail]] = {}
        for welcome in welcomes:
            ended = json.dumps([welcome.claimed_at, welcome.outcome], cls=DjangoJSONEncoder)
            alike.setdefault(ended, []).append(welcome)
        for group in alike.values():
            mine = self.claimed([welcome.pk for welcome in group], group[0].claimed_at)
            # A mail that went out and is not recorded would go out again.
            persistently(partial(mine.update, **group[0].outcome), patience=1800)

    def free_stuck(self, most: int = 500) -> int:
        """Give rows back whose worker died while it was sending, one place on in the timetable.

        So a mail that kills every worker is given up in the end like any other.
        """
        now = timezone.now()
        stuck = self.filter(
            # From the future: the clock of some machine was wrong.
            Q(claimed_at__lte=now - self.CLAIM_LASTS) | Q(claimed_at__gt=now + self.CLAIM_LASTS),
            state=WelcomeEmail.State.SENDING,
        )
        rows = list(stuck.order_by("claimed_at")[:most])
        for welcome in rows:
            welcome.lost()
        self.record(rows)
        return len(rows)

    def mend_clocks(self) -> int:
        """Make due what waits longer than the timetable lets anything wait: a clock was wrong."""
        latest = timezone.now() + max(WelcomeEmail.WAITS) + self.CLAIM_LASTS
        late = self.filter(state=WelcomeEmail.State.QUEUED, next_attempt_at__gt=latest)
        return late.update(next_attempt_at=timezone.now())

    def take_due(self, most: int) -> list[int]:
        """Ids of due rows of which no fresh hint is on its way, marked as hinted."""
        now = timezone.now()
        due = self.filter(state=WelcomeEmail.State.QUEUED, next_attempt_at__lte=now).filter(
            Q(hinted_at=None)
            | Q(hinted_at__lte=now - self.HINT_LASTS)
            | Q(hinted_at__gt=now + self.HINT_LASTS),
            ~Exists(Dispatch.objects.pausing()),
        )
        ids = list(due.order_by("next_attempt_at").values_list("pk", flat=True)[:most])
        self.filter(pk__in=ids).update(hinted_at=now)
        return ids

    def send_again(self, states: Collection[str] | None = None) -> list[int]:
        """Put these back at the beginning of their timetable."""
        now = timezone.now()
        return self._move(
            states or WelcomeEmail.MAY["send_again"],
            state=WelcomeEmail.State.QUEUED,
            attempts=0,
            queued_at=now,
            next_attempt_at=now,
            hinted_at=None,
            last_error="",
            last_error_code="",
        )

    def hold(self) -> list[int]:
        return self._move(WelcomeEmail.MAY["hold"], state=WelcomeEmail.State.HELD)

    def release(self) -> list[int]:
        """Let these go on in their timetable where they stood."""
        return self._move(
            WelcomeEmail.MAY["release"], state=WelcomeEmail.State.QUEUED, hinted_at=None
        )

    def cancel(self) -> list[int]:
        return self._move(WelcomeEmail.MAY["cancel"], state=WelcomeEmail.State.CANCELLED)

    @transaction.atomic
    def _move(self, states: Collection[str], **columns: object) -> list[int]:
        """Write the columns where the state is one of these; the ids of exactly those rows.

        Locked in between: a worker either claims a row before this or no longer can.
        """
        chosen = list(self.order_by().values_list("pk", flat=True))
        rows = WelcomeEmail.objects.filter(pk__in=chosen, state__in=states)
        ids = list(rows.select_for_update().order_by("pk").values_list("pk", flat=True))
        WelcomeEmail.objects.filter(pk__in=ids, state__in=states).update(**columns)
        return ids


class WelcomeEmail(models.Model):
    """The outbox and the journal of the one e-mail that a member is owed.

    The row is the truth; a message in the broker is only a hint to look at it.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("waiting")
        SENDING = "sending", _("being sent")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")
        HELD = "held", _("on hold")
        CANCELLED = "cancelled", _("cancelled")

    # What operators may do, and in which states.
    MAY = {
        "send_again": [State.QUEUED, State.SENT, State.FAILED, State.CANCELLED],
        "hold": [State.QUEUED],
        "release": [State.HELD],
        "cancel": [State.QUEUED, State.HELD],
    }

    member = models.OneToOneField(
        Member, models.CASCADE, related_name="welcome_email", verbose_name=_("member")
    )
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.QUEUED)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    queued_at = models.DateTimeField(_("queued"), default=timezone.now)
    next_attempt_at = models.DateTimeField(_("next attempt"), default=timezone.now)
    hinted_at = models.DateTimeField(_("handed to the queue"), null=True, default=timezone.now)
    claimed_at = models.DateTimeField(_("last attempt"), null=True)
    sent_at = models.DateTimeField(_("sent"), null=True)
    last_error = models.CharField(_("last error"), max_length=500, blank=True)
    last_error_code = models.CharField(_("error code"), max_length=40, blank=True)
    task_id = models.CharField(_("task"), max_length=255, null=True, db_index=True)  # noqa: DJ001
    message_id = models.CharField(_("Message-ID"), max_length=255, default=new_message_id)
    # Here and not in a table of its own: an attempt costs no second write, the page of a mail no
    # search among all task results, and erasing a member leaves nothing behind.
    journal = models.JSONField(_("attempts so far"), default=list, encoder=DjangoJSONEncoder)

    objects = WelcomeEmailQuerySet.as_manager()

    is_probe = False  # this attempt shows whether a fault's pause is over
    began: datetime | None = None  # it, and not the batch in which it was claimed
    outcome: dict[str, Any]  # the columns that it leaves

    class Meta:
        verbose_name = _("welcome e-mail")
        verbose_name_plural = _("welcome e-mails")
        ordering = ["-pk"]
        indexes = [
            # What the sweeper asks every 30 seconds, answered by the index alone.
            models.Index(
                fields=["state", "next_attempt_at", "hinted_at"], name="members_welcome_waiting"
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

    # 10 s, 30 s, 1, 5, 15 minutes, then hourly: 24 hours in all. By count and not by the clock,
    # for a mail that waited out a weekend in the queue is as young as any.
    WAITS = [timedelta(seconds=s) for s in (10, 30, 60, 300, 900, *[3600] * 23)]

    # How an attempt ends. Nothing is written before WelcomeEmail.objects.record().

    def sent(self, at: datetime) -> None:
        """Its batch has sent it by then; alike for all of the batch, and so recorded together."""
        self.began = self.claimed_at
        self._end(at, state=self.State.SENT, sent_at=at, last_error="", last_error_code="")

    def fail(self, reason: str, code: str) -> None:
        self._end(
            timezone.now(),
            state=self.State.FAILED,
            last_error=reason[:500],
            last_error_code=code,
        )

    def retry(self, reason: str, code: str) -> datetime | None:
        """Wait for the next place in the timetable; None where there is none and it has failed."""
        if self.attempts > len(self.WAITS):
            self.fail(reason, code)
            return None
        at = timezone.now() + self.WAITS[self.attempts - 1]
        self._requeue(at, reason, code)
        return at

    def lost(self) -> None:
        self.retry(gettext_noop("The worker died while it was sending."), "worker-lost")

    def not_tried(self, reason: str, code: str) -> None:
        """The fault was ours, not the mail's: no attempt is counted.

        It is due at once, behind all others that are, so that each pause's probe is another mail.
        """
        self._requeue(timezone.now(), reason, code, attempts=self.attempts - 1)

    def give_back(self, at: datetime | None = None, hinted_at: datetime | None = None) -> None:
        """The attempt did not begin; its turn comes AT that time, or as soon as may be."""
        self.outcome = {
            "state": self.State.QUEUED,
            "attempts": self.attempts - 1,
            "hinted_at": hinted_at,
            **({"next_attempt_at": at} if at else {}),
        }

    def _requeue(self, at: datetime, reason: str, code: str, **columns: object) -> None:
        self._end(
            timezone.now(),
            state=self.State.QUEUED,
            next_attempt_at=at,
            hinted_at=None,
            last_error=reason[:500],
            last_error_code=code,
            **columns,
        )

    REMEMBERED = 60  # attempts: two whole timetables

    def _end(self, at: datetime, **columns: object) -> None:
        attempt = {
            "task": self.task_id,
            "started": self.began or self.claimed_at,
            "ended": at,
            "state": columns["state"],
            "reason": columns["last_error"],
            "code": columns["last_error_code"],
        }
        self.outcome = {**columns, "journal": [*self.journal, attempt][-self.REMEMBERED :]}
