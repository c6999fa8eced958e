from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from library.admin import BookForm, SearchPaginator
from library.models import Book
from project.tests.forms import filled

LIST = reverse("admin:library_book_changelist")
ADD = reverse("admin:library_book_add")
DUNE = {"title": "Dune", "author": "Frank Herbert", "publication_year": 1965}
pytestmark = pytest.mark.django_db


@pytest.fixture
def staff_client(client, staff):
    client.force_login(staff)
    return client


def book(number: int = 0, **fields) -> Book:
    isbns = ["9780340839935", "9780375508325", "9780486266893", "9780143058144"]
    return Book.objects.create(**DUNE | {"isbn": isbns[number]} | fields)


@pytest.mark.parametrize(
    "spelling", ["978-0-340-83993-5", "9780340839935", "0340839937", "ISBN 978–0–340–83993–5"]
)
def test_any_spelling_of_an_isbn_is_taken_and_shown_hyphenated(staff_client, spelling):
    response = staff_client.post(ADD, DUNE | {"isbn": spelling})
    assert response.status_code == 302
    saved = Book.objects.get()
    assert saved.isbn == "9780340839935"
    assert "978-0-340-83993-5" in staff_client.get(LIST).content.decode()
    form = staff_client.get(reverse("admin:library_book_change", args=[saved.pk]))
    assert 'value="978-0-340-83993-5"' in form.content.decode()


def test_a_wrong_check_digit_is_explained_and_nothing_lost(staff_client):
    response = staff_client.post(ADD, DUNE | {"isbn": "978-0-340-83993-6"})
    html = response.content.decode()
    assert "The check digit should be 5, not 6" in html
    assert 'value="978-0-340-83993-6"' in html
    assert 'value="Frank Herbert"' in html
    assert not Book.objects.exists()


def test_a_duplicate_links_to_the_book_that_is_there(staff_client):
    first = book()
    html = staff_client.post(ADD, DUNE | {"isbn": "0340839937"}).content.decode()
    link = reverse("admin:library_book_change", args=[first.pk])
    assert f'<a href="{link}">Dune</a>' in html


def test_a_duplicate_saved_at_the_same_moment_is_a_form_error(staff_client, monkeypatch):
    book()
    check = BookForm.clean_isbn
    looks = []

    def not_there_yet_at_the_first_look(form):
        looks.append(form)
        return check(form) if len(looks) > 1 else form.cleaned_data["isbn"]

    monkeypatch.setattr(BookForm, "clean_isbn", not_there_yet_at_the_first_look)
    monkeypatch.setattr(BookForm, "validate_unique", lambda form: None)
    response = staff_client.post(ADD, DUNE | {"isbn": "9780340839935", "title": "Other"})
    assert response.status_code == 200
    assert "already in the catalogue" in response.content.decode()
    assert Book.objects.get().title == "Dune"


def test_the_title_of_a_duplicate_is_text_and_no_html(staff_client):
    book(title="<b>Dune</b>")
    html = staff_client.post(ADD, DUNE | {"isbn": "0340839937"}).content.decode()
    assert "&lt;b&gt;Dune&lt;/b&gt;" in html
    assert "<b>Dune" not in html


@pytest.mark.parametrize("year", ["0", "-5", "9999", "soon", ""])
def test_an_impossible_year_is_a_form_error(staff_client, year):
    response = staff_client.post(ADD, DUNE | {"isbn": "9780340839935", "publication_year": year})
    assert response.status_code == 200
    assert not Book.objects.exists()


def test_saving_a_form_as_it_was_changes_nothing(staff_client):
    saved = book()
    change = reverse("admin:library_book_change", args=[saved.pk])
    staff_client.post(change, filled(staff_client.get(change)))
    assert LogEntry.objects.get().change_message == "[]"


@pytest.mark.parametrize(
    ("words", "found"), [("dune", 2), ("herbert messiah", 1), ("mess", 1), ("asimov", 0)]
)
def test_search_is_by_words_of_title_and_author(staff_client, words, found):
    book()
    book(1, title="Dune Messiah")
    assert len(staff_client.get(LIST, {"q": words}).context["cl"].result_list) == found


def test_search_finds_an_isbn_in_any_spelling_and_explains_a_wrong_one(staff_client):
    saved = book()
    assert list(staff_client.get(LIST, {"q": "0-340-83993-7"}).context["cl"].result_list) == [saved]
    html = staff_client.get(LIST, {"q": "0-340-83993-8"}).content.decode()
    assert "The check digit should be 7, not 8" in html


