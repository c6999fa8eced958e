"""Two tabs of the admin on one record: the last one to save chooses between both versions."""

from html import escape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from library.models import Book
from members.models import Member
from project.tests.forms import filled

pytestmark = pytest.mark.django_db
DUNE = {"title": "Dune", "author": "Herbert", "publication_year": 1965, "isbn": "9780340839935"}


@pytest.fixture
def staff_client(client, staff):
    client.force_login(staff)
    return client


@pytest.fixture
def book():
    return Book.objects.create(**DUNE)


@pytest.fixture
def page(book):
    return reverse("admin:library_book_change", args=[book.pk])


def stored(book: Book) -> tuple[str, str, int, int]:
    return Book.objects.values_list("title", "author", "publication_year", "version").get(
        pk=book.pk
    )


def test_a_form_that_nobody_overtook_is_saved(staff_client, book, page):
    form = filled(staff_client.get(page))
    assert staff_client.post(page, form | {"title": "Dune Messiah"}).status_code == 302
    assert stored(book) == ("Dune Messiah", "Herbert", 1965, 2)


def test_the_second_tab_does_not_overwrite_the_first(staff_client, book, page):
    first, second = filled(staff_client.get(page)), filled(staff_client.get(page))
    staff_client.post(page, first | {"title": "T"})
    response = staff_client.post(page, second | {"author": "A"})
    assert response.status_code == 409
    assert stored(book) == ("T", "Herbert", 1965, 2)


def test_both_versions_are_shown_and_nothing_typed_is_lost(staff_client, book, page):
    form = filled(staff_client.get(page))
    Book.objects.filter(pk=book.pk).update(title="Saved <1>", publication_year=1999)
    html = staff_client.post(page, form | {"title": "Typed <2>", "author": "A"}).content.decode()
    for text in ("Saved <1>", "Typed <2>", "1999", "1965", "Herbert"):
        assert escape(text) in html
    assert "<2>" not in html


def test_what_only_one_of_us_changed_is_chosen_and_the_rest_must_be(staff_client, book, page):
    form = filled(staff_client.get(page))
    Book.objects.filter(pk=book.pk).update(title="Saved", publication_year=1999)
    proposed = filled(staff_client.post(page, form | {"title": "Typed", "author": "A"}))
    assert proposed["author"] == "A"
    assert proposed["publication_year"] == "1999"
    assert "title" not in proposed


@pytest.mark.parametrize(("title", "saved"), [("Typed", "Typed"), ("Saved", "Saved")])
def test_what_is_chosen_is_saved(staff_client, book, page, title, saved):
    form = filled(staff_client.get(page))
    Book.objects.filter(pk=book.pk).update(title="Saved")
    chosen = filled(
        staff_client.post(page, form | {"title": "Typed", "author": "A", "_save": "Save"})
    )
    response = staff_client.post(page, chosen | {"title": title})
    assert response["Location"] == reverse("admin:library_book_changelist")
    assert stored(book)[:3] == (saved, "A", 1965)


def test_the_button_that_was_pressed_is_kept(staff_client, book, page):
    form = filled(staff_client.get(page))
    Book.objects.filter(pk=book.pk).update(title="Saved")
    chosen = filled(staff_client.post(page, form | {"title": "Typed", "_continue": "1"}))
    assert staff_client.post(page, chosen | {"title": "Typed"})["Location"] == page


def test_a_third_version_meanwhile_is_shown_again(staff_client, book, page):
    form = filled(staff_client.get(page))
    Book.objects.filter(pk=book.pk).update(title="Second")
    chosen = filled(staff_client.post(page, form | {"title": "Typed"}))
    Book.objects.filter(pk=book.pk).update(title="Third")
    response = staff_client.post(page, chosen | {"title": "Typed"})
    assert response.status_code == 409
    assert "Third" in response.content.decode()
    assert stored(book)[0] == "Third"


def test_an_invalid_form_is_corrected_first_and_still_meets_the_other_version(
    staff_client, book, page
):
    form = filled(staff_client.get(page))
    Book.objects.filter(pk=book.pk).update(title="Saved")
    invalid = staff_client.post(page, form | {"title": "Typed", "isbn": "978-0-340-83993-6"})
    assert invalid.status_code == 200
    corrected = filled(invalid)
    assert corrected["title"] == "Typed"
    response = staff_client.post(page, corrected | {"isbn": "978-0-340-83993-5"})
    assert response.status_code == 409
    assert filled(response).get("title") is None  # both of us changed it


def test_the_same_form_sent_twice_is_no_conflict(staff_client, book, page):
    form = filled(staff_client.get(page)) | {"title": "Typed"}
    assert staff_client.post(page, form).status_code == 302
    assert staff_client.post(page, form).status_code == 302
    assert stored(book) == ("Typed", "Herbert", 1965, 2)


def test_two_who_type_the_same_agree(staff_client, book, page):
    form = filled(staff_client.get(page))
    Book.objects.filter(pk=book.pk).update(title="Both")
    assert staff_client.post(page, form | {"title": "Both"}).status_code == 302


