"""What Open Library knows of an ISBN, to fill in the form of a new book.

Its answers: https://openlibrary.org/dev/docs/api/books, format `data`. A worker asks, so no
request waits for it.
"""

import json
import re
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from celery import shared_task
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django_celery_results.models import TaskResult

from project.admin.task_results import ENDED_STATES
from project.base.broker import publish

from .isbn import normalise

TIMEOUT_SECONDS = 10
MAX_LOOKUP_SECONDS = 20
MAX_WAIT_SECONDS = 15  # of the form; later a worker need not begin
MAX_ANSWER_BYTES = 1_000_000
MAX_ISBN_LENGTH = 100  # characters, with hyphens and words
NO_ANSWER = gettext_noop("Open Library does not answer now.")
YEAR = re.compile(r"\b[0-9]{4}\b")  # "2005", "May 16, 2005", "2005-05-16"


class LookupFailedError(Exception):
    """Open Library does not answer, or not as documented."""


def look_up(isbn: str) -> dict[str, Any]:
    """Of title, author and publication_year what is known; nothing if the ISBN is unknown.

    Raises LookupFailedError.
    """
    key = f"ISBN:{isbn}"
    query = urlencode({"bibkeys": key, "format": "json", "jscmd": "data"})
    url = f"{settings.OPEN_LIBRARY_URL}/api/books?{query}"
    try:
        with urlopen(  # nosec: env.http() lets only http and https in
            Request(url, headers={"User-Agent": "Library desk"}), timeout=TIMEOUT_SECONDS
        ) as response:
            entry = json.loads(response.read(MAX_ANSWER_BYTES)).get(key, {})
        names = [entry.get("title"), entry.get("subtitle")]
        year = YEAR.search(entry.get("publish_date") or "")
        found = {
            "title": ": ".join(filter(None, names)),
            "author": ", ".join(author["name"] for author in entry.get("authors", [])),
            "publication_year": int(year[0]) if year else None,
        }
    except (OSError, HTTPException, ValueError, TypeError, AttributeError, KeyError) as error:
        raise LookupFailedError(f"Open Library: {error!r}") from None
    return {name: value for name, value in found.items() if value}


@shared_task(
    name="library.tasks.look_up_isbn",
    soft_time_limit=MAX_LOOKUP_SECONDS,
    expires=MAX_WAIT_SECONDS,
    throws=(LookupFailedError,),
)
def look_up_isbn(isbn: str) -> dict[str, Any]:
    return look_up(isbn)


class LookupAdmin(admin.ModelAdmin):
    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.lookup_view)
        return [path("lookup/", view, name="library_book_lookup"), *super().get_urls()]

    def lookup_view(self, request: HttpRequest) -> HttpResponse:
        """POST an ISBN, then GET with the task that was begun, until it has an answer."""
        if not settings.OPEN_LIBRARY_URL:
            raise Http404
        if not self.has_add_permission(request):
            raise PermissionDenied
        return JsonResponse(
            self.begin(request) if request.method == "POST" else self.answer(request),
            headers={"Cache-Control": "no-store"},
        )

    def begin(self, request: HttpRequest) -> dict[str, Any]:
        try:
            isbn = normalise(request.POST.get("isbn", "")[:MAX_ISBN_LENGTH])
        except ValidationError as error:
            return {"text": " ".join(error.messages)}
        if (task := publish(look_up_isbn, isbn)) is None:
            return {"text": _(NO_ANSWER)}
        return {
            "task": task.id,
            "text": _("Asking Open Library …"),
            "seconds": MAX_WAIT_SECONDS,
            "late": _(NO_ANSWER),
        }

    def answer(self, request: HttpRequest) -> dict[str, Any]:
        """Empty while there is none."""
        results = TaskResult.objects.filter(task_name=look_up_isbn.name, status__in=ENDED_STATES)
        result = results.filter(task_id=request.GET.get("task", "")[:255]).first()
        if result is None:
            return {}
        if result.status == "FAILURE":
            return {"text": _(NO_ANSWER)}
        if not (found := json.loads(result.result)):
            return {"text": _("Open Library does not know this ISBN.")}
        return {"text": _("Filled in from Open Library: please check."), "found": found}