def test_best_matches_come_first_unless_a_column_is_clicked(staff_client):
    book(title="A Guide to Everything about Dune")
    short = book(1, title="Dune")
    assert staff_client.get(LIST, {"q": "dune"}).context["cl"].result_list[0] == short
    by_title = staff_client.get(LIST, {"q": "dune", "o": "1"}).context["cl"].result_list
    assert [row.title for row in by_title] == ["A Guide to Everything about Dune", "Dune"]


def test_no_column_is_marked_as_sorted_while_the_best_matches_come_first(staff_client):
    def sorted_columns(**chosen):
        return staff_client.get(LIST, chosen).context["cl"].get_ordering_field_columns()

    assert sorted_columns(q="dune") == {}
    assert sorted_columns(q="dune", o="-3") == {3: "desc"}
    assert sorted_columns(o="2") == {2: "asc"}
    assert sorted_columns() == {1: "asc"}


def test_each_column_sorts_by_what_it_shows(staff_client):
    first = book(3, title="C", author="B", publication_year=1)
    middle = book(1, title="A", author="C", publication_year=2)
    last = book(2, title="B", author="A", publication_year=3)
    now = timezone.now()
    for days, saved in enumerate([middle, last, first]):
        Book.objects.filter(pk=saved.pk).update(
            created_at=now + timedelta(days), updated_at=now - timedelta(days)
        )
    expected = {
        "1": [middle, last, first],
        "2": [last, first, middle],
        "3": [first, middle, last],
        "4": [first, middle, last],
        "5": [middle, last, first],
    }
    assert first.isbn < middle.isbn < last.isbn
    for column, books in expected.items():
        assert list(staff_client.get(LIST, {"o": column}).context["cl"].result_list) == books
        assert (
            list(staff_client.get(LIST, {"o": f"-{column}"}).context["cl"].result_list)
            == books[::-1]
        )


@pytest.mark.parametrize(
    ("chosen", "years"),
    [
        ({"years_from": "1965"}, [1965, 1966]),
        ({"years_to": "1965"}, [1964, 1965]),
        ({"years_from": "1965", "years_to": "1965"}, [1965]),
        ({"years_from": "1966", "years_to": "1964"}, []),
        ({"years_from": "", "years_to": " "}, [1964, 1965, 1966]),
        ({"years_from": "soon", "years_to": "99999999999999999999"}, [1964, 1965, 1966]),
    ],
)
def test_a_span_of_years_holds_its_first_and_its_last(staff_client, chosen, years):
    for number, year in enumerate((1964, 1965, 1966)):
        book(number, publication_year=year)
    rows = staff_client.get(LIST, chosen).context["cl"].result_list
    assert sorted(row.publication_year for row in rows) == years


def test_the_author_filter_finds_authors_by_their_words(staff_client):
    saved = book()
    book(1, author="Brian Herbert", title="Frank")
    for words in ({}, {"q": "dune"}, {"q": "dune", "o": "1"}):
        found = staff_client.get(LIST, {"author": "herbert FRANK", **words}).context["cl"]
        assert list(found.result_list) == [saved]
        assert found.counted == "1 book"


def test_authors_are_suggested_from_the_catalogue_by_number_of_books(staff_client):
    for number, author in enumerate(["Brian Herbert", "Frank Herbert", "Frank Herbert"]):
        book(number, author=author, title="Zelazny")
    address = reverse("admin:library_book_authors")
    assert staff_client.get(address, {"q": "herb"}).json()["values"] == [
        "Frank Herbert",
        "Brian Herbert",
    ]
    for text in ("zelaz", "herb frank", "", "…"):
        assert staff_client.get(address, {"q": text}).json()["values"] == []
    staff_client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert staff_client.get(address, {"q": "herb"}).status_code == 403


def test_the_changed_filter_is_about_the_last_change(staff_client):
    old, new = book(), book(1)
    Book.objects.filter(pk=old.pk).update(updated_at=timezone.now() - timedelta(days=9))
    assert list(staff_client.get(LIST, {"changed": "7"}).context["cl"].result_list) == [new]


def test_a_search_for_nothing_offers_the_nearest_words_and_keeps_the_filters(staff_client):
    book(title="Dune Messiah")
    html = staff_client.get(LIST, {"q": "dune mesiah", "added": "7"}).content.decode()
    assert "Nothing for “dune mesiah”." in html
    assert 'Did you mean “<a href="?added=7&amp;q=dune+messiah">dune messiah</a>”?' in html
    assert "Did you mean" not in staff_client.get(LIST, {"q": "<b>qqqqq"}).content.decode()


