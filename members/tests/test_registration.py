"""register_member(): the row is the promise, the message only a reminder."""

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from kombu.exceptions import OperationalError

from members.models import Member, WelcomeEmail
from members.registration import register_member


def ann() -> Member:
    return Member(username="ann", email="ann@example.org")


@pytest.mark.django_db
def test_registration_owes_one_mail_and_enqueues_it_after_the_commit(
    delay, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        member = register_member(ann())
        delay.assert_not_called()
    welcome = WelcomeEmail.objects.get()
    assert welcome.member == member
    assert welcome.state == WelcomeEmail.State.QUEUED
    delay.assert_called_once_with(welcome.pk)


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_registration_leaves_nothing_and_enqueues_nothing(delay):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        register_member(ann())
        1 / 0  # noqa: B018 - anything else in the caller's transaction may fail
    assert not Member.objects.exists()
    assert not WelcomeEmail.objects.exists()
    delay.assert_not_called()


@pytest.mark.django_db(transaction=True)
def test_without_its_outbox_row_there_is_no_member(delay, monkeypatch):
    def fail(rows):
        raise IntegrityError

    monkeypatch.setattr("members.registration.insert_rows", fail)
    with pytest.raises(IntegrityError):
        register_member(ann())
    assert not Member.objects.exists()


@pytest.mark.django_db
def test_a_failing_broker_is_left_alone_and_the_row_left_to_the_sweeper(
    delay, django_capture_on_commit_callbacks, caplog
):
    delay.side_effect = OperationalError("refused")
    with django_capture_on_commit_callbacks(execute=True):
        register_member(ann())
        register_member(Member(username="bob", email="bob@example.org"))
    assert delay.call_count == 1, "the second registration must not wait for a dead broker"
    assert list(WelcomeEmail.objects.values_list("state", "enqueued_at")) == [("queued", None)] * 2
    assert "The broker takes no messages" in caplog.text
    assert "example.org" not in caplog.text


@pytest.mark.django_db
def test_a_broken_queue_does_not_reach_the_caller(
    delay, django_capture_on_commit_callbacks, monkeypatch
):
    def fail(*ids):
        raise RuntimeError("the database went away after the commit")

    monkeypatch.setattr("members.registration.enqueue", fail)
    with django_capture_on_commit_callbacks(execute=True):
        assert register_member(ann()).pk


@pytest.mark.django_db
def test_taken_names_are_refused_whatever_their_case(delay):
    register_member(ann())
    for username, email in [("ANN", "other@example.org"), ("other", "Ann@Example.ORG")]:
        with pytest.raises(IntegrityError), transaction.atomic():
            register_member(Member(username=username, email=email))
    assert WelcomeEmail.objects.count() == 1


@pytest.mark.django_db
def test_registering_costs_few_queries(delay, django_assert_max_num_queries):
    with django_assert_max_num_queries(6):
        register_member(ann())


@pytest.mark.django_db
def test_fixtures_send_nothing(delay, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        call_command("loaddata", "fixtures/members", verbosity=0)
    delay.assert_not_called()
    assert not WelcomeEmail.objects.exclude(state=WelcomeEmail.State.SENT).exists()
