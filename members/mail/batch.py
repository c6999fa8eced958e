"""Claimed mails, sent one after another over one connection and recorded together."""

import logging
from collections import deque
from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from project.database import persistently

from . import pace
from .delivery import (
    ConfigurationFault,
    DeliveryError,
    MailRefused,
    RenderingFault,
    TryAgain,
    deliver,
)
from .ledger import Ledger
from .models import Dispatch, WelcomeEmail
from .reasons import in_words

logger = logging.getLogger(__name__)

RECORD_EVERY = 1.0  # second
PATIENCE = 30.0  # seconds; a claim must not outlast its time

# Why mails are given back, for the operator.
LEFT = gettext_lazy("Left to the next task: %(count)d.")
PUT_OFF = gettext_lazy("Put off, as MAIL_RATE asks: %(count)d.")
PAUSED = gettext_lazy("Given back, for sending is paused: %(count)d.")


class Batch:
    """When run() returns, each of these mails is sent, explained or given back.

    What was sent is recorded at the end, or once in RECORD_EVERY: a fast mail server does not wait
    for a commit after each mail, and a slow one is recorded mail by mail. As often the batch looks
    whether it may go on, for somebody may have paused all sending or erased a member. What it has
    not begun within PATIENCE is given back.
    """

    def __init__(self, welcomes: list[WelcomeEmail], claimed_at: datetime) -> None:
        self.waiting = deque(welcomes)
        self.claimed_at = claimed_at
        self.taken: list[WelcomeEmail] = []  # by the mail server, and not recorded yet
        self.ended: list[WelcomeEmail] = []  # otherwise, and not recorded yet
        self.sent: list[WelcomeEmail] = []
        self.failures: list[tuple[WelcomeEmail, str]] = []  # each with its sentence
        self.notes: list[str] = []
        self.left: list[int] = []  # given back, and due

    def run(self) -> None:
        if not self.waiting:
            return
        with Ledger(self.claimed_at, [welcome.pk for welcome in self.waiting]) as ledger:
            try:
                self._send_all(ledger)
            finally:
                self._give_back(LEFT)
                self._record()

    def _send_all(self, ledger: Ledger) -> None:
        look = monotonic() + RECORD_EVERY
        stop = monotonic() + PATIENCE
        while self.waiting:
            now = monotonic()
            if now >= look:
                self._record()
                self._look_around()
                look = now + RECORD_EVERY
            elif now >= stop:
                self.left = [welcome.pk for welcome in self.waiting]
                self._give_back(LEFT, hinted_at=timezone.now())
            elif (wait := pace.take_turn()) > pace.PATIENCE:
                at = timezone.now() + timedelta(seconds=wait)
                self._give_back(PUT_OFF, at)
                self.notes.append(next_attempt(at))
            else:
                if wait:
                    self._record()
                    sleep(wait)
                self._send(self.waiting.popleft(), ledger)

    def _send(self, welcome: WelcomeEmail, ledger: Ledger) -> None:
        welcome.began = timezone.now()
        try:
            deliver(welcome)
        except TryAgain as error:
            at = welcome.retry(error.reason, error.code)
            number = _("Attempt %(number)d failed.") % {"number": welcome.attempts}
            then = next_attempt(at) if at else _("Given up: this was the last attempt.")
            self._failed(welcome, error, number, then)
        except (MailRefused, RenderingFault) as error:
            welcome.fail(error.reason, error.code)
            self._failed(welcome, error, _("Not tried again."))
            if welcome.is_probe and isinstance(error, MailRefused):
                Dispatch.objects.recovered()  # the server takes mails from us, if not this one
        except ConfigurationFault as error:
            # In this order, or the sweeper might hand the row out once more.
            Dispatch.objects.pause(error.reason, error.code, lasts=error.wait)
            welcome.not_tried(error.reason, error.code)
            logger.error("Welcome e-mails cannot be sent: %s", error.reason)
            until = f"{timezone.now() + error.wait:%H:%M:%S}"
            then = _("All sending pauses until %(time)s UTC.") % {"time": until}
            self._failed(welcome, error, then)
            self._give_back(PAUSED)
        else:
            ledger.sent(welcome.pk)
            self.taken.append(welcome)
            if welcome.is_probe:
                self._record()
                Dispatch.objects.recovered()

    def _failed(self, welcome: WelcomeEmail, error: DeliveryError, *sentences: str) -> None:
        self.failures.append((welcome, " ".join([in_words(error.reason), *sentences])))
        self.ended.append(welcome)
        self._record()

    def _give_back(
        self, note: Any, at: datetime | None = None, hinted_at: datetime | None = None
    ) -> None:
        if self.waiting:
            self.notes.append(note % {"count": len(self.waiting)})
        for welcome in self.waiting:
            welcome.give_back(at, hinted_at)
        self.ended += self.waiting
        self.waiting.clear()

    def _look_around(self) -> None:
        """Keep what is still ours, and nothing while sending is paused."""
        mine = WelcomeEmail.objects.claimed([w.pk for w in self.waiting], self.claimed_at)
        still = persistently(lambda: set(mine.values_list("pk", flat=True)), patience=30)
        self.waiting = deque(welcome for welcome in self.waiting if welcome.pk in still)
        if persistently(Dispatch.objects.pausing().exists, patience=30):
            self._give_back(PAUSED)

    def _record(self) -> None:
        now = timezone.now()
        for welcome in self.taken:
            welcome.sent(now)
        WelcomeEmail.objects.record([*self.taken, *self.ended])
        self.sent += self.taken
        self.taken, self.ended = [], []


def next_attempt(at: datetime) -> str:
    return _("Next attempt at %(time)s UTC.") % {"time": f"{at:%H:%M:%S}"}
