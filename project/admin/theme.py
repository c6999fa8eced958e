"""The look of the admin: django-jazzmin's settings."""

from typing import Any

from django.utils.translation import gettext_lazy as _

JAZZMIN_SETTINGS: dict[str, Any] = {
    "site_title": _("Library desk"),
    "site_header": _("Library desk"),
    "site_brand": _("Library desk"),
    "site_logo": "project/logo.svg",
    "site_logo_classes": "",
    "site_icon": "project/favicon.png",
    "welcome_sign": _("Log in to the library desk"),
    "copyright": "Library desk",
    "use_google_fonts_cdn": False,
    "topmenu_links": [
        {"name": _("API documentation"), "url": "swagger-ui"},
    ],
    # Groups and their models: project.admin.site.LibraryAdminSite.
    "icons": {
        "catalogue": "fas fa-book-open",
        "catalogue.book": "fas fa-book",
        "catalogue.historicalbook": "fas fa-history",
        "catalogue.import": "fas fa-file-import",
        "catalogue.bulkchange": "fas fa-layer-group",
        "membership": "fas fa-users",
        "membership.member": "fas fa-id-card",
        "membership.memberimport": "fas fa-file-import",
        "membership.historicalmember": "fas fa-history",
        "operations": "fas fa-heartbeat",
        "operations.welcomeemail": "fas fa-envelope",
        "operations.taskresult": "fas fa-tasks",
        "administration": "fas fa-cog",
        "administration.user": "fas fa-user",
        "administration.group": "fas fa-user-friends",
        "administration.authtoken": "fas fa-key",
    },
    "custom_css": "project/admin.css",
    "custom_js": "project/admin.js",
    "changeform_format": "single",
    "show_theme_chooser": True,
    "language_chooser": True,
}
JAZZMIN_UI_TWEAKS: dict[str, Any] = {
    "default_theme_mode": "auto",
    "navbar_fixed": True,
    "sidebar_fixed": True,
    "accent": "accent-teal",
    "sidebar": "sidebar-dark-teal",
    "brand_colour": "navbar-dark",
    "button_classes": {
        "primary": "btn-primary",
        "secondary": "btn-outline-secondary",
        "info": "btn-outline-secondary",
        "warning": "btn-outline-secondary",
        "danger": "btn-outline-danger",
        "success": "btn-primary",
    },
}
