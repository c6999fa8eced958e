"""The catalogue on the dashboard: charts, the last imports, what waits."""

from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from project.admin.charts import Bar, BarChart, month_chart, remembered_chart
from project.admin.display import bounded
from project.jobs.models import State

from .models import Book, Import, latest_year

LAST_IMPORTS = 5
DECADES = 12  # and one bar for what is older


def catalogue_charts() -> list[str]:
    books = Book.objects.all()
    return [
        remembered_chart("books:months", books, growth),
        remembered_chart("books:decades", books, decades),
    ]


def waiting(request: HttpRequest) -> list[tuple[str, str]]:
    """What the catalogue waits for, each with the list that shows it."""
    found = []
    books = reverse("admin:library_book_changelist")
    if may_import(request):
        something = Q(found__new__gt=0) | Q(found__changed__gt=0)
        number = Import.objects.filter(something, state=State.EXAMINED).count()
        text = ngettext("%d import to confirm", "%d imports to confirm", number) % number
        found += [(text, f"{reverse('admin:library_import_changelist')}?state=examined")] * bool(
            number
        )
    if request.user.has_perm("library.view_book") and not settings.REQUIRE_ISBN:
        bare = bounded(Book.objects.filter(isbn=None))
        if bare != "0":
            found.append((_("Books without ISBN: %s") % bare, f"{books}?has_isbn=no"))
    return found


def last_imports(request: HttpRequest) -> list[Import]:
    if not may_import(request):
        return []
    return list(Import.objects.select_related("user").defer("reading")[:LAST_IMPORTS])


def may_import(request: HttpRequest) -> bool:
    return request.user.has_perms(["library.add_book", "library.change_book"])


def growth() -> BarChart:
    url = reverse("admin:library_book_changelist")
    return month_chart(_("Books added by month"), _("books"), Book.objects.all(), "created_at", url)


def decades() -> BarChart:
    """By the index of years alone."""
    url = reverse("admin:library_book_changelist")
    last = latest_year() // 10 * 10
    first = last - 10 * (DECADES - 1)
    numbers = dict.fromkeys(range(first - 10, last + 1, 10), 0)
    by_year = Book.objects.order_by().values_list("publication_year").annotate(Count("pk"))
    for year, number in by_year:
        decade = max(year // 10 * 10, first - 10)
        if decade in numbers:  # the column takes later years than forms do
            numbers[decade] += number
    bars: list[Bar] = []
    for decade, number in numbers.items():
        if not (number or bars):
            continue  # no book is as old
        years = f"years_to={decade + 9}"
        label = _("before %(year)d") % {"year": first}
        if decade >= first:
            years = f"years_from={decade}&{years}"
            label = f"{decade} – {decade + 9}"
        tick = "" if (last - decade) % 20 else str(decade)
        if decade < first:
            tick = f"<{first}"
        elif decade == first + 10 and numbers[first - 10]:
            tick = ""  # no room beside the one of what is older
        bars.append(Bar(label, [number], tick, f"{url}?{years}"))
    return BarChart(_("Books by decade of publication"), _("Decade"), [_("books")], bars)
