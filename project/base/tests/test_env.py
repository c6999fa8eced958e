"""Each wrong value of a variable stops the start with one line that names it and no secret."""

import os
import subprocess
import sys

import pytest

from project.base import env

HTTPS = {
    "HTTPS": "1",
    "SECRET_KEY": "a-long-enough-secret-key-of-many-different-characters-0123456789",
}


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "REDIS_URL")
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def complaint(monkeypatch, read, name: str, value: str, *arguments) -> str:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        read(name, *arguments)
    message = str(caught.value)
    assert message.startswith(f"Library desk cannot start: {name} ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("read", "arguments", "value"),
    [
        (env.flag, (True,), "maybe"),
        (env.number, (8000, 1, 65535), "0"),
        (env.number, (8000, 1, 65535), "65536"),
        (env.number, (8000, 1, 65535), "-1"),
        (env.number, (8000, 1, 65535), "8o"),
        (env.number, (8000, 1, 65535), "٣"),
        (env.number, (8000, 1, 65535), "9" * 5000),
        (env.rate, ("60/min",), "60"),
        (env.rate, ("60/min",), "0/min"),
        (env.rate, ("60/min",), "-1/min"),
        (env.rate, ("60/min",), "60/fortnight"),
        (env.rate, ("60/min",), "9" * 5000 + "/min"),
        (env.hosts, ("localhost",), "https://desk.example.org"),
        (env.hosts, ("localhost",), "desk.example.org:8000"),
        (env.origins, (), "desk.example.org"),
        (env.origins, (), "https://desk.example.org/"),
        (env.sender, ("a@example.org",), "Library"),
        (env.sender, ("a@example.org",), "Library <desk@>"),
        (env.choice, ("en", {"en", "ru"}.__contains__, "choose."), "de"),
    ],
)
def test_wrong_values(monkeypatch, read, arguments, value):
    complaint(monkeypatch, read, "SOME_NAME", value, *arguments)


@pytest.mark.parametrize(
    ("read", "arguments", "value"),
    [
        (env.database, ("sqlite:///x",), "postgres://u:hidden@db/x"),
        (env.database, ("sqlite:///x",), "mysql://u:hidden@db"),
        (env.database, ("sqlite:///x",), "mysql://u:hidden@db:port/x"),
        (env.database, ("sqlite:///x",), "mysql://:hidden@/x"),
        (env.database, ("sqlite:///x",), "hidden"),
        (env.mail, ("memorymail://",), "smtps://u:hidden@mail"),
        (env.mail, ("memorymail://",), "smtp://u:hidden@"),
        (env.mail, ("memorymail://",), "smtp://u:hidden@mail:port"),
        (env.mail, ("memorymail://",), "smtp://u:hidden@mail?tls=1"),
        (env.mail, ("memorymail://",), "mail.hidden.example"),
        (env.redis, (), "reddis://:hidden@redis"),
        (env.redis, (), "redis://:hidden@redis:port"),
        (env.redis, (), "redis://:hidden@redis/zero"),
        (env.redis, (), "redis://:hidden@"),
        (env.http, (), "ftp://u:hidden@openlibrary.org"),
        (env.http, (), "https://u:hidden@"),
        (env.http, (), "openlibrary.hidden"),
    ],
)
def test_wrong_addresses_are_not_repeated(monkeypatch, read, arguments, value):
    assert "hidden" not in complaint(monkeypatch, read, "SOME_URL", value, *arguments)


@pytest.mark.parametrize(
    ("read", "arguments", "value", "result"),
    [
        (env.flag, (False,), "Yes", True),
        (env.flag, (True,), "0", False),
        (env.flag, (True,), "", True),
        *((env.flag, (False,), word, True) for word in ("1", "true", "yes", "on")),
        *((env.flag, (True,), word, False) for word in ("0", "false", "no", "off")),
        (env.number, (8000, 2, 65535), "2", 2),
        (env.number, (8000, 1, 65535), "65535", 65535),
        (env.number, (0, 0, 10**9), "123456789", 123456789),
        (env.number, (8000, 1, 65535), " 80 ", 80),
        (env.rate, ("60/min",), "", None),
        *(
            (env.rate, ("60/min",), f"5/{period}", f"5/{short}")
            for short, periods in {
                "s": ("s", "sec"),
                "m": ("m", "min"),
                "h": ("h", "hour"),
                "d": ("d", "day"),
            }.items()
            for period in periods
        ),
        (
            env.hosts,
            ("x",),
            "a.example, .b.example,*, [::1]",
            ["a.example", ".b.example", "*", "[::1]"],
        ),
        (
            env.origins,
            (),
            "https://*.example.org,http://a:8000",
            ["https://*.example.org", "http://a:8000"],
        ),
        (env.redis, (), "rediss://u:p%40w@redis:6380/2", "rediss://u:p%40w@redis:6380/2"),
        (env.redis, (), "", ""),
        (env.http, (), "https://openlibrary.org/", "https://openlibrary.org"),
        (env.http, (), "http://127.0.0.1:8199", "http://127.0.0.1:8199"),
        (env.http, (), "", ""),
    ],
)
def test_right_values(monkeypatch, read, arguments, value, result):
    monkeypatch.setenv("SOME_NAME", value)
    assert read("SOME_NAME", *arguments) == result


