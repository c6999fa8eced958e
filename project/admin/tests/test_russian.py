"""In Russian no page says a word of English, but for names that Russian writes alike."""

import json
import re
from html.parser import HTMLParser

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django_celery_results.models import TaskResult

from library.files.tests.imports import examined, worked_on
from library.models import Book, BulkChange
from members.files.tests.test_jobs import examined as member_file
from members.mail import tasks
from members.mail.actions import ACTIONS
from members.models import Member, WelcomeEmail
from members.registration import register_member
from project.admin.site import MENU
from project.api.authentication import AuthToken
from project.jobs.tasks import work

pytestmark = pytest.mark.django_db

ALIKE = {
    *("API", "ISBN", "HTML", "Message", "ID", "UTC", "English", "beat", "worker", "CSV", "JSON"),
    *("Ctrl", "Esc", "Enter", "Tab", "XLSX", "ODS", "TSV"),
}
# Data and codes, whatever the language.
DATA = re.compile(
    r"\S+@\S+|https?://\S+|/\S+|<[^>]+>|celery\S*|Traceback.*|\bdesk-ann\b|task-\d|\bstaff\b"
    r"|Welcome to the library|\b[0-9a-f]{8,}\b|Library desk|\bexample\.org\b|[0-9a-f]{8}…"
    r"|«zzzzz»|\bJSON Lines\b|книги\.csv|44 BC"
    r"|UTF-\d+|Windows-\d+|CP\d+|\bMac\b|\bDOS\b"
)


