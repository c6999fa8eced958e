"""Housekeeping of uploaded files."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from project.jobs.models import WORKING
from project.jobs.tasks import job_models

from .models import Import


@shared_task(name="library.tasks.purge_imports", ignore_result=True)
def purge_imports() -> str:
    """Delete the files and rows of old imports."""
    old = timezone.now() - timedelta(days=settings.IMPORT_KEEP_DAYS)
    purged = 0
    for imports in job_models().values():
        if not issubclass(imports, Import):
            continue
        jobs = imports.objects.filter(uploaded_at__lt=old).exclude(file="", reading={})
        for job in jobs.exclude(state__in=WORKING):
            job.purge()
            purged += 1
    return f"{purged} imports purged."
