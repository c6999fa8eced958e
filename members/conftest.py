import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import Mock, patch
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Group, User

from members.models import Member, WelcomeEmail


@contextmanager
def redis_database() -> Iterator[str]:
    """The URL of an empty database on the Redis of REDIS_URL.

    Not the queue of a real worker, and one for each process of the test run.
    """
    from redis import Redis

    number = 15 - int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    url = urlsplit(os.environ["REDIS_URL"])._replace(path=f"/{number}").geturl()
    with Redis.from_url(url) as redis:
        redis.flushdb()
        yield url
        redis.flushdb()


@contextmanager
def mysql_database() -> Iterator[str]:
    """The URL of an empty database on the MySQL of DATABASE_URL, for processes of their own."""
    import MySQLdb

    parts = urlsplit(os.environ["DATABASE_URL"])
    name = f"test_worker_{os.getpid()}"
    server = MySQLdb.connect(
        host=parts.hostname, port=parts.port or 3306, user=parts.username, password=parts.password
    )
    server.query(f"CREATE DATABASE {name}")
    try:
        yield parts._replace(path=f"/{name}").geturl()
    finally:
        server.query(f"DROP DATABASE {name}")
        server.close()


def claim(welcome: WelcomeEmail, task_id: str | None = None) -> WelcomeEmail | None:
    """As a worker claims it."""
    read = WelcomeEmail.objects.get(pk=welcome.pk)
    return read if read.claim(task_id) else None


@pytest.fixture
def delay() -> Iterator[Mock]:
    """The message to the workers, which is not sent."""
    with patch("members.mail.tasks.send_welcome_emails.delay") as delay:
        yield delay


@pytest.fixture
def owed(db) -> Callable[..., WelcomeEmail]:
    """A new member's welcome e-mail, with these columns."""

    def create(username: str = "ann", **columns) -> WelcomeEmail:
        member = Member.objects.create(username=username, email=f"{username}@example.org")
        return WelcomeEmail.objects.create(member=member, **columns)

    return create


@pytest.fixture
def operator(client):
    """One of the group Operators, in the admin."""
    account = User.objects.create_user("operator", is_staff=True)
    account.groups.add(Group.objects.get(name="Operators"))
    client.force_login(account)
    return client
