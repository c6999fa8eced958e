"""Members from a file: found, compared, registered, changed, refused, undone."""

from unittest.mock import Mock

import pytest
from django.core.files.base import ContentFile
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from django_celery_results.models import TaskResult

from library.files.tests import imports as of_books
from library.models import Book
from members.files.models import MemberImport
from members.mail.actions import SEND_AGAIN
from members.mail.tasks import sweep_welcome_emails
from members.models import Member, MemberQuerySet, WelcomeEmail
from members.registration import register_member
from project.base.files.tests.test_reading import xlsx
from project.base.history import Door
from project.imports import engine
from project.imports.engine import begin
from project.imports.preview import reasons_of
from project.jobs.models import HEARTBEAT_TIMEOUT, State
from project.jobs.tasks import work

pytestmark = pytest.mark.django_db

HEADER = "username,e-mail"


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def uploaded(
    *rows: str, name: str = "members.csv", content: bytes = b"", header: str = HEADER, **values
) -> MemberImport:
    content = content or "\n".join([header, *rows]).encode()
    job = MemberImport(name=name, kind=name.rpartition(".")[2], size=len(content), **values)
    job.file.save(name, ContentFile(content))
    return job


def worked_on(job: MemberImport) -> MemberImport:
    work("memberimport", job.pk)
    job.refresh_from_db()
    return job


def examined(*rows: str, **values) -> MemberImport:
    return worked_on(uploaded(*rows, **values))


def imported(*rows: str, sends_welcome: bool = False, **values) -> MemberImport:
    job = examined(*rows, **values)
    assert begin(job, sends_welcome=sends_welcome)
    return worked_on(job)


def add(username: str, email: str = "") -> Member:
    return register_member(Member(username=username, email=email or f"{username}@example.org"))


def row(name: str) -> str:
    return f"{name},{name}@example.org"


def members() -> list[tuple[str, str]]:
    return list(Member.objects.order_by("pk").values_list("username", "email"))


def refusals(job: MemberImport) -> list[tuple[int, str]]:
    return [
        (each[0], " | ".join(reasons_of(job, each)))
        for page in job.pages.filter(kind="refused")
        for each in page.rows
    ]


# --- Reading ---


@pytest.mark.parametrize(
    "header",
    [
        ["username", "e-mail"],
        ["User_Name", "E-mail address"],
        ["Логин", "Почта"],
        ["Имя пользователя", "Эл. почта"],
        ["Benutzername", "E-Mail-Adresse"],
    ],
)
def test_headers_of_three_languages_are_recognised(header):
    job = examined("Ann,ann@example.org", header=",".join(header))
    assert job.problem is None
    assert job.pages.get().rows == [[2, "Ann", "ann@example.org"]]


@pytest.mark.parametrize("name", ["members.xlsx", "members.jsonl", "members.tsv"])
def test_other_formats_are_imported_alike(name):
    content = {
        "members.xlsx": xlsx(["Логин", "E-Mail"], ["ann", "ann@example.org"]),
        "members.jsonl": b'{"username": "ann", "email": "ann@example.org"}',
        "members.tsv": b"username\temail\nann\tann@example.org",
    }
    imported(name=name, content=content[name])
    assert members() == [("ann", "ann@example.org")]


def test_a_missing_column_is_said_and_chosen_by_hand():
    job = examined("ann,ann@example.org", header="who,where")
    assert (job.state, str(job.problem)) == (State.FAILED, "No column looks like the username.")
    columns = {"username": [0], "email": [1]}
    assert examined("ann,ann@example.org", header="who,where", columns=columns).found["new"] == 1


# --- New, changed, same, refused ---


def test_members_are_found_by_username_without_case():
    ann, bob = add("ann", "old@example.org"), add("bob", "Bob@Example.org")
    job = examined("Ann,new@example.org", "BOB,bob@example.ORG", row("cleo"))
    assert {page.kind: page.rows for page in job.pages.all()} == {
        "changed": [[2, "ann", "new@example.org", "old@example.org"]],
        "same": [[3, "BOB", "bob@example.ORG"]],
        "new": [[4, "cleo", "cleo@example.org"]],
    }
    assert begin(job)
    assert worked_on(job).written == {"new": 1, "changed": 1, "same": 1}
    ann.refresh_from_db()
    bob.refresh_from_db()
    assert (ann.username, ann.email, ann.version) == ("ann", "new@example.org", 2)
    assert (bob.email, bob.version) == ("Bob@Example.org", 1)
    assert members()[-1] == ("cleo", "cleo@example.org")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (",ann@example.org", "no username"),
        ("ann,", "no e-mail address"),
        ("an,ann@example.org", "username: Ensure this value has at least 3 characters (it has 2)."),
        ("ann lee,ann@example.org", "username: Use the letters A to Z, digits and _ . - only."),
        ("анна,ann@example.org", "username: Use the letters A to Z, digits and _ . - only."),
        ("ann,nowhere", "e-mail address: Enter a valid email address."),
        ("ann,ann@localhost", "e-mail address: Enter a valid email address."),
        ("ann", "it has 1 cells, the header has 2"),
    ],
)
def test_what_registration_refuses_is_refused_here(line, reason):
    job = examined(line)
    assert refusals(job) == [(2, reason)]
    assert job.found["refused"] == 1