def test_unset_throttles_have_their_default(monkeypatch):
    monkeypatch.delenv("SOME_NAME", raising=False)
    assert env.rate("SOME_NAME", "60/min") == "60/m"


def test_addresses(monkeypatch):
    monkeypatch.setenv("SOME_URL", "mysql://user:p%23w@db:3307/library")
    database = env.database("SOME_URL", "")
    assert database["PASSWORD"] == "p#w"
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db", 3307, "library")
    monkeypatch.setenv("SOME_URL", "smtp+tls://user:pw@mail:587")
    mail = env.mail("SOME_URL", "")
    assert mail["EMAIL_USE_TLS"] is True
    assert (mail["EMAIL_HOST"], mail["EMAIL_PORT"]) == ("mail", 587)


def test_a_value_may_stand_in_a_file(monkeypatch, tmp_path):
    file = tmp_path / "secret"
    file.write_text("from the file\n")
    monkeypatch.setenv("SOME_NAME_FILE", str(file))
    monkeypatch.setenv("SOME_NAME", "from the environment")
    assert env.text("SOME_NAME") == "from the file"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "binary"])
def test_a_file_that_cannot_be_read(monkeypatch, tmp_path, content):
    file = tmp_path / "secret"
    if content:
        file.write_bytes(content)
    monkeypatch.setenv("SOME_NAME_FILE", str(file))
    with pytest.raises(SystemExit, match="SOME_NAME_FILE names a file that cannot be read"):
        env.text("SOME_NAME")


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        (
            {"DATABASE_URL": "mysql://u:hidden@db/library", "SECRET_KEY": ""},
            "Library desk cannot start: SECRET_KEY is not set.",
        ),
        (
            {"REDIS_URL": "hidden"},
            "Library desk cannot start: REDIS_URL must begin with one of redis://, rediss://.",
        ),
        (
            {"THROTTLE_ANON": "many"},
            "Library desk cannot start: THROTTLE_ANON is 'many'; "
            "write it as 60/min (s, min, h or d).",
        ),
        (
            {"TRUSTED_PROXIES": "nginx,10.0.0.0/8"},
            "Library desk cannot start: TRUSTED_PROXIES is 'nginx,10.0.0.0/8'; "
            "write a number from 0 to 9: how many proxies stand in front, not which.",
        ),
        *(
            (
                {"WORKER_DEAF_AFTER": value},
                f"Library desk cannot start: WORKER_DEAF_AFTER is '{value}'; "
                "write a number from 30 to 3600.",
            )
            for value in ("abc", "29")
        ),
    ],
)
def test_the_start_ends_with_that_line(settings_with, environment, line):
    with pytest.raises(SystemExit) as stopped:
        settings_with(**environment)
    assert str(stopped.value) == line


def test_it_ends_with_that_line_alone():
    run = manage("check", THROTTLE_ANON="many")
    assert run.returncode == 1
    [line] = (run.stdout + run.stderr).splitlines()
    assert line.startswith("Library desk cannot start: THROTTLE_ANON is 'many'; ")


def test_with_servers_the_data_folder_is_made_too(settings_with, tmp_path):
    folder = tmp_path / "not" / "there yet"
    servers = {"DATABASE_URL": "mysql://u:p@127.0.0.1/x", "REDIS_URL": "redis://127.0.0.1"}
    settings_with(SECRET_KEY="x", DATA_DIR=str(folder), **servers)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["DATA_DIR", "MEDIA_ROOT", "DATABASE_URL"])
def test_a_folder_that_cannot_be_made_is_blamed_on_its_setting(settings_with, tmp_path, name):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "folder"
    values = {name: f"sqlite:///{path}/db" if name == "DATABASE_URL" else str(path)}
    with pytest.raises(env.SettingError, match=f": {name} cannot be written: Not a directory"):
        settings_with(SECRET_KEY="x", REDIS_URL="redis://127.0.0.1", **values)


def test_deployed_behind_tls_django_has_no_warning():
    run = manage("check", "--deploy", "--fail-level", "WARNING", **HTTPS)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("rate", "seconds"), [("", 0), ("10/s", 0.1), ("600/min", 0.1), ("90/h", 40), ("1/d", 86400)]
)
def test_a_rate_as_an_interval(monkeypatch, rate, seconds):
    monkeypatch.setenv("MAIL_RATE", rate)
    assert env.interval("MAIL_RATE") == seconds
