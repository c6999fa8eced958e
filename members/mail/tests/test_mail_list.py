"""The list of welcome e-mails: columns, filters, search, order."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from members.models import Dispatch

from .operators import LIST, RESULTS, State, result_of, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("delay")]


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (LIST, "Every new member gets a welcome e-mail."),
        (RESULTS, "Results appear here after tasks run"),
        (reverse("admin:index"), "No e-mails were sent or failed in the last 30 days."),
    ],
)
def test_where_nothing_is_yet_the_page_says_what_will_be(operator, page, words):
    assert words in text(operator.get(page))


def test_what_waits_while_sending_is_paused_says_so(operator, owed):
    owed()
    assert "as soon as a worker is free" in text(operator.get(LIST))
    Dispatch.objects.pause("Wait.", Dispatch.OPERATOR)
    assert "when sending resumes" in text(operator.get(LIST))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=retrying", ["cat"]),
        ("state=held", ["dan"]),
        ("age=under-24", ["cat", "dan", "eve"]),
        ("age=over-24", ["ann", "bob"]),
        ("reason=address", ["bob"]),
        ("reason=busy", ["cat"]),
        ("reason=other", ["dan"]),
        ("sent=7", ["ann"]),
        ("sent=1", []),
        ("state=sent&age=over-1&sent=30&q=AN", ["ann"]),
        ("q=bob@exam", ["bob"]),
        ("q=task-of-ann", ["ann"]),
        ("reason=settings", ["eve"]),
        ("q=an-earlier-task", []),
        ("q=nobody", []),
    ],
)
def test_filters_and_search(operator, owed, query, expected):
    before = timezone.now() - timedelta(days=2)
    owed("ann", state=State.SENT, sent_at=before, queued_at=before, task_id="task-of-ann")
    owed("bob", state=State.FAILED, last_error_code="550", queued_at=before)
    cat = owed("cat", attempts=1, last_error_code="451")
    owed("dan", state=State.HELD, last_error_code="weird")
    result_of(cat, "an-earlier-task")
    result_of(cat, "its-latest-task")
    owed("eve", last_error_code="policy", state=State.CANCELLED)
    response = operator.get(f"{LIST}?{query}")
    assert response.status_code == 200
    rows = response.context["cl"].result_list
    assert sorted(welcome.member.username for welcome in rows) == expected


def test_the_oldest_first_is_read_from_one_index(operator, owed, django_assert_max_num_queries):
    """Django would sort by the age, by the age again and by the key the other way."""
    owed()
    with django_assert_max_num_queries(6) as queries:
        operator.get(f"{LIST}?state=queued&o=5")
    (rows,) = [q["sql"] for q in queries if "last_error" in q["sql"] and "ORDER BY" in q["sql"]]
    order = rows[rows.index("ORDER BY") :].replace("`", '"')
    assert order.startswith(
        'ORDER BY "members_welcomeemail"."queued_at" ASC, "members_welcomeemail"."id" ASC'
    )


def test_a_search_that_finds_too_many_says_so(operator, owed, monkeypatch):
    monkeypatch.setattr("members.mail.admin.WelcomeEmailAdmin.MAX_MEMBERS", 2)
    for number in range(3):
        owed(f"ann{number}")
    assert "Type more letters" in text(operator.get(f"{LIST}?q=ann"))


@pytest.mark.parametrize("query", ["q=nn", "q=xample"])
def test_a_search_is_for_beginnings(operator, owed, query):
    owed("ann")
    assert not operator.get(f"{LIST}?{query}").context["cl"].result_list


def test_blanks_around_a_search_do_not_count(operator, owed):
    owed("ann", task_id="t-1")
    for term in ("+ann+", "+t-1+"):
        assert len(operator.get(f"{LIST}?q={term}").context["cl"].result_list) == 1


@pytest.mark.parametrize(
    ("query", "expected"), [("", ["cat", "bob", "ann"]), ("sent=7", ["bob", "cat", "ann"])]
)
def test_the_latest_stand_first(operator, owed, query, expected):
    now = timezone.now()
    sent = {"state": State.SENT, "queued_at": now, "sent_at": now - timedelta(hours=2)}
    owed("ann", **sent)
    owed("bob", **sent | {"sent_at": now - timedelta(hours=1)})
    owed("cat", **sent)
    rows = operator.get(f"{LIST}?{query}").context["cl"].result_list
    assert [row.member.username for row in rows] == expected


def test_a_mail_that_was_sent_and_is_queued_again_shows_its_next_attempt(operator, owed):
    owed(sent_at=timezone.now() - timedelta(days=1))
    assert "as soon as a worker is free" in text(operator.get(LIST))


def test_what_is_not_waiting_has_no_next_attempt(operator, owed):
    owed(state=State.FAILED)
    assert "as soon as a worker is free" not in text(operator.get(LIST))
