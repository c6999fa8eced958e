import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MinLengthValidator, RegexValidator
from django.db import models, transaction
from django.db.models import Exists, F, Q
from django.db.models.functions import Length
from django.db.models.lookups import GreaterThanOrEqual
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from project.database import persistently
from project.fields import CaseInsensitiveCharField, CaseInsensitiveEmailField

from .erasing import erase_from_history


class MemberQuerySet(models.QuerySet["Member"]):
    @transaction.atomic
    def delete(self) -> tuple[int, dict[str, int]]:
        """Erase them: the rows with all that belongs to them, and their names in the history."""
        ids = list(self.values_list("pk", flat=True))
        deleted = super().delete()
        # Afterwards: who was editing one of them has by now written his entry.
        erase_from_history(self.model, ids)
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class Member(models.Model):
    """A reader of the library: a record, not a login, so it has no password."""

    username = CaseInsensitiveCharField(
        _("username"),
        max_length=150,
        unique=True,
        validators=[
            MinLengthValidator(3),
            # A name that is an address or a link would turn the welcome e-mail into spam.
            RegexValidator(
                r"\A[A-Za-z0-9_.-]+\Z", _("Use the letters A to Z, digits and _ . - only.")
            ),
        ],
        help_text=_("3 to 150 of the letters A to Z, digits and _ . -"),
        error_messages={"unique": _("A member with this username is registered already.")},
    )
    email = CaseInsensitiveEmailField(
        _("e-mail address"),
        unique=True,
        error_messages={"unique": _("A member with this e-mail address is registered already.")},
    )
    registered_at = models.DateTimeField(_("registered"), auto_now_add=True, db_index=True)

    objects = MemberQuerySet.as_manager()

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        ordering = ["username", "pk"]
        constraints = [
            models.CheckConstraint(
                name="members_member_username_length",
                condition=GreaterThanOrEqual(Length("username"), 3),
                violation_error_message=_("A username has 3 to 150 characters."),
            ),
            models.CheckConstraint(
                name="members_member_email_not_empty",
                condition=~Q(email=""),
                violation_error_message=_("A member has an e-mail address."),
            ),
        ]

    def __str__(self) -> str:
        return self.username

    @transaction.atomic
    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Erase it, as the query set does."""
        pk = self.pk
        deleted = super().delete(*args, **kwargs)
        erase_from_history(type(self), [pk])
        return deleted


def new_message_id() -> str:
    """A Message-ID (RFC 5322, 3.6.4) under the sender's domain."""
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return f"<welcome.{uuid.uuid4().hex}@{domain}>"


class DispatchQuerySet(models.QuerySet["Dispatch"]):
    def current(self) -> "Dispatch":
        return self.get_or_create(pk=1)[0]

    def pausing(self) -> "DispatchQuerySet":
        """The row, while nothing may be sent."""
        over = Q(paused_at=None) | Q(resume_at__lte=timezone.now())
        return self.filter(pk=1).exclude(over)

    def not_free(self) -> "DispatchQuerySet":
        """The row, while not every mail may be sent: it pauses, or a probe has not succeeded yet."""
        over = Q(paused_at=None) | Q(
            pause_code=Dispatch.OPERATOR, resume_at__isnull=False, resume_at__lte=timezone.now()
        )
        return self.filter(pk=1).exclude(over)

    def pause(self, reason: str, code: str, lasts: timedelta | None = None) -> None:
        """Send nothing for so long, or until somebody resumes.

        A fault (any other code than OPERATOR) neither ends nor shortens an operator's pause.
        """
        now = timezone.now()
        self.current()
        row = self.filter(pk=1)
        if code != Dispatch.OPERATOR:
            lasting = Q(resume_at=None) | Q(resume_at__gt=now)
            row = row.exclude(lasting, paused_at__isnull=False, pause_code=Dispatch.OPERATOR)
        row.update(
            paused_at=now,
            resume_at=now + lasts if lasts else None,
            pause_reason=reason[:500],
            pause_code=code,
        )

    def resume(self) -> None:
        self.filter(pk=1).update(paused_at=None, resume_at=None, pause_reason="", pause_code="")

    def take_probe(self, lasts: timedelta) -> bool:
        """After a fault's pause one mail is tried first: whether it may be the caller's."""
        now = timezone.now()
        over = self.filter(pk=1, paused_at__isnull=False, resume_at__lte=now)
        return bool(over.update(resume_at=now + lasts))

    def recovered(self) -> None:
        """The probe came through; what an operator paused stays so."""
        self.filter(pk=1).exclude(pause_code=Dispatch.OPERATOR).resume()

    def seen(self, *parts: str) -> None:
        """PARTS ("beat", "worker", "sweep", "success") are alive."""
        now = dict.fromkeys((f"{part}_at" for part in parts), timezone.now())
        if not self.filter(pk=1).update(**now):
            self.current()
            self.filter(pk=1).update(**now)


