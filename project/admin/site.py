"""The admin as a whole: its menu and its login."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, re_path, reverse
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache

from project.api.replica import stay_with_primary

from . import searching
from .phrases import RECORD

# The menu: each group's name and its models in order. Every registered model must be in it.
MENU = {
    "catalogue": (
        gettext_lazy("Catalogue"),
        ["Book", "Import", "BulkChange", "HistoricalBook"],
    ),
    "membership": (gettext_lazy("Membership"), ["Member", "MemberImport", "HistoricalMember"]),
    "operations": (gettext_lazy("Operations"), ["WelcomeEmail", "TaskResult"]),
    "administration": (gettext_lazy("Administration"), ["User", "Group", "AuthToken"]),
}


def group_of(model: str) -> tuple[str, Any] | None:
    """The group of the menu that holds this model: its slug and name."""
    return next(((slug, name) for slug, (name, models) in MENU.items() if model in models), None)


class LibraryAdminSite(admin.AdminSite):
    site_title = site_header = gettext_lazy("Library desk")
    index_title = gettext_lazy("Dashboard")
    empty_value_display = "–"

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        from . import team

        has_activity = bool(team.sources(self, request))
        return super().each_context(request) | {"has_activity": has_activity}

    def get_app_list(
        self, request: HttpRequest, app_label: str | None = None
    ) -> list[dict[str, Any]]:
        """By what people do, not by the app that holds the model."""
        if app_label is not None:
            return super().get_app_list(request, app_label)
        apps = self._build_app_dict(request).values()  # which Django would sort
        models = {model["object_name"]: model for app in apps for model in app["models"]}
        icons = settings.JAZZMIN_SETTINGS["icons"]
        for model in models.values():
            page = self._registry[model["model"]]
            model["name"] = capfirst(page.opts.verbose_name_plural)
            model["add_text"] = getattr(page, "phrases", RECORD).add
        return [
            {
                "name": name,
                "app_label": group,
                "app_url": reverse("admin:section", args=[group]),
                "has_module_perms": True,
                "models": [
                    models[name] | {"icon": icons[f"{group}.{name.lower()}"]}
                    for name in names
                    if name in models
                ],
            }
            for group, (name, names) in MENU.items()
            if models.keys() & set(names)
        ]

    def get_urls(self) -> list[Any]:
        from . import passwords, team  # models are not ready when the site is made

        section = self.admin_view(self.section)
        return [
            re_path(rf"^(?P<slug>{'|'.join(MENU)})/$", section, name="section"),
            path(
                "activity/",
                self.admin_view(lambda request: team.activity(self, request)),
                name="activity",
            ),
            *passwords.URLS,
            *searching.urls(self),
            *super().get_urls(),
        ]

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        @wraps(view)
        def page(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if request.method == "POST":  # what is written here is seen through the API at once
                stay_with_primary(request)
            return view(request, *args, **kwargs)

        checked = super().admin_view(page, cacheable)

        @wraps(checked)
        def told(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            # The login leads back to a page that looks as if it had worked.
            if self.refuses_form(request):
                messages.warning(request, _("Your session had ended, so nothing was done."))
            return checked(request, *args, **kwargs)

        return told

    def refuses_form(self, request: HttpRequest) -> bool:
        """Whether a person sent a form to it after the session had ended."""
        by_person = request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
        sent = request.method == "POST" and request.path != reverse("admin:logout")
        return sent and by_person and not request.user.is_authenticated

    def section(self, request: HttpRequest, slug: str) -> TemplateResponse:
        """A group of the menu: what the account may see of it."""
        groups = {group["app_label"]: group for group in self.get_app_list(request)}
        if slug not in groups:
            raise Http404
        context = {
            **self.each_context(request),
            "title": groups[slug]["name"],
            "section": groups[slug],
        }
        return TemplateResponse(request, "admin/section.html", context)

    def app_index(  # type: ignore[override]
        self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's page of an app: the group of the menu that has its models."""
        apps = super().get_app_list(request, app_label)
        found = (group_of(model["object_name"]) for app in apps for model in app["models"])
        group = next(filter(None, found), None)
        if group is None:
            raise Http404
        return redirect("admin:section", group[0])

    def logout(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """By its button; who opens the address sees no blank page."""
        if request.method != "POST":
            return redirect("admin:index")
        return super().logout(request, extra_context)

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's, under the limit that it shares with the API's login."""
        from project.api.throttling import (
            LoginThrottle,  # models are not ready when the site is made
        )

        extra_context = {**(extra_context or {}), "forgot_url": forgot_url()}
        throttle = LoginThrottle()
        if request.method != "POST" or throttle.allow_request(request):
            return super().login(request, extra_context)
        return self.login_later(request, throttle.reset)

    @method_decorator(never_cache)
    def login_later(self, request: HttpRequest, seconds: int) -> TemplateResponse:
        """The form as it was filled in; the password is not checked."""
        from django.contrib.admin.forms import AdminAuthenticationForm

        context = {
            **self.each_context(request),
            "title": _("Log in"),
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            "form": AdminAuthenticationForm(
                request, initial={"username": request.POST.get("username", "")}
            ),
            "forgot_url": forgot_url(),
            "refusal": too_many_attempts(seconds),
        }
        headers = {"Retry-After": str(seconds)}
        return TemplateResponse(request, "admin/login.html", context, status=429, headers=headers)


def forgot_url() -> str:
    from .passwords import mail_is_set_up

    return reverse("admin:password_reset") if mail_is_set_up() else ""


def too_many_attempts(seconds: int) -> str:
    if seconds < 120:
        text = ngettext(
            "Too many login attempts. Try again in %d second.",
            "Too many login attempts. Try again in %d seconds.",
            seconds,
        )
        return text % seconds
    minutes = -(-seconds // 60)  # rounded up, never too early
    text = ngettext(
        "Too many login attempts. Try again in %d minute.",
        "Too many login attempts. Try again in %d minutes.",
        minutes,
    )
    return text % minutes
