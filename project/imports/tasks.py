"""Housekeeping of uploaded files."""

import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from project.jobs.models import WORKING
from project.jobs.tasks import job_models

from .models import Import

MAX_UPLOAD_SECONDS = 24 * 3600


@shared_task(name="library.tasks.purge_imports", ignore_result=True)
def purge_imports() -> str:
    """Delete the files and rows of old imports."""
    old = timezone.now() - timedelta(days=settings.IMPORT_KEEP_DAYS)
    purged = 0
    for imports in job_models().values():
        if not issubclass(imports, Import):
            continue
        jobs = imports.objects.filter(uploaded_at__lt=old).exclude(file="", reading={})
        jobs = jobs.exclude(state__in=WORKING)
        for pk in list(jobs.values_list("pk", flat=True)):
            with transaction.atomic():
                # Again under a lock: somebody may have confirmed it.
                for job in jobs.filter(pk=pk).select_for_update():
                    job.purge()
                    purged += 1
    delete_broken_off_uploads()
    return f"{purged} imports purged."


def delete_broken_off_uploads() -> None:
    """What a web that was killed meanwhile left: members may be named there."""
    for path in Path(settings.FILE_UPLOAD_TEMP_DIR).glob("tmp*.upload*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - MAX_UPLOAD_SECONDS:
                path.unlink()