def test_every_reason_is_told():
    assert refusals(examined("a b,nowhere"))[0][1].count("|") == 1


def test_the_address_of_another_member_is_refused_by_name():
    add("ann")
    add("bob")
    job = examined("bob,Ann@Example.org", "cleo,BOB@example.org")
    assert refusals(job) == [
        (2, "the member “ann” has this e-mail address"),
        (3, "the member “bob” has this e-mail address"),
    ]
    with translation.override("ru"):
        assert "ann" in refusals(job)[0][1] and "member" not in refusals(job)[0][1]


def test_two_rows_of_one_member():
    job = examined(
        row("ann"), "ANN,Ann@example.org", "Ann,other@example.org", "bob,ANN@example.org"
    )
    assert (job.found["new"], job.found["same"], job.found["refused"]) == (1, 1, 2)
    assert refusals(job) == [
        (4, "row 2 has the same username but another e-mail address"),
        (5, "row 2 has the same e-mail address but another username"),
    ]


def test_a_refused_row_takes_no_name_from_later_ones():
    assert examined("ann,nowhere", row("ann")).found["new"] == 1
    job = examined(row("ann"), "bob,ann@example.org", row("bob"))
    assert (job.found["new"], job.found["refused"]) == (2, 1)


def test_spaces_at_the_ends_are_repaired_and_counted():
    job = examined(" ann ,ann@example.org")
    assert job.repairs == {"username: spaces at the ends removed": 1}
    assert job.pages.get().rows == [[2, "ann", "ann@example.org"]]


def test_what_somebody_else_took_meanwhile_is_refused_with_its_own_columns():
    job = examined("7,ann@example.org,ann,x", "8,bob@example.org,bob,x", header="no,e-mail,login,z")
    add("other", "ann@example.org")
    begin(job)
    worked_on(job)
    assert (job.state, job.written) == (State.DONE, {"new": 1, "changed": 0, "same": 0})
    assert (job.found["refused"], job.percent) == (1, 100)
    assert job.pages.get(kind="refused").rows[0][:2] == [2, ["", "ann@example.org", "ann", ""]]
    assert refusals(job) == [(2, "the member “other” has this e-mail address")]


def test_late_refusals_stand_behind_the_early_ones(monkeypatch):
    monkeypatch.setattr(engine, "PAGE_SIZE", 2)
    job = examined("x,", "y,", "z,", *map(row, ("ann", "bob", "cleo")))
    for number, name in enumerate(("ann", "bob", "cleo")):
        add(f"other{number}", f"{name}@example.org")
    begin(job)
    worked_on(job)
    pages = job.pages.filter(kind="refused").order_by("number")
    assert [(page.number, [each[0] for each in page.rows]) for page in pages] == [
        (1, [2, 3]), (2, [4, 5]), (3, [6, 7]),
    ]  # fmt: skip


def test_a_member_whom_the_file_has_twice_is_registered_once():
    job = imported(row("Ann"), row("bob"), row("ann"))
    assert (job.state, job.written) == ("done", {"new": 2, "changed": 0, "same": 1})
    assert set(Member.objects.values_list("username", flat=True)) == {"Ann", "bob"}


def test_an_import_twice_changes_nothing():
    imported(row("ann"), row("bob"))
    job = imported(row("ann"), row("bob"))
    assert job.written == {"new": 0, "changed": 0, "same": 2}
    assert set(Member.objects.values_list("version", flat=True)) == {1}


# --- Welcome e-mails ---


def test_members_that_are_known_get_one_cancelled_e_mail_that_can_be_sent_again(delay):
    imported(row("ann"), row("bob"))
    welcomes = WelcomeEmail.objects.all()
    assert [each.state for each in welcomes] == ["cancelled", "cancelled"]
    assert len({each.message_id for each in welcomes}) == 2
    assert {each.member.username for each in welcomes} == {"ann", "bob"}
    assert "already known" in welcomes[0].reason
    assert SEND_AGAIN.refusal(welcomes[0].state) == ""
    sweep_welcome_emails()
    assert not delay.called
    ids = SEND_AGAIN.apply(welcomes)
    assert WelcomeEmail.objects.filter(pk__in=ids, state="queued", last_error="").count() == 2


def test_members_that_are_to_be_welcomed_are_handed_out_in_batches_by_the_sweep(delay):
    imported(*(row(f"ann{n}") for n in range(120)), sends_welcome=True)
    assert not delay.called
    sweep_welcome_emails()
    assert sorted(len(call.args) for call in delay.call_args_list) == [20, 50, 50]
    assert WelcomeEmail.objects.filter(state="queued").count() == 120


def test_a_member_whose_address_changes_is_not_welcomed_anew(delay):
    add("ann", "old@example.org")
    imported(row("ann"), sends_welcome=True)
    assert WelcomeEmail.objects.count() == 1