class Dispatch(models.Model):
    """Whether welcome e-mails go out now, and when each part of the works was last seen: one row.

    A pause of an operator lasts until somebody resumes; one that a fault of our settings caused
    ends by itself at resume_at, so that a mail is tried again.
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

    def claim(self, pk: int, task_id: str | None) -> "WelcomeEmail | None":
        """Take the row for one attempt: of several workers exactly one gets it."""
        due = self.filter(
            pk=pk,
            state=WelcomeEmail.State.QUEUED,
            next_attempt_at__lte=timezone.now() + self.CLOCK_SKEW,
        )
        probe = False
        claimed = due.filter(~Exists(Dispatch.objects.not_free()))._claim(task_id)
        if not claimed and due.exists() and Dispatch.objects.take_probe(self.CLAIM_LASTS):
            probe = True
            claimed = due._claim(task_id)
        # The member may be removed between the two statements.
        welcome = self.select_related("member").filter(pk=pk).first() if claimed else None
        if welcome is None:
            # The hint is used up: the sweeper need not take it for one that is on its way.
            self.filter(pk=pk, state=WelcomeEmail.State.QUEUED).update(hinted_at=None)
        else:
            welcome.is_probe = probe
        return welcome

    def _claim(self, task_id: str | None) -> int:
        return self.update(
            state=WelcomeEmail.State.SENDING,
            attempts=F("attempts") + 1,
            claimed_at=timezone.now(),
            task_id=task_id,
        )

    def put_off(self, pk: int, wait: timedelta) -> datetime:
        """The mail's turn has not come, and it need not wait for it in a worker."""
        at = timezone.now() + wait
        waiting = self.filter(pk=pk, state=WelcomeEmail.State.QUEUED, next_attempt_at__lt=at)
        waiting.update(next_attempt_at=at, hinted_at=None)
        return at

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
            welcome.record_retry(gettext("The worker died while it was sending."), "worker-lost")
        return len(rows)

    def mend_clocks(self) -> int:
        """Make due what waits longer than the timetable lets anything wait: a clock was wrong."""
        latest = timezone.now() + max(WelcomeEmail.WAITS) + self.CLAIM_LASTS
        late = self.filter(state=WelcomeEmail.State.QUEUED, next_attempt_at__gt=latest)
        return late.update(next_attempt_at=timezone.now())

    def take_due(self, most: int = 2000) -> list[int]:
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

    class Meta:
        verbose_name = _("welcome e-mail")
        verbose_name_plural = _("welcome e-mails")
        ordering = ["-pk"]
        indexes = [
            # What the sweeper asks every 30 seconds, and the filter of the admin.
            models.Index(fields=["state", "next_attempt_at"], name="members_welcome_due"),
            models.Index(fields=["state", "claimed_at"], name="members_welcome_claimed"),
            # The lists of the admin and the numbers of its dashboard.
            models.Index(fields=["queued_at"], name="members_welcome_queued"),
            models.Index(fields=["state", "queued_at"], name="members_welcome_age"),
            models.Index(fields=["state", "sent_at"], name="members_welcome_sent"),
            models.Index(fields=["state", "last_error_code"], name="members_welcome_reason"),
        ]

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    # 10 s, 30 s, 1, 5, 15 minutes, then hourly: 24 hours in all. By count and not by the clock,
    # for a mail that waited out a weekend in the queue is as young as any.
    WAITS = [timedelta(seconds=s) for s in (10, 30, 60, 300, 900, *[3600] * 23)]

    def record_sent(self) -> None:
        self._record(
            state=self.State.SENT, sent_at=timezone.now(), last_error="", last_error_code=""
        )

    def record_failed(self, reason: str, code: str) -> None:
        self._record(state=self.State.FAILED, last_error=reason[:500], last_error_code=code)

    def record_retry(self, reason: str, code: str) -> datetime | None:
        """Wait for the next place in the timetable; None where there is none and it has failed."""
        if self.attempts > len(self.WAITS):
            self.record_failed(reason, code)
            return None
        at = timezone.now() + self.WAITS[self.attempts - 1]
        self._requeue(at, reason, code)
        return at

    def record_not_tried(self, reason: str, code: str) -> None:
        """The fault was ours, not the mail's: no attempt is counted.

        It is due at once, behind all others that are, so that each pause's probe is another mail.
        """
        self._requeue(timezone.now(), reason, code, attempts=self.attempts - 1)

    def _requeue(self, at: datetime, reason: str, code: str, **columns: object) -> None:
        self._record(
            state=self.State.QUEUED,
            next_attempt_at=at,
            hinted_at=None,
            last_error=reason[:500],
            last_error_code=code,
            **columns,
        )

    def _record(self, **columns: object) -> None:
        columns["journal"] = [*self.journal, self._attempt(columns)][-self.REMEMBERED :]
        # Only while this attempt still owns the row: the sweeper may have given it to another.
        mine = WelcomeEmail.objects.filter(
            pk=self.pk, state=self.State.SENDING, claimed_at=self.claimed_at
        )
        # A mail that went out and is not recorded would go out again.
        persistently(lambda: mine.update(**columns), patience=1800)
        for name, value in columns.items():
            setattr(self, name, value)

    REMEMBERED = 60  # attempts: two whole timetables

    def _attempt(self, columns: dict[str, Any]) -> dict[str, Any]:
        """What the page of this mail tells about the attempt that ends now."""
        return {
            "task": self.task_id,
            "started": self.claimed_at,
            "ended": timezone.now(),
            "state": columns["state"],
            "reason": columns["last_error"],
            "code": columns["last_error_code"],
        }