def test_a_form_without_a_version_overwrites_nothing(staff_client, book, page):
    assert staff_client.post(page, DUNE | {"title": "Blind"}).status_code == 409
    assert stored(book)[0] == "Dune"


@pytest.mark.parametrize("tampered", ["garbage", "", None])
def test_a_form_with_tampered_initial_values_is_asked(staff_client, book, page, tampered):
    form = filled(staff_client.get(page)) | {"isbn": "9780375508325", "initial-isbn": tampered}
    Book.objects.filter(pk=book.pk).update(isbn="9780486266893")
    form = {name: value for name, value in form.items() if value is not None}
    response = staff_client.post(page, form)
    assert response.status_code == 409
    assert "isbn" not in filled(response)


@pytest.mark.parametrize("version", ["x", "1e9", "9" * 40, "-1"])
def test_an_invalid_version_overwrites_nothing(staff_client, book, page, version):
    form = filled(staff_client.get(page)) | {"title": "Blind", "version": version}
    assert staff_client.post(page, form).status_code in (200, 409)
    assert stored(book)[0] == "Dune"


def test_saving_a_form_as_it_was_writes_nothing(staff_client, book, page):
    before = Book.objects.get().updated_at
    assert staff_client.post(page, filled(staff_client.get(page))).status_code == 302
    assert Book.objects.get().updated_at == before
    assert LogEntry.objects.get().change_message == "[]"


def test_the_history_names_what_its_writer_changed(staff_client, book, page):
    form = filled(staff_client.get(page))
    Book.objects.filter(pk=book.pk).update(title="Saved")
    chosen = filled(staff_client.post(page, form | {"author": "A"}))
    staff_client.post(page, chosen)
    assert LogEntry.objects.latest("pk").get_change_message() == "Changed author."


def test_a_change_between_the_forms_check_and_its_saving_is_kept(
    staff_client, book, page, monkeypatch
):
    from library.admin import BookAdmin

    save = BookAdmin.save_model

    def with_somebody_else(admin, *args):
        Book.objects.filter(pk=book.pk).update(author="A")
        return save(admin, *args)

    monkeypatch.setattr(BookAdmin, "save_model", with_somebody_else)
    staff_client.post(page, filled(staff_client.get(page)) | {"title": "T"})
    assert stored(book)[:2] == ("T", "A")


def test_a_record_deleted_meanwhile_is_not_saved_and_nothing_typed_is_lost(
    staff_client, book, page
):
    form = filled(staff_client.get(page)) | {"title": "Typed <1>"}
    book.delete()
    response = staff_client.post(page, form)
    assert response.status_code == 409
    assert escape("Typed <1>") in response.content.decode()
    assert not Book.objects.exists()
    assert "keep author and year" not in response.content.decode().lower(), "no value of the book"
    again = filled(response)
    assert f'action="{reverse("admin:library_book_add")}"' in response.content.decode()
    assert staff_client.post(reverse("admin:library_book_add"), again).status_code == 302
    assert Book.objects.get().title == "Typed <1>"


def test_only_who_may_add_is_offered_to_add_it_again(client, book, page):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_book", "change_book"]))
    client.force_login(clerk)
    form = filled(client.get(page))
    book.delete()
    html = client.post(page, form).content.decode()
    assert reverse("admin:library_book_add") not in html
    assert "Dune" in html


def test_deleting_what_was_deleted_meanwhile_says_so(staff_client, book):
    delete = reverse("admin:library_book_delete", args=[book.pk])
    book.delete()
    assert (
        "It may have been deleted."
        in staff_client.post(delete, {"post": "yes"}, follow=True).content.decode()
    )


def test_members_are_asked_alike(staff_client):
    member = Member.objects.create(username="ann", email="ann@example.org")
    page = reverse("admin:members_member_change", args=[member.pk])
    form = filled(staff_client.get(page))
    Member.objects.filter(pk=member.pk).update(email="saved@example.org")
    response = staff_client.post(page, form | {"username": "anna"})
    assert response.status_code == 409
    proposed = filled(response)
    assert (proposed["username"], proposed["email"]) == ("anna", "saved@example.org")
    assert staff_client.post(page, proposed).status_code == 302
    assert Member.objects.filter(username="anna", email="saved@example.org", version=3).exists()


def test_a_new_record_has_no_version_to_compare(staff_client):
    add = reverse("admin:library_book_add")
    assert staff_client.post(add, filled(staff_client.get(add)) | DUNE).status_code == 302


@pytest.mark.parametrize("button", ["_save", "_continue", "_addanother", "_popup"])
def test_each_button_is_kept(staff_client, book, page, button):
    form = filled(staff_client.get(page))
    Book.objects.filter(pk=book.pk).update(title="Saved")
    chosen = filled(staff_client.post(page, form | {"title": "Typed", button: "1"}))
    pressed = {name for name in chosen if name.startswith("_")}
    assert pressed == {button}