def test_one_statement_registers_many(django_assert_max_num_queries):
    job = examined(*(row(f"ann{n}") for n in range(500)))
    begin(job)
    with django_assert_max_num_queries(40):
        worked_on(job)
    assert Member.objects.count() == WelcomeEmail.objects.count() == 500


# --- Never twice ---


class Killed(BaseException):
    """As by SIGKILL: nothing after it runs."""


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_killed_worker_costs_nothing_and_doubles_nothing(monkeypatch, batch):
    monkeypatch.setattr(engine, "PAGE_SIZE", 2)
    monkeypatch.setattr(engine, "PAGES_PER_BATCH", 1)
    job = examined(*(row(f"ann{n}") for n in range(6)))
    begin(job)
    calls = iter(range(1, 99))
    record = MemberImport.record

    def dying(job: MemberImport, **changes) -> None:
        record(job, **changes)
        if "position" in changes and next(calls) == batch:
            monkeypatch.setattr(MemberImport, "record", Mock(side_effect=Killed))
            raise Killed

    monkeypatch.setattr(MemberImport, "record", dying)
    with pytest.raises(Killed):
        work("memberimport", job.pk)
    monkeypatch.setattr(MemberImport, "record", record)
    assert Member.objects.count() == WelcomeEmail.objects.count() == (batch - 1) * 2
    MemberImport.objects.update(
        heartbeat_at=MemberImport.objects.get().heartbeat_at - HEARTBEAT_TIMEOUT
    )
    assert worked_on(job).written == {"new": 6, "changed": 0, "same": 0}
    assert Member.objects.count() == WelcomeEmail.objects.count() == 6


@pytest.mark.mysql
def test_the_registered_members_of_a_batch_are_locked():
    add("ann", "old@example.org")
    job = examined(row("ann"))
    begin(job)
    with CaptureQueriesContext(connection) as queries:
        worked_on(job)
    reads = [q["sql"] for q in queries if q["sql"].startswith("SELECT") and "`email`" in q["sql"]]
    assert len(reads) > 1 and all("FOR UPDATE" in sql for sql in reads[:2])


def test_a_member_who_registers_meanwhile_is_registered_once(monkeypatch):
    job = examined("ann,new@example.org")
    begin(job)
    create = MemberQuerySet.bulk_create

    def overtaken(rows, *args, **kwargs):
        monkeypatch.setattr(MemberQuerySet, "bulk_create", create)
        raise IntegrityError(1062, "Duplicate entry 'ann'")

    monkeypatch.setattr(MemberQuerySet, "bulk_create", overtaken)
    assert worked_on(job).written["new"] == 1
    assert Member.objects.count() == WelcomeEmail.objects.count() == 1


def test_an_error_tells_no_address(monkeypatch, caplog):
    """A database tells the value that it refuses; a task result outlives the member."""
    job = examined(row("ann"))
    begin(job)
    refused = IntegrityError(1062, "Duplicate entry 'ann@example.org' for key 'email'")
    monkeypatch.setattr(MemberQuerySet, "bulk_create", Mock(side_effect=refused))
    monkeypatch.setattr(work, "store_eager_result", True)
    result = work.apply(args=["memberimport", job.pk])
    assert result.state == "FAILURE"
    stored = TaskResult.objects.get()
    for text in (stored.result, stored.traceback, caplog.text):
        assert "IntegrityError" in text and "ann@" not in text


# --- History and undo ---


def test_the_history_says_which_file(staff):
    add("bob", "old@example.org")
    job = imported(row("ann"), row("bob"), user=staff)
    versions = Member.history.filter(batch=f"memberimport-{job.pk}")
    assert {(v.username, v.history_type) for v in versions} == {("ann", "+"), ("bob", "~")}
    assert {(v.door, v.detail, v.history_user) for v in versions} == {
        (Door.IMPORT, "members.csv", staff)
    }


def test_an_undo_erases_puts_back_and_names_what_it_left(staff):
    bob = add("bob", "old@example.org")
    job = imported(row("ann"), row("bob"), row("cleo"), row("dora"))
    cleo = Member.objects.get(username="cleo")
    cleo.email = "hers@example.org"
    cleo.save()
    assert job.begin_undo(staff.pk)
    worked_on(job)
    assert job.state == State.UNDONE
    assert (job.undone["deleted"], job.undone["restored"], job.undone["left_count"]) == (2, 1, 1)
    bob.refresh_from_db()
    assert bob.email == "old@example.org"
    assert members() == [("bob", "old@example.org"), ("cleo", "hers@example.org")]
    assert WelcomeEmail.objects.count() == 2


def test_an_undo_does_not_take_an_import_of_books_along(staff):
    books = of_books.examined(*of_books.lines(1))
    begin(books)
    of_books.worked_on(books)
    job = imported(row("ann"), pk=books.pk)
    job.begin_undo(staff.pk)
    worked_on(job)
    assert (Book.objects.count(), Member.objects.count()) == (1, 0)
