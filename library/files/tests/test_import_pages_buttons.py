"""Confirm, cancel, try again: the buttons of an import's page."""

import pytest
from django.urls import reverse

from library.files.models import Import
from library.models import Book
from project.imports.engine import begin
from project.jobs.models import State
from project.jobs.tasks import BROKE_OFF

from .imports import BAD, examined, html, lines, uploaded, url, worked_on

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files")]


@pytest.mark.parametrize("name", ["examine", "confirm", "cancel", "again"])
def test_a_link_changes_nothing(desk, name):
    job = examined(*lines(1))
    assert desk.get(url(job, name)).headers["Location"] == url(job)
    job.refresh_from_db()
    assert job.state == State.EXAMINED


def test_from_the_button_to_the_books(desk, enqueued):
    job = examined(*lines(1, 2), BAD)
    assert url(job, "confirm") in html(desk, job)
    assert desk.post(url(job, "confirm")).headers["Location"] == url(job)
    enqueued.assert_called_once_with(job)
    worked_on(job)
    page = html(desk, job)
    assert url(job, "confirm") not in page and url(job, "cancel") not in page
    assert Book.objects.count() == 2


def test_a_file_that_changes_nothing_cannot_be_confirmed(desk):
    job = examined(BAD)
    page = html(desk, job)
    assert url(job, "confirm") not in page
    assert "The file changes nothing" in page


def test_a_second_confirmation_does_nothing(desk, enqueued):
    job = examined(*lines(1))
    for _ in range(2):
        desk.post(url(job, "confirm"))
    assert enqueued.call_count == 1


def test_what_is_not_examined_yet_cannot_be_confirmed(desk, enqueued):
    job = uploaded(*lines(1))
    assert desk.post(url(job, "confirm")).headers["Location"] == url(job)
    job.refresh_from_db()
    assert (job.state, job.confirmed_at) == (State.UPLOADED, None)
    enqueued.assert_not_called()


@pytest.mark.parametrize("state", State)
def test_what_is_not_over_can_be_cancelled(desk, state):
    job = examined(*lines(1))
    Import.objects.update(state=state, claim="somebody's")
    shown = url(job, "cancel") in html(desk, job)
    desk.post(url(job, "cancel"))
    job.refresh_from_db()
    may = state in (State.UPLOADED, State.EXAMINED, State.QUEUED, State.RUNNING)
    assert shown == may
    assert job.state == (State.CANCELLED if may else state)
    assert (job.claim == "") == may


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_failed_import_goes_on_where_it_failed(desk, enqueued, confirmed):
    job = examined(*lines(1))
    if confirmed:
        begin(job)
    Import.objects.update(state=State.FAILED, error=[BROKE_OFF, {"times": 5}], claims=9)
    desk.post(url(job, "again"))
    job.refresh_from_db()
    assert (job.state, job.error, job.claims) == (
        State.QUEUED if confirmed else State.UPLOADED, [], 0,
    )  # fmt: skip
    enqueued.assert_called_once_with(job)


def test_a_file_that_cannot_be_read_is_followed_by_another_and_not_tried_again(desk, enqueued):
    page = html(desk, job := examined(content=b"PK\x03\x04"))
    assert reverse("admin:library_import_add") in page and url(job, "again") not in page
    desk.post(url(job, "again"))
    assert not enqueued.called


def test_a_file_without_rows_is_no_known_catalogue(desk):
    page = html(desk, examined())
    assert "no rows under its header" in page and "in the catalogue already" not in page


def test_progress_is_told_as_numbers_and_words(desk):
    job = examined(*lines(1, 2))
    begin(job)
    Import.objects.update(state=State.RUNNING, done=1)
    assert desk.get(url(job, "progress")).json() == {
        "state": "running", "percent": 50, "text": "Books compared and written: 1 (50%)",
    }  # fmt: skip
