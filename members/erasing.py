"""Erasing what members leave in other tables: history, the admin's entries, imports."""

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import CharField, Model, Value
from django.db.models.functions import Concat

from project.base.database import batches
from project.base.history import Kind

from .files.models import MemberImport

HISTORY_BATCH_SIZE = 1000


def erase_traces(model: type[Model], ids: list[int]) -> None:
    names = erase_from_history(model, ids)
    # Locked, so that a worker neither writes nor examines meanwhile.
    kept = MemberImport.objects.exclude(file="", reading={})
    for job in kept.select_for_update().order_by("pk"):
        if job.may_name(names):
            job.forget()


def erase_from_history(model: type[Model], ids: list[int]) -> set[str]:
    """Delete its versions, and return the names and addresses that they had, in lower case.

    Keep the deletion itself, of which programs that keep a copy must learn, and the admin's
    entries; both name the record only as #7:
    project/migrations/0002_history_index.py adds the index for this.
    """
    history = model.history  # type: ignore[attr-defined]
    entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(model))
    names: set[str] = set()
    for some in batches(ids, HISTORY_BATCH_SIZE):
        versions = history.filter(id__in=some)
        for pair in versions.order_by().values_list("username", "email").distinct():
            names.update(name.lower() for name in pair if name)
        heads = list(versions.filter(listed=True).exclude(batch="").values_list("batch", flat=True))
        versions.exclude(history_type=Kind.DELETED).delete()
        versions.update(username="", email="")
        for batch in heads:  # stays one line in the list of all activity
            head = history.filter(batch=batch).order_by("history_id").values_list("pk", flat=True)
            history.filter(pk__in=list(head[:1])).update(listed=True)
        about = [str(pk) for pk in some]
        entries.filter(object_id__in=about).update(
            object_repr=Concat(Value("#"), "object_id", output_field=CharField()),
            change_message="",
        )
    return names
