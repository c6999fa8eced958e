"""All sending paused and resumed by an operator."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from members.mail.tasks import sweep_welcome_emails
from members.models import Dispatch

from .operators import text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("delay")]


def test_resuming_enqueues_once_what_is_due(operator, owed, delay):
    due = [owed(f"ann{number}", enqueued_at=None).pk for number in range(60)]
    owed("bob", enqueued_at=None, next_attempt_at=timezone.now() + timedelta(hours=1))
    Dispatch.objects.pause("Wait.", Dispatch.OPERATOR)
    operator.post(reverse("admin:members_dispatch_resume"))
    sweep_welcome_emails()
    assert sorted(pk for call in delay.call_args_list for pk in call.args) == due


def test_pausing_wants_a_reason_and_resuming_shows_the_backlog(operator, owed, delay):
    welcome = owed(queued_at=timezone.now() - timedelta(days=2), enqueued_at=None)
    pause = reverse("admin:members_dispatch_pause")
    assert "Enter a reason." in text(operator.post(pause, {"reason": " "}))
    assert not Dispatch.objects.pausing().exists()
    operator.post(pause, {"reason": "The mail server moves"})
    dispatch = Dispatch.objects.pausing().get()
    assert (dispatch.pause_reason, dispatch.pause_code) == ("The mail server moves", "operator")
    resume = reverse("admin:members_dispatch_resume")
    asked = text(operator.get(resume))
    assert "Waiting: 1" in asked
    assert "Oldest: waiting for 2" in asked
    assert Dispatch.objects.pausing().exists(), "a look changes nothing"
    delay.assert_not_called()
    operator.post(resume)
    delay.assert_called_once_with(welcome.pk)
    assert not Dispatch.objects.pausing().exists()
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize("page", ["pause", "resume"])
def test_switching_all_sending_has_its_own_permission(operator, page):
    user = User.objects.get()
    user.groups.clear()
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_welcomeemail", "change_welcomeemail"])
    )
    address = reverse(f"admin:members_dispatch_{page}")
    assert address not in text(operator.get(reverse("admin:index")))
    assert operator.post(address, {"reason": "why"}).status_code == 403


def test_the_resume_page_tells_what_is_due_from_what_waits(operator, owed):
    owed("ann")
    owed("bob", next_attempt_at=timezone.now() + timedelta(hours=1))
    asked = operator.get(reverse("admin:members_dispatch_resume"))
    assert (asked.context["waiting"], asked.context["due"]) == ("2", "1")


def test_the_pause_page_complains_only_of_what_was_posted(operator):
    pause = reverse("admin:members_dispatch_pause")
    assert "Enter a reason." not in text(operator.get(pause))
    assert "Enter a reason." in text(operator.post(pause))