class Words(HTMLParser):
    """What a page shows or reads aloud."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag, attrs):
        self.silent += tag in ("script", "style", "iframe", "pre")
        given = dict(attrs)
        if given.get("lang") == "en":
            return
        names = ["title", "aria-label", "alt", "placeholder", "data-copied"]
        if tag == "input" and given.get("type") == "submit":
            names.append("value")
        self.found += [given[name] for name in names if given.get(name)]

    def handle_endtag(self, tag):
        self.silent -= tag in ("script", "style", "iframe", "pre")

    def handle_data(self, data):
        if not self.silent:
            self.found.append(data)


def english(response) -> list[str]:
    parser = Words()
    parser.feed(response.content.decode())
    texts = [" ".join(text.split()) for text in parser.found]
    return [
        text
        for text in dict.fromkeys(texts)
        if set(re.findall(r"[A-Za-z]{2,}", DATA.sub(" ", text))) - ALIKE
    ]


@pytest.fixture
def desk(client, staff):
    client.force_login(staff)
    client.cookies["django_language"] = "ru"
    return client


@pytest.fixture
def rows(staff, desk):
    Book.objects.create(
        title="Мастер", author="Булгаков", publication_year=1967, isbn="9780340839935"
    )
    member = register_member(Member(username="desk-ann", email="ann@example.org"))
    AuthToken.objects.create(staff)
    User.objects.create_user("task-2", first_name="Анна", last_name="Книгина", is_staff=True)
    journal = [
        {
            "started": "2026-01-01T10:00:00Z",
            "ended": "2026-01-01T10:00:01Z",
            "state": "failed",
            "reason": "The mail server hung up.",
            "task": "task-1",
        }
    ]
    WelcomeEmail.objects.update(
        task_id="task-1", state="failed", last_error="The mail server hung up.", journal=journal
    )
    report = [
        [tasks.ABOUT, {"id": 1}],
        ["The mail server hung up.", {}],
        [tasks.AGAIN, {"number": 1, "time": "10:00:00"}],
    ]
    TaskResult.objects.create(
        task_id="task-1",
        task_name="members.tasks.send_welcome_emails",
        task_args=f'"({member.welcome_email.pk},)"',
        status="FAILURE",
        result=json.dumps({"exc_type": "AttemptFailedError", "exc_message": [report]}),
        traceback="Traceback (most recent call last): …",
    )
    TaskResult.objects.create(
        task_id="task-2",
        task_name="members.tasks.send_welcome_emails",
        status="SUCCESS",
        result=json.dumps([[tasks.SKIPPED, {"count": 2}]]),
    )


MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_pages_of_records(desk, rows, model, rf, staff):
    page = admin.site._registry[model]
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    request = rf.get("/")
    request.user = staff
    answers = [desk.get(reverse(f"{name}_changelist") + query) for query in ("", "?q=zzzzz")]
    answers += [
        desk.get(reverse(f"{name}_change", args=[row.pk])) for row in model._default_manager.all()
    ]
    if page.has_add_permission(request):
        answers += [desk.get(reverse(f"{name}_add")), desk.post(reverse(f"{name}_add"), {})]
    if page.has_delete_permission(request):
        row = model._default_manager.order_by("-pk").first()
        answers.append(desk.get(reverse(f"{name}_delete", args=[row.pk])))
        chosen = {"action": "delete_selected", "_selected_action": [row.pk]}
        answers.append(desk.post(reverse(f"{name}_changelist"), chosen))
        gone = desk.post(reverse(f"{name}_changelist"), chosen | {"post": "yes"}, follow=True)
        answers.append(gone)
    for answer in answers:
        assert answer.status_code == 200
        assert english(answer) == [], answer.request["PATH_INFO"]


PAGES = [
    reverse("admin:index"),
    reverse("admin:activity"),
    reverse("admin:password_change"),
    reverse("admin:password_change_done"),
    reverse("admin:members_dispatch_pause"),
    reverse("admin:members_dispatch_resume"),
    reverse("admin:password_reset"),
    reverse("admin:password_reset_done"),
    reverse("admin:password_reset_complete"),
    reverse("admin:password_reset_confirm", args=["MQ", "x-y"]),
    *(reverse("admin:section", args=[slug]) for slug in MENU),
    "/admin/nowhere/",
]


@pytest.mark.parametrize("page", PAGES)
def test_other_pages(desk, rows, page):
    assert english(desk.get(page)) == []


@pytest.mark.parametrize("action", ACTIONS)
def test_questions_about_welcome_emails(desk, rows, action):
    welcome = WelcomeEmail.objects.get()
    assert (
        english(desk.get(reverse(f"admin:members_welcomeemail_{action}", args=[welcome.pk]))) == []
    )


def test_the_login(client, staff):
    client.cookies["django_language"] = "ru"
    page = reverse("admin:login")
    assert english(client.get(page)) == []
    assert english(client.post(page, {"username": "staff", "password": "wrong"})) == []


@pytest.mark.parametrize("button", ["_save", "_continue", "_addanother"])
def test_a_saved_book_is_told_in_good_russian(desk, button):
    book = {"title": "Мастер", "author": "Булгаков", "publication_year": 1967}
    answer = desk.post(
        reverse("admin:library_book_add"),
        book | {"isbn": "9780340839935", button: "1"},
        follow=True,
    )
    (told,) = map(str, answer.context["messages"])
    assert re.sub("<[^>]+>", "", told) == "Книга «Мастер» добавлена."
    assert english(answer) == []


@pytest.mark.parametrize(
    ("number", "told"),
    [(1, "Удалена 1 книга."), (2, "Удалены 2 книги."), (5, "Удалено 5 книг.")],
)
def test_numbers_take_their_case(desk, number, told):
    isbns = ["9780340839935", "9780618260300", "9780140449136", "9780141439518", "9780679760801"]
    books = [
        Book.objects.create(title="Книга", author="Автор", publication_year=2000, isbn=isbn)
        for isbn in isbns[:number]
    ]
    chosen = {"action": "delete_selected", "_selected_action": [book.pk for book in books]}
    page = desk.post(
        reverse("admin:library_book_changelist"), chosen | {"confirmed": "1"}, follow=True
    )
    (message,) = map(str, page.context["messages"])
    assert message.startswith(told)


def test_the_groups_that_ship_have_russian_names(desk):
    for group in Group.objects.all():
        page = desk.get(reverse("admin:auth_group_change", args=[group.pk]))
        assert re.search(r"<h1[^>]*>[А-Яа-я,: ]+</h1>", page.content.decode())


@pytest.mark.parametrize("show", ["", "?show=refused", "?show=changed"])
def test_an_import_from_the_preview_to_its_undo(desk, rows, show):
    rows_of_file = "Мастер,Булгаков,1968,9780340839935", "Отказ,Автор,44 BC,", "Ещё,Автор,1972 г.,1"
    content = "\n".join(["Название,Автор,Год,ISBN", *rows_of_file]).encode()
    job = examined(name="книги.csv", content=content)
    page = reverse("admin:library_import_change", args=[job.pk])
    assert english(desk.get(page + show)) == []
    assert (
        english(desk.post(reverse("admin:library_import_confirm", args=[job.pk]), follow=True))
        == []
    )
    worked_on(job)
    assert english(desk.get(page + show)) == []
    assert (
        english(desk.post(reverse("admin:library_import_undo", args=[job.pk]), follow=True)) == []
    )
    worked_on(job)
    assert english(desk.get(page)) == []


@pytest.mark.parametrize("show", ["", "?show=refused", "?show=changed"])
@pytest.mark.parametrize("welcome", ["known", "send"])
def test_an_import_of_members_from_the_preview_to_its_undo(desk, rows, show, welcome):
    lines = "task-7,a@example.org", "desk-ann,new@example.org", "Маша,нет", "task-8,desk-ann"
    job = member_file(*lines, "task-7,b@example.org", header="Логин,Почта", name="книги.csv")
    page = reverse("admin:members_memberimport_change", args=[job.pk])
    assert english(desk.get(reverse("admin:members_memberimport_add"))) == []
    assert english(desk.get(page + show)) == []
    confirm = reverse("admin:members_memberimport_confirm", args=[job.pk])
    assert english(desk.post(confirm, {"welcome": welcome}, follow=True)) == []
    work("memberimport", job.pk)
    assert english(desk.get(page + show)) == []
    welcomes = reverse("admin:members_welcomeemail_changelist")
    assert english(desk.get(welcomes)) == []
    undo = reverse("admin:members_memberimport_undo", args=[job.pk])
    assert english(desk.post(undo, follow=True)) == []
    work("memberimport", job.pk)
    assert english(desk.get(page)) == []


def test_the_history_of_a_record_and_what_can_be_restored(desk, rows):
    book, member = Book.objects.get(), Member.objects.get()
    book.author = "Другой"
    book.save()
    first = Book.history.filter(id=book.pk).last().history_id
    for page in (
        reverse("admin:library_book_history", args=[book.pk]),
        reverse("admin:library_book_restore", args=[book.pk, first]),
        reverse("admin:members_member_history", args=[member.pk]),
        reverse("admin:library_historicalbook_changelist"),
        reverse("admin:library_historicalbook_changelist") + "?kind=gone",
    ):
        assert english(desk.get(page)) == [], page
    restored = desk.post(
        reverse("admin:library_book_restore", args=[book.pk, first]),
        {"confirmed": "1"},
        follow=True,
    )
    assert english(restored) == []


@pytest.mark.parametrize(
    "action", ["change_author", "change_year", "delete_selected", "merge_books"]
)
def test_bulk_changes_from_the_question_to_the_result(desk, rows, action):
    other = Book.objects.create(
        title="Маргарита", author="Автор", publication_year=1999, isbn="9780618260300"
    )
    books = list(Book.objects.all())
    value = {"author": "Новый", "publication_year": "2001"}
    chosen = {"action": action, "_selected_action": [book.pk for book in books]}
    address = reverse("admin:library_book_changelist")
    assert english(desk.post(address, chosen)) == []
    assert english(desk.post(address, chosen | value | {"preview": "1"})) == []
    merged = {"keep": other.pk, "title": "Маргарита", "isbn": other.isbn, "author": "Автор"}
    value |= merged | {"publication_year": "1999"} if action == "merge_books" else {}
    assert english(desk.post(address, chosen | value | {"confirmed": "1"}, follow=True)) == []
    job = BulkChange.objects.get()
    assert english(desk.get(reverse("admin:library_bulkchange_change", args=[job.pk]))) == []


def test_a_search_that_finds_nothing_suggests(desk, rows):
    page = desk.get(reverse("admin:library_book_changelist"), {"q": "мастир"})
    assert "мастер" in page.content.decode()
    assert english(page) == []
