from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .reasons import in_words


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
        now = timezone.now()
        self.current()
        row = self.filter(pk=1)
        if code != Dispatch.OPERATOR:
            row = row.exclude(pause_code=Dispatch.OPERATOR)
        row.update(
            paused_at=now,
            resume_at=now + lasts if lasts else None,
            pause_reason=reason[:500],
            pause_code=code,
        )

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
