"""The search box of every page: what is typed finds rows of every admin that offers some."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.text import capfirst

if TYPE_CHECKING:
    from .base import BaseAdmin

MAX_HITS = 6  # of each kind
MAX_LENGTH = 200


@dataclass(frozen=True)
class Hit:
    title: str
    detail: str
    url: str


def urls(site: AdminSite) -> list[Any]:
    return [
        path("search/", site.admin_view(lambda request: search(site, request)), name="search"),
        path("search/hits/", site.admin_view(lambda request: hits(site, request)), name="hits"),
    ]


def search(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """The row that the text names, else the list that it searches."""
    text = request.GET.get("q", "").strip()[:MAX_LENGTH]
    pages = list(searched(site, request))
    for page in pages:
        if text and (address := page.jump(request, text)):
            return HttpResponseRedirect(address)
    if not pages:
        return HttpResponseRedirect(reverse("admin:index"))
    found = next((page for page in pages if text and page.find(request, text)), pages[0])
    return HttpResponseRedirect(list_address(found, text))


def hits(site: AdminSite, request: HttpRequest) -> JsonResponse:
    text = request.GET.get("q", "").strip()[:MAX_LENGTH]
    groups = []
    for page in searched(site, request) if text else ():
        if found := page.find(request, text):
            groups.append(
                {
                    "name": capfirst(page.opts.verbose_name_plural),
                    "url": list_address(page, text),
                    "hits": [asdict(hit) for hit in found[:MAX_HITS]],
                }
            )
    return JsonResponse({"groups": groups}, headers={"Cache-Control": "no-store"})


def searched(site: AdminSite, request: HttpRequest) -> Iterator["BaseAdmin"]:
    """The admins that offer rows and that the account may see, in the order of registration."""
    from .base import BaseAdmin

    for page in site._registry.values():
        if not isinstance(page, BaseAdmin) or type(page).find is BaseAdmin.find:
            continue
        if page.has_view_or_change_permission(request):
            yield page


def list_address(page: "BaseAdmin", text: str) -> str:
    options = page.opts
    address = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    return f"{address}?{urlencode({'q': text})}" if text else address