def test_an_emptied_field_is_a_difference(staff_client):
    member = Member.objects.create(username="ann", email="ann@example.org")
    page = reverse("admin:members_member_change", args=[member.pk])
    form = filled(staff_client.get(page))
    Member.objects.filter(pk=member.pk).update(email="saved@example.org")
    html = staff_client.post(page, form | {"email": ""})
    assert html.status_code == 200, "an invalid form is corrected first"
    assert "This field is required" in html.content.decode()


def test_the_page_of_both_versions_escapes_what_the_record_is_called(staff_client, book, page):
    form = filled(staff_client.get(page))
    Book.objects.filter(pk=book.pk).update(title="<i>Saved</i>")
    answer = staff_client.post(page, form | {"title": '"><i>Typed</i>'})
    html = answer.content.decode()
    assert "<i>Saved" not in html and "<i>Typed" not in html
    assert f'value="{escape(chr(34) + "><i>Typed</i>")}"' in html
    assert "csrfmiddlewaretoken" in filled(answer)


def test_what_was_deleted_is_shown_escaped(staff_client, book, page):
    form = filled(staff_client.get(page)) | {"title": "<i>Typed</i>"}
    book.delete()
    assert "<i>Typed" not in staff_client.post(page, form).content.decode()


def test_a_page_of_a_deleted_record_says_so(staff_client, book, page):
    book.delete()
    answer = staff_client.get(page)
    assert answer.status_code == 302
    assert answer["Location"] == reverse("admin:library_book_changelist")


def test_the_record_is_read_again_under_a_lock(staff_client, book, page):
    form = filled(staff_client.get(page))
    with CaptureQueriesContext(connection) as queries:
        staff_client.post(page, form | {"title": "T"})
    begin = next(i for i, query in enumerate(queries) if "SAVEPOINT" in query["sql"])
    reads = [
        query["sql"]
        for query in queries.captured_queries[begin:]
        if query["sql"].startswith("SELECT") and "publication_year" in query["sql"]
    ]
    assert len(reads) >= 2
    if connection.features.has_select_for_update:
        assert any("FOR UPDATE" in sql for sql in reads)


# --- Accounts and groups, which have no version ---


@pytest.fixture
def account():
    return User.objects.create_user("ann", first_name="Ann", is_staff=True)


def fields_of(client, page: str) -> dict[str, str]:
    """What the form of an active account sends if nothing is changed."""
    form = filled(client.get(page))
    kept = ("version", "username", "first_name", "is_active", "is_staff")
    return {name: "on" if form[name] == "" else form[name] for name in kept}


def said(response) -> list[str]:
    return response.context["adminform"].form.non_field_errors() if response.context else []


def test_an_account_that_somebody_deactivated_stays_so(staff_client, account):
    page = reverse("admin:auth_user_change", args=[account.pk])
    form = fields_of(staff_client, page)
    User.objects.filter(pk=account.pk).update(is_active=False)
    response = staff_client.post(page, form | {"first_name": "Anna"})
    [text] = said(response)
    assert text.endswith("Saving again replaces: First name, Active.")
    account.refresh_from_db()
    assert (account.first_name, account.is_active) == ("Ann", False)
    # What was typed is kept, and saved once the person has been told.
    again = form | {"first_name": "Anna", "version": filled(response)["version"]}
    assert staff_client.post(page, again).status_code == 302
    account.refresh_from_db()
    assert (account.first_name, account.is_active) == ("Anna", True)


def test_an_account_that_nobody_else_saved_is_saved(staff_client, account):
    page = reverse("admin:auth_user_change", args=[account.pk])
    form = fields_of(staff_client, page)
    account.set_password("changed meanwhile, but on no page")
    account.save()
    assert staff_client.post(page, form | {"first_name": "Anna"}).status_code == 302


def test_of_two_who_save_the_same_nobody_is_asked(staff_client, account):
    page = reverse("admin:auth_user_change", args=[account.pk])
    form = fields_of(staff_client, page) | {"first_name": "Anna"}
    assert staff_client.post(page, form).status_code == 302
    assert staff_client.post(page, form).status_code == 302


def test_the_groups_that_somebody_gave_an_account_stay(staff_client, account):
    page = reverse("admin:auth_user_change", args=[account.pk])
    form = fields_of(staff_client, page)
    account.groups.set(Group.objects.filter(name="Operators"))
    response = staff_client.post(page, form | {"first_name": "Anna"})
    assert said(response)[0].endswith("Saving again replaces: First name, Groups.")
    assert account.groups.count() == 1


def test_the_permissions_that_somebody_gave_a_group_stay(staff_client):
    group = Group.objects.get(name="Operators")
    page = reverse("admin:auth_group_change", args=[group.pk])
    form = {"version": filled(staff_client.get(page))["version"], "name": "Operators"}
    form["permissions"] = list(group.permissions.values_list("pk", flat=True))
    added = Permission.objects.get(codename="add_book")
    group.permissions.add(added)
    assert len(said(staff_client.post(page, form))) == 1
    assert added in group.permissions.all()
