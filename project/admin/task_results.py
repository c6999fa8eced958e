"""The pages of Celery's task results, instead of the package's."""

import json
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import formats
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext_lazy
from django_celery_results import admin as results_admin  # noqa: F401  # to unregister its pages
from django_celery_results.models import GroupResult, TaskResult

from project.base.results import LOST

from .base import ReadOnlyAdmin
from .display import badge, moment
from .filters import ChoiceFilter, SinceFilter
from .lists import CappedPaginator

STATES = {
    "SUCCESS": (gettext_lazy("done"), "success"),
    "FAILURE": (gettext_lazy("failed"), "danger"),
    "STARTED": (gettext_lazy("running"), "info"),
    LOST: (gettext_lazy("lost"), "danger"),
    "RETRY": (gettext_lazy("trying again"), "warning"),
    "REVOKED": (gettext_lazy("revoked"), "secondary"),
    "PENDING": (gettext_lazy("waiting"), "secondary"),
}
Result = Any  # a TaskResult, of whose columns mypy knows nothing
ENDED_STATES = ("SUCCESS", "FAILURE")


class TaskStateFilter(ChoiceFilter):
    title = gettext_lazy("state")
    parameter_name = "state"
    choices_of = {state: text for state, (text, colour) in STATES.items()}
    field = "status"


class TaskCreatedFilter(SinceFilter):
    title = gettext_lazy("created")
    parameter_name = "created"
    field = "date_created"


def in_words(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a sentence; those that are words, such as a state, have translations."""
    return {k: _(v) if isinstance(v, str) and v else v for k, v in values.items()}


admin.site.unregister([TaskResult, GroupResult])
# The package names its model so, and ships no Russian that is compiled.
gettext_noop("task result"), gettext_noop("task results")


class TaskResultAdmin(ReadOnlyAdmin):
    """Replaces the package's page, which counts, searches and lists without bounds.

    The app that defines the tasks extends and registers it.
    """

    task_names: ClassVar[dict[str, Any]] = {
        "celery.backend_cleanup": gettext_lazy("Purge old task results"),
        "library.tasks.work": gettext_lazy("Import or bulk change"),
        "library.tasks.look_up_isbn": gettext_lazy("Look up an ISBN"),
    }
    list_display = ["state", "task", "outcome", "created", "duration"]
    fields_of_list = (
        *("task_id", "task_name", "status", "result"),
        *("date_created", "date_started", "date_done"),
    )
    list_filter = [TaskStateFilter, TaskCreatedFilter]
    counted_text = ngettext_lazy("%(number)s task result", "%(number)s task results", "count")
    search_fields = ["=task_id"]
    search_help_text = gettext_lazy("Task ID")
    ordering = ["-date_created", "-pk"]
    fieldsets = [
        (None, {"fields": ["state", "task", "outcome"]}),
        (
            gettext_lazy("Run"),
            {"fields": ["created", "started", "finished", "duration", "ran_on"]},
        ),
        (gettext_lazy("Technical details"), {"fields": ["task_key", "arguments", "trace"]}),
    ]
    readonly_fields = [
        *("state", "task", "outcome"),
        *("created", "started", "finished", "duration", "ran_on"),
        *("task_key", "arguments", "trace"),
    ]

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet, per_page: int, *args: Any
    ) -> CappedPaginator:
        """Counts those of a state and a period from the newest on.

        By itself MySQL reads a state's results from its first on, and all before the period.
        """
        paginator = super().get_paginator(request, queryset, per_page, *args)
        filters = TaskStateFilter, TaskCreatedFilter
        if all(request.GET.get(filter_.parameter_name) for filter_ in filters):
            paginator.counted_along = ("-pk",)
        return paginator

    @admin.display(description=gettext_lazy("state"))
    def state(self, result: Result) -> SafeString:
        text, colour = STATES.get(result.status, (result.status, "secondary"))
        return badge(str(text), colour)

    @admin.display(description=gettext_lazy("task"))
    def task(self, result: Result) -> str:
        return str(self.task_names.get(result.task_name, result.task_name or _("unknown")))

    def returned(self, result: Result) -> Any:
        """What the task returned, or the message of its error; text that is no JSON as it is."""
        if result.status == "STARTED":  # Celery keeps process and host there until the end
            return None
        try:
            returned = json.loads(result.result or "null")
        except ValueError:
            return result.result
        if isinstance(returned, dict) and "exc_message" in returned:
            message = returned["exc_message"]
            alone = isinstance(message, list) and len(message) == 1
            return (message[0] if alone else message) or returned.get("exc_type")
        return returned

    @admin.display(description=gettext_lazy("outcome"))
    def outcome(self, result: Result) -> str:
        """The sentence or values that the task returned, or its error message."""
        match returned := self.returned(result):
            case [[str(), dict()], *_] as report:
                return " ".join(capfirst(_(text) % in_words(values)) for text, values in report)
            case dict():
                returned = " · ".join(map(str, returned.values()))
            case list():
                returned = " ".join(map(str, returned))
        return returned if returned and isinstance(returned, str) else "–"

    def name_of(self, row: Result) -> str:
        return f"{self.task(row)}, {moment(row.date_created)}"

    # The package's own columns carry help texts for programmers.

    @admin.display(description=gettext_lazy("created"), ordering="date_created")
    def created(self, result: Result) -> str:
        return moment(result.date_created)

    @admin.display(description=gettext_lazy("started"))
    def started(self, result: Result) -> str:
        return moment(result.date_started)

    @admin.display(description=gettext_lazy("worker"))
    def ran_on(self, result: Result) -> str:
        return result.worker or "–"

    @admin.display(description=gettext_lazy("task ID"))
    def task_key(self, result: Result) -> str:
        return result.task_id

    @admin.display(description=gettext_lazy("finished"))
    def finished(self, result: Result) -> str:
        # django-celery-results also sets date_done when a task starts.
        return moment(result.date_done if result.status in ENDED_STATES else None)

    @admin.display(description=gettext_lazy("duration"))
    def duration(self, result: Result) -> str:
        if not (result.date_started and result.status in ENDED_STATES):
            return "–"
        seconds = max((result.date_done - result.date_started).total_seconds(), 0)
        return _("%(seconds)s s") % {"seconds": formats.number_format(seconds, 2)}

    @admin.display(description=gettext_lazy("arguments"))
    def arguments(self, result: Result) -> str:
        return (result.task_args or "–").strip('"')

    @admin.display(description=gettext_lazy("trace"))
    def trace(self, result: Result) -> str | SafeString:
        if not result.traceback:
            return "–"
        return format_html(
            "<details><summary>{}</summary><pre>{}</pre></details>",
            _("Show the trace"),
            result.traceback,
        )
