"""GET …/changes/: a copy that follows the feed ends equal to the original."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from threading import Event
from time import sleep

import pytest
from django.contrib.auth.models import Permission
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from library.models import Book
from library.tests.books import add, unsaved
from members.models import Member
from members.registration import register_member
from project.base import history
from project.base.database import is_lock_error
from project.base.history import Door, recorded_as

BOOKS, MEMBERS = "/api/v1/books/changes/", "/api/v1/members/changes/"


def told(answer) -> list[tuple[int, str]]:
    assert answer.status_code == 200, answer.json()
    return [(each["id"], each["change"]) for each in answer.json()["results"]]


@pytest.mark.django_db
def test_what_was_created_changed_and_deleted_is_told_in_its_order(api):
    dune, emma = add(title="Dune"), add(title="Emma")
    dune.title = "Dune Messiah"
    dune.save()
    emma_id = emma.pk
    emma.delete()
    answer = api.get(BOOKS)
    assert told(answer) == [
        (dune.pk, "created"),
        (emma_id, "created"),
        (dune.pk, "changed"),
        (emma_id, "deleted"),
    ]
    assert set(answer.json()) == {"next", "cursor", "results"}
    assert answer.json()["next"] is None
    assert answer.json()["results"][0]["at"].endswith("Z")


@pytest.mark.django_db
def test_a_cursor_tells_what_follows_and_can_be_asked_again_for_ever(api):
    assert api.get(BOOKS).json() == {"next": None, "cursor": "0", "results": []}
    first = add()
    cursor = api.get(BOOKS).json()["cursor"]
    nothing = api.get(BOOKS, {"cursor": cursor})
    assert (told(nothing), nothing.json()["cursor"]) == ([], cursor)
    second = add()
    for _ in range(2):
        assert told(api.get(BOOKS, {"cursor": cursor})) == [(second.pk, "created")]
    assert told(api.get(BOOKS, {"cursor": "0"})) == [(first.pk, "created"), (second.pk, "created")]


@pytest.mark.django_db
def test_pages_follow_each_other_without_a_gap(api):
    ids = [add().pk for _ in range(5)]
    answer, found = api.get(BOOKS, {"page_size": 2}), []
    while True:
        found += [pk for pk, _ in told(answer)]
        if answer.json()["next"] is None:
            break
        answer = api.get(answer.json()["next"])
    assert found == ids


@pytest.mark.django_db
@pytest.mark.parametrize("cursor", ["-1", "x", "1.0", "007", "２", "9" * 19, "1\n"])
def test_what_is_no_cursor_is_named(api, cursor):
    answer = api.get(BOOKS, {"cursor": cursor})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "cursor"


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["title=x", "count=true", "ordering=id", "page_size=1001"])
def test_the_feed_knows_cursor_and_page_size_only(api, query):
    assert api.get(f"{BOOKS}?{query}").status_code == 400


@pytest.mark.django_db
def test_a_cursor_of_a_database_that_was_set_back_is_gone(api):
    add()
    answer = api.get(BOOKS, {"cursor": "1000000000"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (410, "cursor_ahead")
    schema = api.get("/api/schema/", HTTP_ACCEPT="application/json").json()
    described = schema["components"]["responses"]["Problem410"]["content"]
    example = described["application/problem+json"]["example"]
    assert answer.json() | {"request_id": example["request_id"]} == example


@pytest.mark.django_db
def test_the_feed_is_read_by_whoever_may_read_the_records(api, settings, django_user_model):
    assert api.get(BOOKS).status_code == 200
    assert api.get(MEMBERS).status_code == 401
    settings.PUBLIC_CATALOGUE = False
    assert api.get(BOOKS).status_code == 401
    clerk = django_user_model.objects.create_user("clerk")
    api.force_authenticate(clerk)
    assert api.get(MEMBERS).status_code == 403
    clerk.user_permissions.add(Permission.objects.get(codename="view_member"))
    api.force_authenticate(django_user_model.objects.get())
    assert api.get(MEMBERS).status_code == 200
    assert api.get(BOOKS).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("rows", ["one", "many"])
def test_an_erased_member_is_told_as_deleted_by_its_number_alone(staff_api, rows):
    member = register_member(Member(username="annabel", email="annabel@example.org"))
    pk = member.pk
    cursor = staff_api.get(MEMBERS).json()["cursor"]
    member.delete() if rows == "one" else Member.objects.all().delete()
    assert told(staff_api.get(MEMBERS, {"cursor": cursor})) == [(pk, "deleted")]
    answer = staff_api.get(MEMBERS)
    assert told(answer) == [(pk, "deleted")]
    assert b"annabel" not in answer.content


@pytest.mark.django_db
def test_a_page_costs_the_same_few_queries_at_any_size(api, django_assert_max_num_queries):
    for _ in range(20):
        add()
    with django_assert_max_num_queries(1):
        told(api.get(BOOKS))


# --- Beside other writers ---


def elsewhere(work: Callable[[], None]) -> None:
    """In a thread with a connection of its own."""
    try:
        work()
    finally:
        connection.close()


def settle() -> None:
    """As if all that is written had been there for a while."""
    old = timezone.now() - timedelta(seconds=history.GAP_SECONDS)
    Book.history.update(history_date=old)


@pytest.mark.mysql
@pytest.mark.django_db(transaction=True)
def test_nothing_that_follows_an_open_transaction_is_told_before_it_ends(api):
    written, told_to_end = Event(), Event()

    def write_slowly() -> None:
        with transaction.atomic():
            add(title="slow")
            written.set()
            assert told_to_end.wait(10)

    add(title="before")
    settle()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(elsewhere, write_slowly)
        assert written.wait(10)
        quick = add(title="quick")
        early = api.get(BOOKS)
        told_to_end.set()
        slow.result()
    assert len(told(early)) == 1
    assert early.json()["next"] is None
    late = told(api.get(BOOKS, {"cursor": early.json()["cursor"]}))
    assert late == [(Book.objects.get(title="slow").pk, "created"), (quick.pk, "created")]


@pytest.mark.mysql
@pytest.mark.django_db(transaction=True)
def test_what_follows_a_missing_number_is_told_once_that_can_no_longer_come(api):
    first = add()
    settle()
    with suppress(ZeroDivisionError), transaction.atomic():
        add()
        raise ZeroDivisionError
    second = add()
    early = api.get(BOOKS)
    assert told(early) == [(first.pk, "created")]
    settle()
    late = api.get(BOOKS, {"cursor": early.json()["cursor"]})
    assert told(late) == [(second.pk, "created")]


@pytest.mark.mysql
@pytest.mark.django_db(transaction=True)
def test_a_copy_that_follows_the_feed_beside_eight_writers_ends_equal(monkeypatch):
    monkeypatch.setattr(history, "GAP_SECONDS", 1)
    writers, rounds = 8, 40
    done = Event()
    stock = [unsaved() for _ in range(writers * 40)]
    Book.objects.bulk_create(stock[: writers * 20])
    unused = stock[writers * 20 :]

    def write(number: int) -> None:
        chance = random.Random(number)
        own = unused[number::writers]
        for _ in range(rounds):
            try:
                with transaction.atomic():
                    write_one(chance, own)
                    if chance.random() < 0.3:  # commits long after it wrote
                        connection.cursor().execute("SELECT SLEEP(%s)", [chance.random() / 20])
            except OperationalError as error:
                assert is_lock_error(error), error
            except Book.DoesNotExist:
                pass  # another writer deleted it

    def write_one(chance: random.Random, own: list[Book]) -> None:
        act = chance.choice(["add", "change", "delete", "import", "update"])
        ids = list(Book.objects.values_list("pk", flat=True))
        if act == "add":
            add(title=f"added {chance.random()}")
        elif act == "change":
            book = Book.objects.get(pk=chance.choice(ids))
            book.title = f"changed {chance.random()}"
            book.save()
        elif act == "delete":
            Book.objects.filter(pk__in=chance.sample(ids, 2)).delete()
        elif act == "update":
            Book.objects.filter(pk__in=chance.sample(ids, 20)).update(title=f"{chance.random()}")
        else:
            for book in own:
                book.pk, book.title = None, f"imported {chance.random()}"
            with recorded_as(Door.IMPORT, batch="import-1"):
                Book.objects.bulk_create(
                    own, update_conflicts=True, update_fields=["title", "version"]
                )

    copy: dict[int, tuple[str, int]] = {}

    def follow() -> int:
        client, cursor, told_last, number = APIClient(), "0", False, 0
        while True:
            if done.is_set() and not told_last:
                sleep(history.GAP_SECONDS)
                told_last = True
            answer = client.get(BOOKS, {"cursor": cursor, "page_size": 50})
            ids = {pk for pk, _ in told(answer)}
            stored = Book.objects.filter(pk__in=ids).values_list("pk", "title", "version")
            found = {pk: (title, version) for pk, title, version in stored}
            for pk in ids:
                copy.pop(pk, None)
            copy.update(found)
            cursor, number = answer.json()["cursor"], number + len(told(answer))
            if told_last and not ids:
                return number

    with ThreadPoolExecutor(writers + 1) as pool:
        following = pool.submit(lambda: results(follow))
        writing = [pool.submit(elsewhere, lambda n=n: write(n)) for n in range(writers)]
        try:
            for each in writing:
                each.result()
        finally:
            done.set()
        number = following.result()
    rows = Book.objects.values_list("pk", "title", "version")
    assert copy == {pk: (title, version) for pk, title, version in rows}
    assert number == Book.history.count()


def results(work: Callable[[], int]) -> int:
    try:
        return work()
    finally:
        connection.close()
