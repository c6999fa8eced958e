"""The look of the admin: django-jazzmin's settings."""

from typing import Any

from django.utils.translation import gettext_lazy as _

JAZZMIN_SETTINGS: dict[str, Any] = {
    "site_title": _("Library desk"),
    "site_header": _("Library desk"),
    "site_brand": _("Library desk"),
    "site_logo": "project/logo.svg",
    "site_icon": "project/favicon.png",
    "welcome_sign": _("Log in to the library desk"),
    # By the groups of project.admin.site.MENU.
    "icons": {
        "catalogue.book": "fas fa-book",
        "catalogue.historicalbook": "fas fa-history",
        "catalogue.import": "fas fa-file-import",
        "catalogue.bulkchange": "fas fa-layer-group",
        "membership.member": "fas fa-id-card",
        "membership.memberimport": "fas fa-file-import",
        "membership.historicalmember": "fas fa-history",
        "operations.welcomeemail": "fas fa-envelope",
        "operations.taskresult": "fas fa-tasks",
        "administration.user": "fas fa-user",
        "administration.group": "fas fa-user-friends",
        "administration.authtoken": "fas fa-key",
    },
    "custom_css": "project/admin.css",
    "custom_js": "project/admin.js",
}
