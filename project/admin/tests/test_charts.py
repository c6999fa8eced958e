"""Charts: what they count, where the bars stand, and that the table says the same."""

from datetime import date, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.urls import reverse
from django.utils import timezone

from library.dashboard import catalogue_charts, decades, growth
from library.filters import MAX_YEAR
from library.models import Book
from library.tests.books import add
from project.admin import charts
from project.admin.charts import Bar, BarChart, count_by_day, midnight, months_to, tick_step


@pytest.mark.parametrize(
    ("highest", "step"),
    [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (9, 5), (20, 5), (21, 10), (801, 500), (3000, 1000)],
)
def test_the_axis_has_few_round_ticks(highest, step):
    assert tick_step(highest) == step


def test_one_small_bar_does_not_fill_the_chart():
    chart = BarChart("Books", "Year", ["books"], [Bar("1999", [5])])
    assert chart.top == 6
    assert [(tick.value, tick.y) for tick in chart.ticks] == [
        (0, "100.000%"),
        (2, "66.667%"),
        (4, "33.333%"),
        (6, "0.000%"),
    ]


def test_series_stand_on_one_another():
    bars = [Bar("Monday", [12, 3]), Bar("Tuesday", [0, 5])]
    first, second = BarChart("Mails", "Day", ["sent", "failed"], bars).columns()
    assert [(s.series, s.x, s.y, s.width, s.height) for s in first.segments] == [
        (0, "7.500%", "20.000%", "35.000%", "80.000%"),
        (1, "7.500%", "0.000%", "35.000%", "20.000%"),
    ]
    assert [(s.series, s.y) for s in second.segments] == [(1, "66.667%")]  # nothing has no outline
    assert (first.title, first.middle) == ("Monday: sent 12, failed 3", "25.000%")


def test_the_table_says_what_the_picture_shows_and_links_each_number():
    bars = [Bar("Monday", [1200], url="/monday/"), Bar("Tuesday", [7])]
    html = BarChart("Mails", "Day", ["sent"], bars).html()
    table = html[html.index("<table") :]
    assert '<a href="/monday/">Monday</a></th><td class="text-end">1,200</td>' in table
    assert '<th scope="row">Tuesday</th><td class="text-end">7</td>' in table
    assert 'aria-hidden="true"' in html[: html.index("<details")]


def test_a_chart_of_nothing_is_not_shown():
    assert not BarChart("Books", "Year", ["books"], [Bar("1999", [0])]).html()
    assert not BarChart("Books", "Year", ["books"], []).html()


@pytest.mark.parametrize(
    ("today", "first", "last", "after"),
    [
        (date(2026, 11, 24), date(2025, 12, 1), date(2026, 11, 1), date(2026, 12, 1)),
        (date(2026, 12, 31), date(2026, 1, 1), date(2026, 12, 1), date(2027, 1, 1)),
        (date(2026, 1, 1), date(2025, 2, 1), date(2026, 1, 1), date(2026, 2, 1)),
    ],
)
def test_twelve_months_end_with_this_one(today, first, last, after):
    months = months_to(today)
    assert len(months) == 13
    assert (months[0], months[-2], months[-1]) == (first, last, after)


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Auckland"])
def test_a_period_is_from_midnight_to_midnight_at_the_desk(settings, zone):
    settings.TIME_ZONE = zone
    days = [date(2026, 10, 1), date(2026, 11, 1), date(2026, 11, 2)]
    for moment in (
        midnight(days[0]) - timedelta(microseconds=1),
        midnight(days[0]),
        midnight(days[1]) - timedelta(microseconds=1),
        midnight(days[1]),
        midnight(days[2]),
    ):
        Book.objects.filter(pk=add().pk).update(created_at=moment)
    assert count_by_day(Book.objects.all(), "created_at", days) == {days[0]: 2, days[1]: 1}


def counts(chart: BarChart) -> dict[str, int]:
    return {bar.label: bar.values[0] for bar in chart.bars}


@pytest.mark.django_db
def test_books_are_counted_by_month_and_decade_and_each_number_opens_its_list(staff, client):
    for year in (1868, 1909, 1910, 1919, 2026):
        add(publication_year=year)
    by_month, by_decade = growth(), decades()
    assert by_month.bars[-1].values == [5]
    assert sum(bar.values[0] for bar in by_month.bars) == 5
    first = by_decade.bars[0]
    assert first.label == f"before {by_decade.bars[1].label[:4]}"
    assert sum(bar.values[0] for bar in by_decade.bars) == 5
    client.force_login(staff)
    for chart in (by_month, by_decade):
        for bar in chart.bars:
            page = client.get(bar.url)
            assert page.context["cl"].result_count == bar.values[0], bar.label
            assert urlsplit(bar.url).path == reverse("admin:library_book_changelist")
            assert parse_qsl(urlsplit(bar.url).query)


@pytest.mark.django_db
def test_decades_begin_with_the_first_book(settings):
    add(publication_year=1995)
    add(publication_year=2001)
    assert list(counts(decades()).items())[:2] == [("1990 – 1999", 1), ("2000 – 2009", 1)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("oldest", "ticks"),
    [(1868, ["<1910", "", "", "", "1940", ""]), (1910, ["", "1920", "", "1940"])],
)
def test_labels_of_decades_have_room(oldest, ticks, monkeypatch):
    monkeypatch.setattr("library.dashboard.latest_year", lambda: 2027)
    add(publication_year=oldest)
    shown = [bar.tick for bar in decades().bars]
    assert shown[: len(ticks)] == ticks
    assert shown[-3:] == ["2000", "", "2020"]


@pytest.mark.django_db
def test_a_year_in_the_far_future_leaves_the_chart_alone():
    add(publication_year=2001)
    add(publication_year=MAX_YEAR)
    assert sum(counts(decades()).values()) == 1


@pytest.mark.django_db
def test_a_small_catalogue_shows_changes_at_once_and_a_large_one_is_counted_once_an_hour(
    monkeypatch,
):
    stored = []
    monkeypatch.setattr(
        charts, "remembered", lambda key, seconds, find: stored.append(seconds(find()))
    )
    add()
    add()
    catalogue_charts()
    monkeypatch.setattr("project.admin.base.CappedPaginator.MAX_ROWS", 1)
    catalogue_charts()
    assert stored == [10, 10, 3600, 3600]


def test_midnight_knows_the_zone(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    assert midnight(date(2026, 7, 1)) == timezone.make_aware(datetime(2026, 7, 1))
