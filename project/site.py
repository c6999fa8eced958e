"""The admin as a whole: its menu and its first page."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy

# The menu: group, its name, its models in order. Every registered model must be in it.
MENU = {
    "catalogue": (gettext_lazy("Catalogue"), ["Book"]),
    "membership": (gettext_lazy("Members"), ["Member"]),
    "operations": (gettext_lazy("Operations"), ["WelcomeEmail", "TaskResult"]),
    "administration": (gettext_lazy("Administration"), ["User", "Group", "AuthToken"]),
}


class LibraryAdminSite(admin.AdminSite):
    site_title = site_header = gettext_lazy("Library desk")
    index_title = gettext_lazy("Dashboard")

    def get_app_list(
        self, request: HttpRequest, app_label: str | None = None
    ) -> list[dict[str, Any]]:
        """By what people do, not by the app that happens to hold the model."""
        apps = super().get_app_list(request, app_label)
        if app_label is not None:
            return apps
        models = {model["object_name"]: model for app in apps for model in app["models"]}
        return [
            {
                "name": name,
                "app_label": group,
                "app_url": reverse("admin:index"),
                "has_module_perms": True,
                "models": [models[name] for name in names if name in models],
            }
            for group, (name, names) in MENU.items()
            if models.keys() & set(names)
        ]

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        from members.mail.dashboard import overview  # models are not ready when the site is made

        from .dashboard import cards

        context = {"cards": cards(request), "sending": overview(request)}
        return super().index(request, {**context, **(extra_context or {})})
