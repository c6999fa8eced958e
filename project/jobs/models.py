"""Long work in the background that survives a killed worker: claimed, shown, resumed, undone."""

from datetime import timedelta
from typing import Any, Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy as _

from project.base.files.rows import Problem, storable
from project.base.history import Left, Undone, undo

HEARTBEAT_TIMEOUT = timedelta(seconds=60)  # after which a silent worker is taken for dead
MAX_CLAIMS = 5  # that end without progress, before the job fails
MAX_LEFT_SHOWN = 100  # of what an undo left alone


class State(models.TextChoices):
    UPLOADED = "uploaded", _("being examined")
    EXAMINED = "examined", _("ready to confirm")
    QUEUED = "queued", _("waiting")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    UNDOING = "undoing", _("being undone")
    UNDONE = "undone", _("undone")


WORKING = (State.UPLOADED, State.QUEUED, State.RUNNING, State.UNDOING)
CANCELLABLE = (State.UPLOADED, State.EXAMINED, State.QUEUED, State.RUNNING)
UNDOABLE = (State.DONE, State.CANCELLED, State.FAILED)


class LostClaimError(Exception):
    """The job was cancelled, or another worker has taken it over."""


class NotFinishedError(Exception):
    """Time for other tasks; this one goes on later."""


class JobQuerySet(models.QuerySet):
    def unattended(self) -> Self:
        """Those with work to do at which no worker is."""
        dead = Q(heartbeat_at=None) | Q(heartbeat_at__lt=timezone.now() - HEARTBEAT_TIMEOUT)
        return self.filter(dead, state__in=WORKING)

    def claim(self, pk: int, task_id: str) -> "Any | None":
        """The job for this worker alone, or None if there is nothing to do."""
        taken = (
            self.filter(pk=pk)
            .unattended()
            .update(
                claim=uuid4().hex,
                claims=F("claims") + 1,
                task_id=task_id,
                heartbeat_at=timezone.now(),
            )
        )
        return self.get(pk=pk) if taken else None

    def move(self, pk: int, allowed: tuple[str, ...], **changes: Any) -> bool:
        """Change a job that is in one of these states; whoever works on it has lost it."""
        fresh = {"claim": "", "claims": 0, "heartbeat_at": None, "enqueued_at": None}
        return bool(self.filter(pk=pk, state__in=allowed).update(**fresh | changes))


class Job(models.Model):
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("by"), null=True, related_name="+"
    )
    finished_at = models.DateTimeField(_("finished"), null=True)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, db_index=True)
    error = models.JSONField(default=list)  # a Problem
    done = models.PositiveBigIntegerField(default=0)  # of `total`, for the progress bar
    total = models.PositiveBigIntegerField(default=0)
    position = models.PositiveBigIntegerField(default=0)  # where to go on
    undone = models.JSONField(default=dict)  # counts and names of an undo; empty before one
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )

    # Who works on it now.
    claim = models.CharField(max_length=32, blank=True)
    claims = models.PositiveSmallIntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True)
    enqueued_at = models.DateTimeField(null=True)
    task_id = models.CharField(max_length=255, blank=True)

    objects = JobQuerySet.as_manager()

    holds_addresses = False  # of people: then no error may tell what it was about

    class Meta:
        abstract = True

    @property
    def batch(self) -> str:
        """Its name in the history."""
        return f"{self._meta.model_name}-{self.pk}"

    @property
    def origin(self) -> str:
        """What the history calls it, for people."""
        return f"#{self.pk}"

    @property
    def problem(self) -> Problem | None:
        return Problem(*self.error) if self.error else None

    @property
    def percent(self) -> int:
        return min(100, self.done * 100 // self.total) if self.total else 0

    @property
    def written_count(self) -> int:
        """How many records it has changed."""
        raise NotImplementedError

    def record(self, **changes: Any) -> None:
        """Write as the worker that has claimed it; raises LostClaimError if it has no more."""
        changes = {"heartbeat_at": timezone.now()} | changes
        jobs = type(self)._default_manager.filter(pk=self.pk, claim=self.claim)
        if not jobs.update(**changes):
            raise LostClaimError
        for name, value in changes.items():
            setattr(self, name, value)

    def finish(self, state: State, **changes: Any) -> None:
        ended = {"state": state, "claim": "", "heartbeat_at": None, "finished_at": timezone.now()}
        self.record(**ended | changes)

    def work(self) -> None:
        """Do what its state waits for."""
        if self.state == State.UNDOING:
            self.take_back()
        else:
            self.run()

    def run(self) -> None:
        """Go on with the work itself."""
        raise NotImplementedError

    @property
    def nothing_to_confirm(self) -> bool:
        """Whether it was examined in vain."""
        return False

    # --- Undo ---

    @property
    def may_be_undone(self) -> bool:
        begun = self.undone and self.state != State.FAILED  # a failed undo goes on
        return self.state in UNDOABLE and not begun and bool(self.written_count)

    def begin_undo(self, user_id: int | None) -> bool:
        return self.may_be_undone and type(self).objects.move(
            self.pk,
            UNDOABLE,
            state=State.UNDOING,
            undone=self.undone or {"deleted": 0, "restored": 0, "left_count": 0, "left": []},
            undone_by=user_id,
            done=0,
            total=self.written_count,
            error=[],
        )

    def name_of(self, left: Left) -> str:
        return storable(left.name)

    def take_back(self) -> None:
        """Undo what it wrote; a second run goes on where the first ended, and adds to its counts."""
        before = dict(self.undone)

        def so_far(undone: Undone) -> dict[str, Any]:
            with translation.override(None):  # stored in English, and translated when read
                left = [[each.pk, self.name_of(each), str(each.reason)] for each in undone.left]
            return {
                "deleted": before["deleted"] + undone.deleted,
                "restored": before["restored"] + undone.restored + undone.undeleted,
                "left_count": undone.left_count,
                "left": left[:MAX_LEFT_SHOWN],
            }

        def progress(undone: Undone) -> None:
            counts = so_far(undone)
            done = counts["deleted"] + counts["restored"] + counts["left_count"]
            self.record(done=done, undone=counts, claims=0)

        undone = undo(self.batch, user=self.undone_by, detail=self.origin, progress=progress)
        self.finish(State.UNDONE, undone=so_far(undone), finished_at=self.finished_at)
