"""Bar charts drawn on the server: SVG for the eye, a table with links for everybody else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.db import connection
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from project.base.cache import remembered

from .base import CappedPaginator

MAX_TICKS = 4  # of the vertical axis, zero not counted
BAR_SHARE = 0.7  # of a column's width
MONTHS = 12


@dataclass
class Bar:
    """One column: its values are stacked in the order of the chart's series."""

    label: str
    values: Sequence[int]
    tick: str = ""  # below the axis
    url: str = ""  # of the list that it counts


class Segment(NamedTuple):
    """Positions and lengths are percentages of the plot, as SVG attributes."""

    x: str
    y: str
    width: str
    height: str
    series: int


class Column(NamedTuple):
    bar: Bar
    title: str
    x: str
    middle: str
    width: str
    segments: list[Segment]


class Series(NamedTuple):
    name: str
    total: int


class Tick(NamedTuple):
    y: str
    value: int


class BarChart:
    """`heading` names what the bars are, above the table's first column."""

    def __init__(
        self, title: str, heading: str, series: Sequence[str], bars: Sequence[Bar]
    ) -> None:
        self.title, self.heading, self.bars = title, heading, bars
        self.series = [
            Series(name, sum(bar.values[number] for bar in bars))
            for number, name in enumerate(series)
        ]
        highest = max((sum(bar.values) for bar in bars), default=0)
        step = tick_step(highest)
        self.top = max(-(-highest // step), 1) * step
        self.ticks = [
            Tick(percent(1 - value / self.top), value) for value in range(0, self.top + 1, step)
        ]

    def html(self) -> str:
        """Empty if there is nothing to show."""
        if not any(series.total for series in self.series):
            return ""
        return render_to_string("admin/chart.html", {"chart": self})

    def columns(self) -> list[Column]:
        width = 1 / max(len(self.bars), 1)
        inset = width * (1 - BAR_SHARE) / 2
        columns = []
        for number, bar in enumerate(self.bars):
            x, below, segments = number * width, 0, []
            for series, value in enumerate(bar.values):
                below += value
                y, height = percent(1 - below / self.top), percent(value / self.top)
                if value:  # its outline would show
                    across = percent(x + inset), y, percent(width * BAR_SHARE), height
                    segments.append(Segment(*across, series))
            middle = percent(x + width / 2)
            columns.append(
                Column(bar, self._title(bar), percent(x), middle, percent(width), segments)
            )
        return columns

    def _title(self, bar: Bar) -> str:
        numbers = [number_format(value, force_grouping=True) for value in bar.values]
        if len(numbers) > 1:
            names = [series.name for series in self.series]
            numbers = [f"{name} {number}" for name, number in zip(names, numbers, strict=True)]
        return f"{bar.label}: {', '.join(numbers)}"


# How long a chart stands, in seconds: counting a million rows takes a third of a second, and a small
# collection shows at once what changed.
CHART_SECONDS, LARGE_CHART_SECONDS = 10, 3600


def remembered_chart(key: str, rows: QuerySet, draw: Callable[[], BarChart]) -> str:
    """Its HTML, which takes longer to write than the rest of the dashboard."""

    def seconds(html: str) -> int:
        return LARGE_CHART_SECONDS if CappedPaginator(rows, 1).capped else CHART_SECONDS

    return remembered(f"chart-html:{key}:{get_language()}", seconds, lambda: draw().html())


def percent(share: float) -> str:
    return f"{share * 100:.3f}%"


def tick_step(highest: int) -> int:
    """1, 2 or 5 times a power of ten, so that at most MAX_TICKS of them reach the highest."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if step * MAX_TICKS >= highest:
                return step
        power *= 10


def count_by_day(rows: QuerySet, column: str, days: Sequence[date]) -> dict[date, int]:
    """How many rows have their time in `column` from each day to the next one of the list.

    The last day ends the last period. One query by ranges of the column's index: MySQL truncates
    times to days only with its tables of time zones. The ORM would take longer to write each range
    than the database to count it, so it writes the first one.
    """
    periods = [(midnight(first), midnight(after)) for first, after in pairwise(days)]
    first, after = periods[0]
    some = rows.order_by().filter(**{f"{column}__gte": first, f"{column}__lt": after})
    sql, (*others, _from, _until) = some.values("pk").query.sql_with_params()
    count = f"(SELECT COUNT(*) FROM ({sql}) period)"  # nosec
    parameters: list[Any] = []
    for period in periods:
        parameters += [*others, *map(connection.ops.adapt_datetimefield_value, period)]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join([count] * len(periods))}", parameters)
        return dict(zip(days, cursor.fetchone(), strict=False))


def months_to(today: date) -> list[date]:
    """The first days of the last MONTHS months, and of the next one."""
    number = today.year * 12 + today.month
    return [date(month // 12, month % 12 + 1, 1) for month in range(number - MONTHS, number + 1)]


def midnight(day: date) -> datetime:
    return timezone.make_aware(datetime(day.year, day.month, day.day))


def days_to(today: date, number: int) -> list[date]:
    """The last so many days, and tomorrow."""
    return [today - timedelta(days=back) for back in range(number - 1, -2, -1)]


def month_chart(title: str, series: str, rows: QuerySet, column: str, url: str) -> BarChart:
    """Of the rows whose time in `column` is in each of the last MONTHS months."""
    months = months_to(timezone.localdate())
    counted = count_by_day(rows, column, months)
    bars = []
    for first, after in pairwise(months):
        period = {f"{column}__gte": midnight(first), f"{column}__lt": midnight(after)}
        query = urlencode({name: moment.isoformat() for name, moment in period.items()})
        label = date_format(first, "YEAR_MONTH_FORMAT")
        bars.append(Bar(label, [counted[first]], date_format(first, "M"), f"{url}?{query}"))
    return BarChart(title, _("Month"), [series], bars)
