"""Erasing what members leave in the tables that keep a history."""

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import CharField, Model, Value
from django.db.models.functions import Concat

HISTORY_BATCH_SIZE = 1000


def erase_from_history(model: type[Model], ids: list[int]) -> None:
    """Delete its versions. Keep the admin's entries, but name the record only as #7.

    project/migrations/0002_history_index.py adds the index for this.
    """
    entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(model))
    for start in range(0, len(ids), HISTORY_BATCH_SIZE):
        some = ids[start : start + HISTORY_BATCH_SIZE]
        model.history.filter(id__in=some).delete()  # type: ignore[attr-defined]
        about = [str(pk) for pk in some]
        entries.filter(object_id__in=about).update(
            object_repr=Concat(Value("#"), "object_id", output_field=CharField()),
            change_message="",
        )
