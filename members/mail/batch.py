"""Claimed mails, sent one after another over one connection, each recorded as it ends."""

import logging
from collections import deque
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from time import monotonic, sleep
from typing import Any

from django.conf import settings
from django.utils import timezone

from project.base.database import persistently

from .delivery import deliver
from .models import Dispatch, WelcomeEmail
from .reasons import (
    ConfigurationError,
    DeliveryError,
    PolicyError,
    RefusedError,
    Sentence,
    TemporaryError,
)

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # after which a batch looks whether it may go on
# What has not begun by then is given back: a claim must not outlast its time.
MAX_BATCH_SECONDS = 30.0
DATABASE_RETRY_SECONDS = 30

_next_turn = 0.0  # when this process may send its next mail (MAIL_RATE)


class Batch:
    """When run() returns, each of these mails is sent, explained or given back."""

    def __init__(self, ids: Collection[int], task_id: str | None) -> None:
        self.task_id, self.claimed_at = task_id, timezone.now()
        claim = partial(WelcomeEmail.objects.claim, ids, task_id, self.claimed_at)
        self.waiting = deque(persistently(claim, DATABASE_RETRY_SECONDS))
        self.skipped = len(ids) - len(self.waiting)
        self.sent: list[WelcomeEmail] = []
        self.failures: list[tuple[WelcomeEmail, str]] = []  # each with its sentence
        self.notes: list[str] = []
        self.left: list[int] = []  # given back, and due
        self.is_answered = False  # by a server that takes mails from us

    def run(self) -> None:
        global _next_turn
        self.look_at = monotonic() + LOOK_SECONDS
        stop_at = monotonic() + MAX_BATCH_SECONDS
        try:
            while self.waiting:
                now = monotonic()
                wait = max(0.0, _next_turn - now)
                if now >= self.look_at:
                    self._look_around()
                    self.look_at = now + LOOK_SECONDS
                elif wait and now + wait >= stop_at:
                    at = timezone.now() + timedelta(seconds=wait)
                    self._give_back(Sentence.PUT_OFF, at)
                    self.notes.append(next_attempt(at))
                elif now >= stop_at:
                    self.left = [welcome.pk for welcome in self.waiting]
                    self._give_back(Sentence.LEFT, enqueued_at=timezone.now())
                elif wait:
                    sleep(min(wait, LOOK_SECONDS))
                else:
                    _next_turn = now + settings.MAIL_INTERVAL
                    self._send(self.waiting.popleft())
        finally:
            self._give_back(Sentence.LEFT)

    def _send(self, welcome: WelcomeEmail) -> None:
        welcome.began = timezone.now()
        try:
            deliver(welcome)
        except DeliveryError as error:
            self._failed(welcome, error)
        else:
            self.is_answered = True
            self.sent.append(welcome)
            if not welcome.sent():
                self.look_at = 0.0  # the row is no longer ours, so the others may not be

    def _failed(self, welcome: WelcomeEmail, error: DeliveryError) -> None:
        reason, code = error.reason, error.code
        is_fault = isinstance(error, ConfigurationError)
        if isinstance(error, PolicyError):  # unless others come through
            success_at = timezone.now() if self.sent else Dispatch.objects.current().success_at
            is_fault = not welcome.fails_alone(code, success_at)
        if is_fault:
            # In this order, or the sweeper might hand the row out once more.
            Dispatch.objects.pause(reason, code, lasts=ConfigurationError.pause)
            welcome.not_tried(reason, code)
            logger.error("Welcome e-mails cannot be sent: %s", reason)
            until = timezone.now() + ConfigurationError.pause
            told = Sentence.PAUSED_UNTIL % {"time": f"{until:%H:%M:%S}"}
            self._give_back(Sentence.PAUSED)
        elif isinstance(error, TemporaryError | PolicyError):
            at = welcome.retry(reason, code)
            told = f"{Sentence.FAILED % {'number': welcome.attempts}} "
            told += next_attempt(at) if at else Sentence.LAST
        else:  # refused, or cannot be written
            self.is_answered |= isinstance(error, RefusedError)
            welcome.fail(reason, code)
            told = Sentence.FINAL
        self.failures.append((welcome, f"{reason} {told}"))

    def _give_back(self, note: Any, *args: datetime, enqueued_at: datetime | None = None) -> None:
        if not self.waiting:
            return
        self.notes.append(note % {"count": len(self.waiting)})
        give_back = partial(self._rows().give_back, *args, enqueued_at=enqueued_at)
        persistently(give_back, WelcomeEmail.RECORD_RETRY_SECONDS)
        self.waiting.clear()

    def _look_around(self) -> None:
        """Keep what is still ours, and nothing while sending is paused."""
        ids = self._rows().values_list("pk", flat=True)
        mine = persistently(lambda: set(ids.all()), DATABASE_RETRY_SECONDS)
        self.waiting = deque(welcome for welcome in self.waiting if welcome.pk in mine)
        if persistently(Dispatch.objects.pausing().exists, DATABASE_RETRY_SECONDS):
            self._give_back(Sentence.PAUSED)

    def _rows(self) -> Any:
        """The rows that wait, as far as they are still ours."""
        claimed = WelcomeEmail.objects.claimed(self.task_id, self.claimed_at)
        return claimed.filter(pk__in=[welcome.pk for welcome in self.waiting])


def next_attempt(at: datetime) -> str:
    return Sentence.NEXT % {"time": f"{at:%H:%M:%S}"}
