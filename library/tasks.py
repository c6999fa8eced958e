"""Housekeeping of catalogue files."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from project.jobs.models import WORKING, State

from .files.models import Import


@shared_task(name="library.tasks.purge_imports", ignore_result=True)
def purge_imports() -> str:
    """Delete the files and rows of old imports; their counts stay."""
    old = timezone.now() - timedelta(days=settings.IMPORT_KEEP_DAYS)
    jobs = Import.objects.filter(uploaded_at__lt=old).exclude(file="")
    purged = 0
    for job in jobs.exclude(state__in=WORKING):
        job.pages.all().delete()
        job.file.delete(save=False)
        state = State.CANCELLED if job.state == State.EXAMINED else State(job.state)
        Import.objects.filter(pk=job.pk).update(file="", state=state, reading={})
        purged += 1
    return f"{purged} imports purged."
