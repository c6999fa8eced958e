"""What only a browser shows: the page follows the worker, under the real policy."""

import threading

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from library.files.models import Import
from library.models import Book
from project.jobs.models import State
from project.jobs.tasks import work
from project.tests.test_browser import log_in

from .imports import lines, uploaded

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def in_a_thread(job: Import) -> None:
    from django.db import connection

    def run() -> None:
        work("import", job.pk)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_the_page_follows_the_worker_to_the_end(page, live_server, staff, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    job = uploaded(*lines(1, 2), "No ISBN,Author,2000,")
    log_in(page, staff, live_server.url)
    page.goto(reverse("admin:library_import_change", args=[job.pk]))
    expect(page.locator("progress")).to_be_visible()
    in_a_thread(job)
    expect(page.locator("#preview")).to_be_visible()  # without a reload by hand
    page.locator("form[action$='confirm/'] button").click()
    expect(page.locator("progress")).to_be_visible()
    Import.objects.update(state=State.RUNNING, done=1)
    expect(page.locator("[data-progress-text]")).to_contain_text("1 (50%)")
    in_a_thread(job)
    expect(page.locator("progress")).to_have_count(0)
    expect(page.locator(".desk-numbers")).to_contain_text("Added")
    assert page.complaints == []
    assert Book.objects.count() == 2
