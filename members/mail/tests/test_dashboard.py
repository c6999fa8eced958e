"""The dashboard's block about welcome e-mails."""

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse
from django.utils import timezone

from members.mail import dashboard
from members.models import Dispatch, Member, WelcomeEmail
from project.admin.charts import midnight

INDEX = reverse("admin:index")
State = WelcomeEmail.State
pytestmark = pytest.mark.django_db


@pytest.fixture
def alive():
    for part in ("beat", "worker"):
        Dispatch.objects.current()
        Dispatch.objects.heartbeat(part)


def mail(state: State = State.QUEUED, **columns) -> WelcomeEmail:
    number = Member.objects.count()
    member = Member.objects.create(username=f"ann{number}", email=f"ann{number}@example.org")
    return WelcomeEmail.objects.create(member=member, state=state, **columns)


def overview(client) -> dict[str, Any]:
    return client.get(INDEX).context["sending"]


def numbers(client) -> dict[str, str]:
    return {number.title: number.value for number in overview(client)["numbers"]}


def test_it_counts_what_waits_failed_and_was_sent(operator, alive):
    now = timezone.now()
    seen = now - timedelta(hours=2)
    Dispatch.objects.update(worker_at=seen, beat_at=seen)
    mail(queued_at=now - timedelta(hours=3))
    mail(attempts=1, last_error_code="451")
    mail(State.HELD)
    mail(State.FAILED, last_error_code="550")
    mail(State.SENT, sent_at=now)
    mail(State.SENT, sent_at=now - timedelta(days=2))
    found = numbers(operator)
    assert found["Waiting"] == "2"
    assert found["Oldest waiting"] == "3\xa0hours"
    assert found["Trying again"] == found["On hold"] == found["Failed"] == "1"
    assert found["Sent in 24 hours"] == "1"
    assert found["Worker last seen"] == found["Scheduler last seen"] == "2\xa0hours ago"


def test_every_number_opens_the_list_that_it_counts(operator, alive):
    mail(queued_at=timezone.now() - timedelta(hours=3))
    mail(attempts=1, last_error_code="451")
    for state in (State.HELD, State.FAILED):
        mail(state, last_error_code="550")
    mail(State.SENT, sent_at=timezone.now())
    linked = [number for number in overview(operator)["numbers"] if number.url]
    assert len(linked) == 6
    for number in linked:
        response = operator.get(number.url)
        assert response.status_code == 200, "a filter that the list does not know leads away"
        rows = response.context["cl"].result_list
        if number.title == "Oldest waiting":
            assert rows[0] == WelcomeEmail.objects.order_by("queued_at").first()
        else:
            assert str(len(rows)) == number.value, number.title


def test_only_for_those_who_may_see_welcome_e_mails(client):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.groups.add(Group.objects.get(name="Cataloguers"))
    client.force_login(clerk)
    assert overview(client) is None


def test_silence_is_an_alarm_after_two_minutes(operator, alive):
    assert overview(operator)["alarms"] == []
    Dispatch.objects.update(beat_at=timezone.now() - timedelta(minutes=3))
    assert [text[:20] for text in overview(operator)["alarms"]] == ["The scheduler (beat)"]


def test_works_that_never_ran_are_an_alarm_once_a_mail_waits_for_them(operator):
    assert overview(operator)["alarms"] == []
    assert colours(operator)["Worker last seen"] == colours(operator)["Scheduler last seen"] == ""
    mail(queued_at=timezone.now() - timedelta(minutes=3))
    assert len(overview(operator)["alarms"]) == 2
    found = numbers(operator)
    assert (
        found["Worker last seen"]
        == found["Scheduler last seen"]
        == found["Last success"]
        == "never"
    )
    assert (
        colours(operator)["Worker last seen"]
        == colours(operator)["Scheduler last seen"]
        == "danger"
    )


def test_a_pause_is_told_with_its_reason_and_the_button_resumes(operator, alive):
    assert reverse("admin:members_dispatch_pause") in operator.get(INDEX).content.decode()
    Dispatch.objects.pause("The mail server moves", Dispatch.OPERATOR)
    response = operator.get(INDEX)
    (alarm,) = response.context["sending"]["alarms"]
    assert alarm.startswith("Sending has been paused since ")
    assert alarm.endswith(": The mail server moves")
    assert reverse("admin:members_dispatch_resume") in response.content.decode()


