import os
import signal
from datetime import timedelta
from typing import Any

from django.apps import AppConfig
from django.conf import settings


class ChaosConfig(AppConfig):
    name = "project.tests.chaos"
    label = "chaos"

    def ready(self) -> None:
        from members import delivery, models, registration, tasks
        from project import breaker

        models.WelcomeEmail.WAITS = [timedelta(seconds=s) for s in (1, 1, 2, 2, *[3] * 24)]
        models.WelcomeEmailQuerySet.CLAIM_LASTS = timedelta(seconds=20)
        models.WelcomeEmailQuerySet.HINT_LASTS = timedelta(seconds=6)
        models.WelcomeEmailQuerySet.QUIET = timedelta(seconds=6)
        delivery.ConfigurationFault.wait = timedelta(seconds=3)
        tasks.PULSE = 1
        breaker.broker.rest, breaker.cache.rest = 2, 1

        hint, order = registration.hint, settings.DATA_DIR / "die-before-publishing"

        def die_or_hint(*ids: Any) -> None:
            try:
                order.unlink()
            except FileNotFoundError:
                hint(*ids)
            else:
                os.kill(os.getpid(), signal.SIGKILL)

        registration.hint = die_or_hint
