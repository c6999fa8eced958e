"""A message that no worker can process is dropped, and stops nothing."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from queue import Empty
from typing import Any

import pytest
from django.db import connection
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from members.conftest import redis_database
from members.mail.tasks import send_welcome_emails, sweep_welcome_emails
from members.models import Member, WelcomeEmail
from project.base import transport
from project.celery import app
from project.tasks import heartbeat

NOTHING = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
NOBODY = 99_999_999


def encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


def message(
    *args: Any,
    kwargs: dict[str, Any] | None = None,
    embed: Any = NOTHING,
    without: str = "",
    **changes: Any,
) -> Any:
    """As Celery sends it, but for the changes; `headers__id=…` reaches inside."""
    task_id = str(uuid.uuid4())
    made: Any = {
        "body": encoded(json.dumps([args or [NOBODY], kwargs or {}, embed]).encode()),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": "members.tasks.send_welcome_emails",
            "id": task_id,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "retries": 0,
            "timelimit": [None, 120],
            "root_id": task_id,
            "parent_id": None,
            "ignore_result": False,
            "stamped_headers": None,
            "stamps": {},
        },
        "properties": {
            "correlation_id": task_id,
            "reply_to": task_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": task_id,
        },
    }
    for path, value in changes.items():
        *parts, name = path.split("__")
        part = made
        for key in parts:
            part = part[key]
        part[name.replace("_", "-") if name.startswith("content") else name] = value
    if without:
        *parts, name = without.split("__")
        part = made
        for key in parts:
            part = part[key]
        del part[name]
    return made


def body(text: bytes) -> Any:
    return message(body=encoded(text))


INVALID: dict[str, Any] = {
    "null": None,
    "number": 7,
    "list": [1, 2],
    "string": "x",
    "empty object": {},
    "no headers": message(without="headers"),
    "headers null": message(headers=None),
    "headers list": message(headers=[1]),
    "headers string": message(headers="x"),
    "no properties": message(without="properties"),
    "properties null": message(properties=None),
    "no delivery_info": message(without="properties__delivery_info"),
    "delivery_info null": message(properties__delivery_info=None),
    "delivery_info empty": message(properties__delivery_info={}),
    "delivery_info without exchange": message(properties__delivery_info={"routing_key": "x"}),
    "delivery_info without key": message(properties__delivery_info={"exchange": ""}),
    "no delivery_tag": message(without="properties__delivery_tag"),
    "delivery_tag null": message(properties__delivery_tag=None),
    "delivery_tag list": message(properties__delivery_tag=[1]),
    "no body_encoding": message(without="properties__body_encoding"),
    "body_encoding unknown": message(properties__body_encoding="rot13"),
    "no body": message(without="body"),
    "body null": message(body=None),
    "body number": message(body=7),
    "body of 1 MB": body(json.dumps([["x" * 10**6], {}, NOTHING]).encode()),
    "body over the limit": body(json.dumps([[1], {}, NOTHING]).encode().ljust(3073)),
    "body no base64": message(body="!!! not base64 !!!"),
    "body base64 with rubbish": message(body="*" + message()["body"]),
    "body no JSON": body(b"hello"),
    "body binary": body(bytes(range(256))),
    "body deep": body(b"[" * 3000),
    "body object": body(b'{"a": 1}'),
    "body object of three": body(b'{"a": 1, "b": 2, "c": 3}'),
    "body short": body(b"[[1]]"),
    "body number inside": body(b"5"),
    "body of an unknown type": body(b'[[{"__type__": "x", "__value__": 1}], {}, {}]'),
    "body of a broken type": body(b'[[{"__type__": "bytes", "__value__": 1}], {}, {}]'),
    "args number": body(b"[5, {}, {}]"),
    "args string": body(b'["abc", {}, {}]'),
    "args null": body(b"[null, {}, {}]"),
    "kwargs list": body(b"[[1], [2], {}]"),
    "embed null": message(embed=None),
    "embed list": message(embed=[3]),
    "callbacks": message(embed=NOTHING | {"callbacks": [{"task": "nowhere"}]}),
    "errbacks": message(embed=NOTHING | {"errbacks": [{"task": "nowhere"}]}),
    "chain": message(embed=NOTHING | {"chain": [{"task": "nowhere"}]}),
    "chord": message(embed=NOTHING | {"chord": {"task": "nowhere"}}),
    "ten thousand ids": message(*range(NOBODY, NOBODY + 10_000)),
    "unknown task": message(headers__task="nowhere.at_all"),
    "task null": message(headers__task=None),
    "task list": message(headers__task=[1]),
    "no task": message(without="headers__task"),
    "no id": message(without="headers__id"),
    "id null": message(headers__id=None),
    "id number": message(headers__id=7),
    "id list": message(headers__id=[1]),
    "id empty": message(headers__id=""),
    "id too long": message(headers__id="i" * 256),
    "no timelimit": message(without="headers__timelimit"),
    "timelimit number": message(headers__timelimit=5),
    "timelimit of one": message(headers__timelimit=[1]),
    "timelimit of strings": message(headers__timelimit=["a", "b"]),
    "timelimit of nothing": message(headers__timelimit=[None, 0]),
    "timelimit negative": message(headers__timelimit=[-5, None]),
    "timelimit one over": message(headers__timelimit=[None, 3601]),
    "timelimit absurd": message(headers__timelimit=[10**300, 10**300]),
    "eta far": message(headers__eta="2999-01-01T00:00:00+00:00"),
    "eta wrong": message(headers__eta="tomorrow"),
    "expires wrong": message(headers__expires="tomorrow"),
    "expires number": message(headers__expires=5),
    "shadow": message(headers__shadow=[1]),
    "group": message(headers__group="g"),
    "stamped": message(headers__stamped_headers=5),
    "compressed": message(headers__compression="application/x-gzip"),
    "retries wrong": message(headers__retries="many"),
    "root_id wrong": message(headers__root_id=[1]),
    "parent_id wrong": message(headers__parent_id={"a": 1}),
    "ignore_result wrong": message(headers__ignore_result="x"),
    "content-type unknown": message(content_type="application/x-nothing"),
    "content-type pickle": message(content_type="application/x-python-serialize"),
    "content-type null": message(content_type=None),
    "content-encoding unknown": message(content_encoding="klingon"),
    "content-encoding null": message(content_encoding=None),
}
UNREADABLE = {
    "no JSON": b"hello",
    "empty": b"",
    "binary": bytes(range(256)),
    "half a message": json.dumps(message()).encode()[:200],
    "deep": b"[" * 100_000,
    "unknown type": b'{"__type__": "x", "__value__": 1}',
    "broken type": b'{"__type__": "bytes", "__value__": 1}',
    "wrong decimal": b'{"__type__": "decimal", "__value__": "x"}',
    "wrong uuid": b'{"__type__": "uuid", "__value__": 5}',
}
# Valid, and yet of no use: the task fails or finds nothing to do.
USELESS = {
    "absurd ids": message(10**30, -1, 0),
    "ids of other types": message("x", None, 1.5, [1], {"a": 1}, True),
    "unknown argument": message(kwargs={"x": 1}),
    "no number": body(b'[[NaN], {}, {"callbacks": null, "errbacks": null}]'),
    "task of Celery's": message(headers__task="celery.map"),
    "expired": message(headers__expires="2001-01-01T00:00:00+00:00"),
    "never expires": message(headers__expires="9999-12-31T23:59:59-23:59"),
    "time limit of a second": message(headers__timelimit=[1, 1]),
    "to another queue": message(properties__delivery_info__routing_key="elsewhere"),
    "id of half a character": message(headers__id="\ud800"),
    "reply to a list": message(properties__reply_to=[1]),
}


@pytest.mark.parametrize("name", INVALID)
def test_what_we_never_send_is_invalid(name):
    with pytest.raises(Exception):  # noqa: B017  # of any kind: each drops the message
        transport.validate(INVALID[name])


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_decoded_is_dropped(name, monkeypatch, caplog):
    # As kombu's does; the worker's test below has the real one.
    read = lambda channel: loads(bytes_to_str(UNREADABLE[name]))  # noqa: E731
    monkeypatch.setattr(transport.redis.Channel, "_brpop_read", read)
    assert transport.Channel.__new__(transport.Channel)._brpop_read() is True
    assert "dropped" in caplog.text


@pytest.mark.parametrize("error", [Empty, ConnectionError])
def test_other_errors_are_kombus(error, monkeypatch):
    def read(channel):
        raise error

    monkeypatch.setattr(transport.redis.Channel, "_brpop_read", read)
    with pytest.raises(error):
        transport.Channel.__new__(transport.Channel)._brpop_read()


@pytest.mark.parametrize("name", USELESS)
def test_what_a_task_can_be_given_is_valid(name):
    transport.validate(USELESS[name])


@pytest.mark.parametrize(
    "edge",
    [
        {"headers__id": "i" * 255},
        {"headers__timelimit": [3600, 1]},
        {"headers__timelimit": [None, None]},
        {"body": encoded(json.dumps([[1], {}, NOTHING]).encode().ljust(3072))},
    ],
)
def test_limits_themselves_are_valid(edge):
    transport.validate(message(**edge))


@pytest.mark.redis
def test_what_we_send_is_valid():
    from redis import Redis

    with redis_database() as url, Redis.from_url(url) as redis, app.connection_for_write(url) as to:
        send_welcome_emails.apply_async([2**63 - 1 - n for n in range(50)], connection=to)
        sweep_welcome_emails.apply_async(expires=60, connection=to)
        heartbeat.apply_async(expires=60, connection=to)
        sent = redis.lrange("celery", 0, -1)
    assert len(sent) == 3
    for sent_message in sent:
        transport.validate(json.loads(sent_message))


def test_what_is_valid_is_delivered_and_nothing_else(monkeypatch):
    delivered = []
    kombus = transport.redis.Transport
    monkeypatch.setattr(kombus, "_deliver", lambda self, *given: delivered.append(given))
    broker, valid = transport.Transport.__new__(transport.Transport), message()
    for each in (valid, message(without="headers__id"), None):
        broker._deliver(each, "celery")
    assert delivered == [(valid, "celery")]


def test_the_log_tells_why_and_not_what(caplog):
    broker = transport.Transport.__new__(transport.Transport)
    broker._deliver(message("zoe@example.org", without="headers__id"), "celery")
    assert "dropped: InvalidMessageError: id" in caplog.text
    assert "zoe" not in caplog.text


@pytest.mark.mysql
@pytest.mark.redis
@pytest.mark.worker
@pytest.mark.django_db(transaction=True)
def test_among_garbage_every_mail_goes_out_and_the_worker_lives(tmp_path):
    from redis import Redis

    garbage = [json.dumps(each).encode() for each in [*INVALID.values(), *USELESS.values()]]
    garbage = [*UNREADABLE.values(), *garbage]
    members = [
        Member(username=f"reader{n}", email=f"m{n}@example.org") for n in range(len(garbage))
    ]
    Member.objects.bulk_create(members)
    owed = [WelcomeEmail.objects.create(member=member) for member in Member.objects.all()]
    command = "--app project worker --loglevel info --without-gossip --without-mingle"
    with redis_database() as url, Redis.from_url(url) as redis, app.connection_for_write(url) as to:
        for welcome, each in zip(owed, garbage, strict=True):
            redis.lpush("celery", each)
            send_welcome_emails.apply_async([welcome.pk], connection=to)
        with open(tmp_path / "log", "wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "celery", *command.split()],
                env=os.environ
                | {
                    "DATABASE_URL": database_url(),
                    "REDIS_URL": url,
                    "DATA_DIR": str(tmp_path),
                    "EMAIL_URL": f"filemail:///{tmp_path}/mail",
                    "SECRET_KEY": "x",
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            end = time.monotonic() + 60
            unsent = WelcomeEmail.objects.exclude(state="sent")
            while worker.poll() is None and time.monotonic() < end:
                if not (unsent.exists() or redis.llen("celery") or redis.hlen("unacked")):
                    break
                time.sleep(0.1)
            text = (tmp_path / "log").read_text()
            assert worker.poll() is None, text[-2000:]
            left = unsent.count(), redis.llen("celery"), redis.hlen("unacked")
            assert left == (0, 0, 0), text[-2000:]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    assert text.count("is dropped") == len(INVALID) + len(UNREADABLE)
    assert "Connection to broker lost" not in text


def database_url() -> str:
    to = connection.settings_dict
    return f"mysql://{to['USER']}:{to['PASSWORD']}@{to['HOST']}:{to['PORT']}/{to['NAME']}"
