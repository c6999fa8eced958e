"""Erasing what members leave in the tables that keep a history."""

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import CharField, Model, Value
from django.db.models.functions import Concat

from project.base.history import Kind

HISTORY_BATCH_SIZE = 1000


def erase_from_history(model: type[Model], ids: list[int]) -> None:
    """Delete its versions, but for the deletion itself, of which programs that keep a copy must
    learn, and keep the admin's entries. Both name the record only as #7.

    project/migrations/0002_history_index.py adds the index for this.
    """
    entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(model))
    for start in range(0, len(ids), HISTORY_BATCH_SIZE):
        some = ids[start : start + HISTORY_BATCH_SIZE]
        versions = model.history.filter(id__in=some)  # type: ignore[attr-defined]
        versions.exclude(history_type=Kind.DELETED).delete()
        versions.update(username="", email="")
        about = [str(pk) for pk in some]
        entries.filter(object_id__in=about).update(
            object_repr=Concat(Value("#"), "object_id", output_field=CharField()),
            change_message="",
        )
