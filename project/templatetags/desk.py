"""What the frame of the admin's pages needs beside its context."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import template
from django.contrib import admin
from django.contrib.admin.templatetags.admin_urls import admin_urlquote
from django.template import Context
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext as _

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


@register.simple_tag
def list_rows(
    cl: BaseChangeList, headers: list[dict[str, Any]], rows: Iterable[list[str]]
) -> SafeString:
    """The rows of a list. A phone shows them without a head, so some cells carry their column's
    name, and empty ones say that they are.
    """
    named = cl.model_admin.columns_named_on_phone  # type: ignore[attr-defined]  # BaseAdmin's
    marks = [
        f'<td data-label="{escape(capfirst(header["text"]))}"' if column in named else ""
        for column, header in zip(cl.list_display, headers, strict=False)
    ]
    html = "".join(f"<tr>{''.join(map(_marked, row, marks))}</tr>\n" for row in rows)
    return SafeString(html)  # nosec  # Django has escaped the cells


def _marked(cell: str, mark: str) -> str:
    if cell.endswith((">–</td>", ">-</td>")):
        return cell.replace("<td", "<td data-empty", 1)
    return cell.replace("<td", mark, 1) if mark else cell


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
