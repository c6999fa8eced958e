import os
import signal
from datetime import timedelta

from django.apps import AppConfig
from django.conf import settings


class ChaosConfig(AppConfig):
    name = "chaos"

    def ready(self) -> None:
        from members import registration
        from members.mail import reasons, tasks
        from members.mail.models import DispatchQuerySet, WelcomeEmail, WelcomeEmailQuerySet
        from project.base import breaker
        from project.jobs import models as jobs
        from project.jobs import tasks as job_tasks

        WelcomeEmail.RETRY_WAITS = [timedelta(seconds=s) for s in (1, 1, 2, 2, *[3] * 24)]
        rows = WelcomeEmailQuerySet
        rows.CLAIM_TIMEOUT = timedelta(seconds=20)
        rows.ENQUEUE_TIMEOUT = timedelta(seconds=6)
        tasks.MAX_BATCH_SECONDS = 5
        reasons.ConfigurationError.pause = timedelta(seconds=3)
        DispatchQuerySet.SUCCESS_INTERVAL = timedelta(seconds=1)
        jobs.HEARTBEAT_TIMEOUT = timedelta(seconds=8)
        job_tasks.ENQUEUE_INTERVAL = timedelta(seconds=3)
        breaker.broker.reset_seconds, breaker.cache.reset_seconds = 2, 1

        enqueue, order = registration.enqueue, settings.DATA_DIR / "die-before-publishing"

        def die_or_enqueue(*welcome_ids: int) -> None:
            if order.exists():
                order.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            enqueue(*welcome_ids)

        registration.enqueue = die_or_enqueue
