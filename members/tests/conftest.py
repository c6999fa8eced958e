from collections.abc import Callable
from unittest.mock import Mock, patch

import pytest

from members.models import Member, WelcomeEmail
from project import breaker


@pytest.fixture(autouse=True)
def rested_breakers():
    breaker.broker.reset()
    yield
    breaker.broker.reset()


@pytest.fixture
def delay() -> Mock:
    """The hint to the workers, which goes nowhere."""
    with patch("members.tasks.send_welcome_email.delay") as delay:
        yield delay


@pytest.fixture
def owed(db) -> Callable[..., WelcomeEmail]:
    """A new member's welcome e-mail, with these columns."""

    def create(username: str = "ann", **columns) -> WelcomeEmail:
        member = Member.objects.create(username=username, email=f"{username}@example.org")
        return WelcomeEmail.objects.create(member=member, **columns)

    return create
