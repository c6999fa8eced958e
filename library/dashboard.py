"""The dashboard's charts of the catalogue."""

from django.db.models import Count
from django.urls import reverse
from django.utils.translation import gettext as _

from project.admin.charts import Bar, BarChart, month_chart, remembered_chart

from .models import Book, latest_year

DECADES = 12  # and one bar for what is older


def catalogue_charts() -> list[BarChart]:
    books = Book.objects.all()
    return [
        remembered_chart("books:months", books, _growth),
        remembered_chart("books:decades", books, _decades),
    ]


def _growth() -> BarChart:
    url = reverse("admin:library_book_changelist")
    return month_chart(_("Books added by month"), _("books"), Book.objects.all(), "created_at", url)


def _decades() -> BarChart:
    """By the index of years alone."""
    url = reverse("admin:library_book_changelist")
    last = latest_year() // 10 * 10
    first = last - 10 * (DECADES - 1)
    numbers = dict.fromkeys(range(first - 10, last + 1, 10), 0)
    by_year = Book.objects.order_by().values_list("publication_year").annotate(Count("pk"))
    for year, number in by_year:
        numbers[max(year // 10 * 10, first - 10)] += number
    bars: list[Bar] = []
    for decade, number in numbers.items():
        if not (number or bars):
            continue  # of before the first book
        years = f"years_to={decade + 9}"
        label = _("before %(year)d") % {"year": first}
        if decade >= first:
            years = f"years_from={decade}&{years}"
            label = f"{decade} – {decade + 9}"
        tick = str(decade) if decade >= first and decade % 20 == 0 else ""
        bars.append(Bar(label, [number], tick, f"{url}?{years}"))
    return BarChart(_("Books by decade of publication"), _("Decade"), [_("books")], bars)