def test_the_last_days_filter_is_about_when_books_were_added(staff_client):
    old, new = book(), book(1)
    past = timezone.now() - timedelta(days=9)
    Book.objects.filter(pk=old.pk).update(created_at=past)
    Book.objects.filter(pk=new.pk).update(updated_at=past)
    assert list(staff_client.get(LIST, {"added": "7"}).context["cl"].result_list) == [new]


def test_times_are_those_of_the_library(staff_client, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    saved = book()
    late = datetime(2026, 3, 4, 20, tzinfo=UTC)
    Book.objects.filter(pk=saved.pk).update(created_at=late, updated_at=late + timedelta(days=9))
    html = staff_client.get(LIST).content.decode()
    assert ">5 Mar 2026<" in html
    page = staff_client.get(reverse("admin:library_book_change", args=[saved.pk])).content.decode()
    assert "5 Mar 2026, 05:00" in page
    assert "14 Mar 2026, 05:00" in page


def test_the_page_of_a_new_book_asks_for_its_four_fields(staff_client):
    html = staff_client.get(ADD).content.decode()
    title, isbn = (
        next(part for part in html.split("<input") if f'name="{name}"' in part).partition(">")[0]
        for name in ("title", "isbn")
    )
    assert "autofocus" in title
    assert 'placeholder="978' in isbn
    assert "field-created_at" not in html


def test_filter_search_and_order_survive_together(staff_client):
    book(publication_year=1965)
    book(1, publication_year=2021)
    chosen = {"years_from": "1950", "years_to": "1999", "added": "7", "q": "dune", "o": "-3"}
    rows = staff_client.get(LIST, chosen).context["cl"].result_list
    assert [row.publication_year for row in rows] == [1965]


def test_a_search_never_counts_past_its_bound(staff_client, monkeypatch):
    monkeypatch.setattr(SearchPaginator, "MAX_ROWS", 2)
    for number in range(4):
        book(number, title=f"Dune {number}")
    page = staff_client.get(LIST, {"q": "dune", "size": "25"})
    assert page.context["cl"].counted == "2+ books"
    assert len(page.context["cl"].result_list) == 4
    assert staff_client.get(LIST).context["cl"].counted == "4 books"


@pytest.mark.parametrize("words", [{"q": "dune"}, {"author": "herbert"}, {"q": "x", "author": "x"}])
def test_what_is_found_is_counted_alike_in_any_order(staff_client, words):
    for number in range(3):
        book(number)
    counts = {
        staff_client.get(LIST, {**words, **order}).context["cl"].counted
        for order in ({}, {"o": "1"}, {"o": "-3"}, {"years_from": "1965"})
    }
    assert counts == {"3 books" if "x" not in words.values() else "0 books"}


def test_deleting_asks_about_books_and_not_about_the_word_index(staff_client):
    saved = book()
    page = staff_client.get(reverse("admin:library_book_delete", args=[saved.pk])).content.decode()
    assert "Dune" in page
    assert "word" not in page.partition('id="content-main"')[2].lower().replace("password", "")
    staff_client.post(
        LIST, {"action": "delete_selected", "_selected_action": saved.pk, "confirmed": "1"}
    )
    assert not Book.objects.exists()


def test_an_empty_catalogue_says_what_to_do(staff_client):
    html = staff_client.get(LIST).content.decode()
    assert "Nothing here yet." in html
    assert f'href="{ADD}"' in html


@pytest.mark.parametrize("rows", [1, 4])
def test_the_list_costs_the_same_for_many_rows(staff_client, rows, django_assert_max_num_queries):
    for number in range(rows):
        book(number)
    with django_assert_max_num_queries(4):  # session, account, count, rows
        staff_client.get(LIST)


def test_the_list_is_sorted_as_its_index_is(staff_client):
    book()
    sql = str(staff_client.get(LIST, {"o": "1"}).context["cl"].queryset.query)
    assert (
        sql.endswith('"title" ASC, "library_book"."id" ASC')
        or "ASC, `library_book`.`id` ASC" in sql
    )


def test_without_the_permission_the_catalogue_is_closed(client):
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.get(LIST).status_code == 403


def test_the_lists_of_changes_keep_an_isbn_on_one_line(staff_client):
    saved = book(author="<b>")
    saved.isbn = "9780375508325"
    saved.save()
    for name in ("activity", "library_historicalbook_changelist"):
        html = staff_client.get(reverse(f"admin:{name}")).content.decode()
        old, new = (
            f'<span class="text-nowrap">{isbn}</span>'
            for isbn in ("978-0-340-83993-5", "978-0-375-50832-5")
        )
        assert f"{old} → {new}" in html
        assert f"&lt;b&gt; · 1965 · {old}" in html
