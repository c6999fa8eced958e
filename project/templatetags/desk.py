"""What the frame of the admin's pages needs beside its context."""

from datetime import datetime
from typing import Any

from django import template
from django.contrib import admin
from django.contrib.admin.templatetags.admin_list import result_headers
from django.contrib.admin.templatetags.admin_urls import admin_urlquote
from django.template import Context
from django.urls import reverse
from django.utils import timezone
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext as _

from project.admin.cells import rows_of
from project.admin.display import moment
from project.admin.lists import BaseChangeList
from project.admin.site import group_of
from project.base.accounts import person_name

register = template.Library()
register.filter(person_name)
MAX_TITLE_LENGTH = 60  # characters of a record's title in the breadcrumb


@register.filter
def time_with_seconds(value: datetime) -> str:
    """As other pages write a time; attempts may be seconds apart."""
    return moment(value) + timezone.localtime(value).strftime(":%S")


@register.inclusion_tag("admin/change_list_results.html")
def list_table(cl: BaseChangeList) -> dict[str, Any]:
    headers = list(result_headers(cl))
    return {"headers": headers, "rows": rows_of(cl, [capfirst(str(h["text"])) for h in headers])}


@register.inclusion_tag("admin/includes/breadcrumbs.html", takes_context=True)
def breadcrumbs(context: Context) -> dict[str, Any]:
    """Dashboard, the menu's group, its list, the record; then the page itself."""
    crumbs = [(reverse("admin:index"), _("Dashboard"))]
    title = str(context.get("title") or "")
    if opts := context.get("opts"):
        page: Any = admin.site._registry[opts.model]
        if group := group_of(opts.object_name):
            slug, name = group
            crumbs.append((reverse("admin:section", args=[slug]), str(name)))
        list_name = f"admin:{opts.app_label}_{opts.model_name}_changelist"
        crumbs.append((reverse(list_name), capfirst(page.opts.verbose_name_plural)))
        if record := context.get("original") or context.get("object"):
            name = f"admin:{opts.app_label}_{opts.model_name}_change"
            url = reverse(name, args=[admin_urlquote(record.pk)])
            crumbs.append((url, Truncator(page.name_of(record)).chars(MAX_TITLE_LENGTH)))
        # A list's address also shows what its actions ask, and the deleted records.
        url, name = crumbs[-1]
        if url == context["request"].path and (record or title == name):
            crumbs.pop()
    elif "section" in context:
        title = str(context["section"]["name"])
    elif context["request"].path == crumbs[0][0]:
        crumbs = []
    return {"crumbs": crumbs, "here": Truncator(title).chars(MAX_TITLE_LENGTH)}