def test_a_fault_of_the_settings_is_an_alarm(operator, alive):
    Dispatch.objects.pause("The mail server refuses our login (535).", "535", timedelta(minutes=5))
    (alarm,) = overview(operator)["alarms"]
    assert "the mail settings are wrong" in alarm
    assert "(535)" in alarm
    assert "Next try at" in alarm


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Auckland"])
def test_days_are_those_of_the_desk(settings, zone):
    settings.TIME_ZONE = zone
    today = timezone.localdate()
    start = midnight(today)
    mail(State.SENT, sent_at=start)
    mail(State.SENT, sent_at=start - timedelta(seconds=1))
    mail(State.SENT, sent_at=start - timedelta(days=40))
    mail(State.FAILED, claimed_at=start + timedelta(seconds=1))
    chart = dashboard._chart()
    assert len(chart.bars) == dashboard.CHART_DAYS
    assert [bar.values for bar in chart.bars if any(bar.values)] == [[1, 0], [1, 1]]
    assert [bar.values for bar in chart.bars[-2:]] == [[1, 0], [1, 1]]
    assert [(series.name, series.total) for series in chart.series] == [("sent", 2), ("failed", 1)]


def test_the_block_costs_a_handful_of_queries(operator, alive, django_assert_max_num_queries):
    for number in range(40):
        mail(list(State)[number % 6], sent_at=timezone.now(), claimed_at=timezone.now())
    request = Mock(user=User.objects.get())
    with django_assert_max_num_queries(10) as first:  # permissions, the switch, the mails (8)
        dashboard.overview(request)
    assert sum("welcomeemail" in query["sql"] for query in first) == 8
    with django_assert_max_num_queries(7):
        dashboard.overview(request)


def test_a_queue_of_unknown_length_is_called_unknown(operator, alive, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert numbers(operator)["Queue"] == "unknown"


@pytest.mark.parametrize(
    ("state", "column"), [(State.SENT, "sent_at"), (State.FAILED, "claimed_at")]
)
def test_the_first_mail_stands_in_the_chart_at_once(operator, state, column):
    assert not overview(operator)["chart"]
    mail(state, **{column: timezone.now()})
    assert '<td class="text-end">1</td>' in overview(operator)["chart"]


def colours(client) -> dict[str, str]:
    return {number.title: number.colour for number in overview(client)["numbers"]}


@pytest.mark.parametrize(
    ("columns", "title", "colour"),
    [
        ({"queued_at": timedelta(minutes=4)}, "Oldest waiting", ""),
        ({"queued_at": timedelta(minutes=6)}, "Oldest waiting", "warning"),
        ({"last_error_code": "451"}, "Trying again", "warning"),
        ({}, "Trying again", ""),
        ({"state": State.FAILED}, "Failed", "danger"),
        ({}, "Failed", ""),
    ],
)
def test_what_wants_a_look_is_coloured(operator, alive, columns, title, colour):
    now = timezone.now()
    mail(**{k: now - v if isinstance(v, timedelta) else v for k, v in columns.items()})
    assert colours(operator)[title] == colour


@pytest.mark.parametrize("part", ["worker", "beat"])
@pytest.mark.parametrize(("seconds", "silent"), [(100, False), (121, True)])
def test_each_part_that_is_silent_is_named(operator, alive, part, seconds, silent):
    Dispatch.objects.update(**{f"{part}_at": timezone.now() - timedelta(seconds=seconds)})
    title, alarm = {
        "worker": ("Worker last seen", "No worker is responding"),
        "beat": ("Scheduler last seen", "The scheduler (beat) isn’t responding"),
    }[part]
    found = {name: colour for name, colour in colours(operator).items() if colour == "danger"}
    assert found == ({title: "danger"} if silent else {})
    alarms = overview(operator)["alarms"]
    assert [text.startswith(alarm) for text in alarms] == ([True] if silent else [])


def test_a_queue_of_unknown_length_is_coloured(operator, alive, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert colours(operator)["Queue"] == "warning"


def test_what_was_sent_and_waits_again_is_not_among_the_sent(operator, alive):
    mail(sent_at=timezone.now(), last_error_code="")
    mail(State.FAILED, last_error_code="550")
    found = numbers(operator)
    assert (found["Sent in 24 hours"], found["Trying again"]) == ("0", "0")


def test_who_only_looks_has_no_switch(client, alive):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_welcomeemail"))
    client.force_login(clerk)
    response = client.get(INDEX)
    assert response.context["sending"]["may_switch"] is False
    assert reverse("admin:members_dispatch_pause") not in response.content.decode()
