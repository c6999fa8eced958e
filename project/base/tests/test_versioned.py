"""No save undoes another one, and none brings a deleted record back."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from library.models import Book
from library.search.models import BookWord
from library.tests.books import add, unsaved
from members.models import Member
from project.base import versioned
from project.base.database import insert_rows

pytestmark = pytest.mark.django_db
OLD = timezone.now() - timedelta(days=1)


@pytest.fixture(params=[Book, Member])
def record(request):
    if request.param is Book:
        values = {"title": "Dune", "author": "Herbert", "publication_year": 1965}
        saved = Book.objects.create(**values, isbn="9780340839935")
    else:
        saved = Member.objects.create(username="ann", email="ann@example.org")
    type(saved).objects.filter(pk=saved.pk).update(updated_at=OLD, version=1)
    return type(saved).objects.get(pk=saved.pk)


TWO = {Book: ("title", "author"), Member: ("username", "email")}
NEW = {"title": "T", "author": "A", "username": "bob", "email": "bob@example.org"}


def again(record):
    return type(record).objects.get(pk=record.pk)


def test_two_who_read_the_same_and_change_different_columns_both_keep_their_change(record):
    first, second = again(record), again(record)
    one, other = TWO[type(record)]
    setattr(first, one, NEW[one])
    setattr(second, other, NEW[other])
    first.save()
    second.save()
    stored = again(record)
    assert (getattr(stored, one), getattr(stored, other)) == (NEW[one], NEW[other])
    assert stored.version == second.version == 3


def test_each_change_raises_the_version_by_one_and_moves_the_time(record):
    name = TWO[type(record)][0]
    setattr(record, name, NEW[name])
    record.save()
    stored = again(record)
    assert stored.version == record.version == 2
    assert stored.updated_at == record.updated_at > OLD


def test_a_new_record_begins_with_version_one(record):
    assert type(record)().version == 1
    assert record.version == 1


def test_a_save_without_a_change_writes_nothing(record, django_assert_num_queries):
    with django_assert_num_queries(0):
        record.save()
    assert (again(record).version, again(record).updated_at) == (1, OLD)


def test_a_change_undone_before_the_save_is_no_change(record):
    name = TWO[type(record)][0]
    before = getattr(record, name)
    setattr(record, name, NEW[name])
    setattr(record, name, before)
    record.save()
    assert again(record).version == 1


def test_what_was_saved_is_not_written_again(record):
    """Otherwise the second save would undo what somebody changed between the two."""
    one, other = TWO[type(record)]
    setattr(record, one, NEW[one])
    record.save()
    type(record).objects.filter(pk=record.pk).update(**{one: "xyz"})
    setattr(record, other, NEW[other])
    record.save()
    assert getattr(again(record), one) == "xyz"


def test_a_new_record_that_changes_again_writes_only_its_changes():
    member = Member.objects.create(username="ann", email="ann@example.org")
    Member.objects.filter(pk=member.pk).update(username="anna")
    member.email = "new@example.org"
    member.save()
    assert again(member).username == "anna"
    assert again(member).email == "new@example.org"


def test_after_a_refresh_changes_count_from_what_is_stored(record):
    one, other = TWO[type(record)]
    type(record).objects.filter(pk=record.pk).update(**{one: NEW[one]})
    record.refresh_from_db()
    type(record).objects.filter(pk=record.pk).update(**{one: "xyz"})
    setattr(record, other, NEW[other])
    record.save()
    assert getattr(again(record), one) == "xyz"


def test_records_created_in_bulk_know_their_ids_and_one_time():
    old = add(title="old")
    given = Book.objects.bulk_create([unsaved(pk=old.pk + 7), unsaved(), unsaved()])
    stored = {book.isbn: book for book in Book.objects.exclude(pk=old.pk)}
    assert [book.pk for book in given] == [stored[book.isbn].pk for book in given]
    assert given[0].pk == old.pk + 7
    times = {time for book in stored.values() for time in (book.created_at, book.updated_at)}
    assert times == {given[0].created_at}


def test_records_that_others_add_meanwhile_are_theirs(monkeypatch):
    def overtaken(records, using):
        monkeypatch.undo()
        others.append(add(title="other").pk)
        insert_rows(records, using)

    others: list[int] = []
    monkeypatch.setattr(versioned, "insert_rows", overtaken)
    ours = Book.objects.bulk_create([unsaved(title="one"), unsaved(title="two")])
    stored = Book.objects.exclude(pk__in=others).order_by("pk")
    assert [(book.pk, book.title) for book in ours] == [*stored.values_list("pk", "title")]
    assert not ours[0]._state.adding


def test_a_record_created_in_bulk_can_be_refreshed():
    [member] = Member.objects.bulk_create([Member(username="ann", email="ann@example.org")])
    member = Member(pk=Member.objects.get().pk, username=member.username, email=member.email)
    member.refresh_from_db()
    assert member.version == 1


def test_refreshing_one_column_keeps_a_pending_change_of_another(record):
    one, other = TWO[type(record)]
    setattr(record, one, NEW[one])
    record.refresh_from_db(fields=[other])
    record.save()
    assert getattr(again(record), one) == NEW[one]


def test_refreshing_one_column_undoes_no_other(record):
    one, other = TWO[type(record)]
    record.refresh_from_db(fields=[other])
    type(record).objects.filter(pk=record.pk).update(**{one: NEW[one]})
    setattr(record, other, NEW[other])
    record.save()
    assert getattr(again(record), one) == NEW[one]


def test_a_save_that_must_insert_overwrites_nothing(record):
    with pytest.raises(IntegrityError), transaction.atomic():
        record.save(force_insert=True)


def test_nobody_sets_version_or_time_by_hand(record):
    record.version, record.updated_at = 99, timezone.now()
    record.save()
    assert (again(record).version, again(record).updated_at) == (1, OLD)


def test_no_template_can_write_and_no_manager_can_delete_all(record):
    rows = type(record).objects.all()
    Template("{{ rows.update }}{{ rows.delete }}").render(Context({"rows": rows}))
    assert again(record).version == 1
    assert not hasattr(type(record).objects, "delete"), "it would delete all"


def test_a_column_that_was_not_read_is_written_where_it_was_set(record):
    one, other = TWO[type(record)]
    partly = type(record).objects.defer(one).get(pk=record.pk)
    setattr(partly, one, NEW[one])
    partly.save()
    assert getattr(again(record), one) == NEW[one]


def test_a_save_of_named_columns_writes_no_other(record):
    one, other = TWO[type(record)]
    setattr(record, one, NEW[one])
    setattr(record, other, NEW[other])
    record.save(update_fields=[one])
    stored = again(record)
    assert getattr(stored, one) == NEW[one]
    assert getattr(stored, other) != NEW[other]


def test_a_save_of_a_deleted_record_does_not_bring_it_back(record):
    type(record).objects.filter(pk=record.pk).delete()
    name = TWO[type(record)][0]
    setattr(record, name, NEW[name])
    with pytest.raises(type(record).DoesNotExist):
        record.save()
    assert not type(record).objects.exists()


def test_nor_does_a_save_of_the_instance_that_was_deleted(record):
    """It has no id any more, as a new one."""
    record.delete()
    setattr(record, TWO[type(record)][0], "bob")
    with pytest.raises(type(record).DoesNotExist):
        record.save()
    assert not type(record).objects.exists()


def test_an_update_of_many_raises_each_version_and_moves_each_time(record):
    name = TWO[type(record)][0]
    assert type(record).objects.filter(pk=record.pk).update(**{name: NEW[name]}) == 1
    stored = again(record)
    assert stored.version == 2
    assert stored.updated_at > OLD


def test_another_spelling_of_the_same_isbn_is_no_change():
    book = Book.objects.create(title="D", author="H", publication_year=1965, isbn="9780340839935")
    book.isbn = "0-340-83993-7"
    book.save()
    assert again(book).version == 1


@pytest.mark.parametrize("delete", [lambda b: b.delete(), lambda b: Book.objects.all().delete()])
def test_deleting_locks_the_row_before_its_words_go(delete, django_assert_max_num_queries):
    book = Book.objects.create(title="D", author="H", publication_year=1965, isbn="9780340839935")
    with django_assert_max_num_queries(10) as queries:
        delete(book)
    statements = [query["sql"].replace("`", '"') for query in queries]
    words = next(
        i for i, sql in enumerate(statements) if sql.startswith('DELETE FROM "library_bookword"')
    )
    reads = [sql for sql in statements[:words] if 'FROM "library_book" ' in sql]
    assert reads
    assert not BookWord.objects.exists()
    if connection.features.has_select_for_update:
        assert any("FOR UPDATE" in sql for sql in reads)


@pytest.mark.mysql
def test_what_a_query_set_changes_is_locked_before_it_is_compared():
    Book.objects.create(title="D", author="H", publication_year=1965, isbn="9780340839935")
    with CaptureQueriesContext(connection) as queries:
        Book.objects.update(author="Herbert")
    reads = [q["sql"] for q in queries if q["sql"].startswith("SELECT") and "`version`" in q["sql"]]
    assert "FOR UPDATE" in reads[0]


def test_a_year_alone_leaves_the_word_index_alone(monkeypatch):
    book = Book.objects.create(title="D", author="H", publication_year=1965, isbn="9780340839935")
    monkeypatch.setattr("library.search.models.BookWordQuerySet.index", None)
    book.publication_year = 1966
    book.save()


def test_a_failing_save_leaves_nothing_of_itself():
    book = Book.objects.create(title="D", author="H", publication_year=1965, isbn="9780340839935")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("library.search.models.BookWordQuerySet.index", _fail)
        book.title = "Other"
        with transaction.atomic():
            book.save()
    assert again(book).title == "D"


def _fail(*args, **kwargs):
    raise RuntimeError
