"""The cells of a list: what is the same in a whole column is looked up once."""

from collections.abc import Sequence
from datetime import date, time
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import display_for_field, display_for_value
from django.core.exceptions import FieldDoesNotExist
from django.db.models import DateField, Field
from django.utils.html import conditional_escape, escape
from django.utils.safestring import SafeString

if TYPE_CHECKING:
    from .lists import BaseChangeList


class Column:
    """A field, a method of the page, or a function; as Django's items_for_result() shows it.

    Django does all this again for each cell, in half of the time that a list takes. Columns that
    are edited or picked from (list_editable, raw_id_fields) are not supported.
    """

    def __init__(self, cl: "BaseChangeList", name: Any, label: str) -> None:
        page: Any = cl.model_admin
        try:
            self.field: Field | None = cl.opts.get_field(name)  # type: ignore[assignment]
            self.value_of: Any = attrgetter(name)
        except FieldDoesNotExist:
            self.field = None
            self.value_of = name if callable(name) else getattr(page, name)
        self.is_boolean = getattr(self.value_of, "boolean", False)
        self.empty = getattr(self.value_of, "empty_value_display", page.get_empty_value_display())
        self.has_choices = bool(self.field and self.field.choices)
        self.css = f"field-{getattr(name, '__name__', name)}"
        if name == "action_checkbox":
            self.css = "action-checkbox"
        elif isinstance(self.field, DateField):
            self.css += " nowrap"
        # A phone shows the cells without a head.
        self.label = f' data-label="{escape(label)}"' if name in page.columns_named_on_phone else ""
        links = cl.list_display_links or ()
        self.url_of = cl.url_for_result if name in links else None
        self.tag = "th" if name in links[:1] else "td"

    def cell(self, row: Any) -> str:
        value, css, mark = self.value_of(row), self.css, self.label
        if isinstance(value, str) and not self.has_choices:
            text = value if value.strip() else self.empty
        elif self.field:
            text = display_for_field(value, self.field, self.empty, avoid_link=bool(self.url_of))
        else:
            text = display_for_value(value, self.empty, self.is_boolean)
            if isinstance(value, date | time):
                css += " nowrap"
        text = conditional_escape(text)
        if self.url_of:
            return f'<{self.tag} class="{css}"><a href="{self.url_of(row)}">{text}</a></{self.tag}>'
        if text in ("–", "-"):
            mark = " data-empty"
        return f'<td{mark} class="{css}">{text}</td>'


def rows_of(cl: "BaseChangeList", labels: Sequence[str]) -> SafeString:
    """The body of the table; a label names each column."""
    columns = [Column(cl, *column) for column in zip(cl.list_display, labels, strict=True)]
    html = "".join(
        f"<tr>{''.join([column.cell(row) for column in columns])}</tr>\n" for row in cl.result_list
    )
    return SafeString(html)  # nosec  # its parts are escaped
