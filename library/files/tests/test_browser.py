"""What only a browser shows: the page follows the worker, under the real policy."""

import threading

import pytest
from django.conf import settings as configured
from django.test import Client
from django.urls import reverse
from playwright.sync_api import expect

from library.files.models import Import
from library.models import Book
from project.jobs.models import State
from project.jobs.tasks import work

from .test_jobs import lines, uploaded

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def in_a_thread(job: Import) -> None:
    from django.db import connection

    def run() -> None:
        work("import", job.pk)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_the_page_follows_the_worker_to_the_end(browser, live_server, staff, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    client = Client()
    client.force_login(staff)
    job = uploaded(*lines(1, 2), "No ISBN,Author,2000,")
    page = browser.new_page(base_url=live_server.url)
    complaints: list[str] = []
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    name = configured.SESSION_COOKIE_NAME
    cookie = {"name": name, "value": client.cookies[name].value, "url": live_server.url}
    page.context.add_cookies([cookie])
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
    assert complaints == []
    assert Book.objects.count() == 2
    page.close()
