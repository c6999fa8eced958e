"""The environment, read strictly: a wrong value stops the start with one line that names it."""

import os
import re
import secrets
from collections.abc import Callable
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import environ
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}


class SettingError(SystemExit):
    """Ends the process with one line for the operator and no traceback."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"Library desk cannot start: {name} {problem}")


def text(name: str, default: str | None = None) -> str:
    """The variable, or the content of the file that <name>_FILE names (Docker secrets).

    Empty counts as unset.
    """
    if path := os.environ.get(f"{name}_FILE"):
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(
                f"{name}_FILE", f"names a file that cannot be read: {error}"
            ) from None
    else:
        value = os.environ.get(name, "").strip()
    if value:
        return value
    if default is None:
        raise SettingError(name, "is not set.")
    return default


def flag(name: str, default: bool) -> bool:
    value = text(name, str(default)).lower()
    if value not in TRUE | FALSE:
        raise SettingError(name, f"is {value!r}; write 1 or 0.")
    return value in TRUE


def number(name: str, default: int, lowest: int, highest: int, meaning: str = "") -> int:
    value = text(name, str(default))
    if not (is_count(value) and lowest <= int(value) <= highest):
        hint = f"write a number from {lowest} to {highest}" + (meaning and f": {meaning}")
        raise SettingError(name, f"is {value!r}; {hint}.")
    return int(value)


def is_count(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 10


def words(name: str, default: str, allowed: str, hint: str) -> list[str]:
    """A comma-separated list; `allowed` is the regular expression of an item."""
    given = [word.strip() for word in text(name, default).split(",") if word.strip()]
    for word in given:
        if not re.fullmatch(allowed, word):
            raise SettingError(name, f"holds {word!r}; {hint}")
    return given


def hosts(name: str, default: str) -> list[str]:
    hint = "write host names without scheme and port, separated by commas."
    return words(name, default, r"\*|\.?[\w.-]+|\[[0-9a-fA-F:.]+\]", hint)


def origins(name: str) -> list[str]:
    hint = "write each as https://desk.example.org, separated by commas."
    return words(name, "", r"https?://[\w.*-]+(:[0-9]+)?", hint)


def choice(name: str, default: str, allowed: Callable[[str], bool], hint: str) -> str:
    value = text(name, default)
    if not allowed(value):
        raise SettingError(name, f"is {value!r}; {hint}")
    return value


def rate(name: str, default: str) -> str | None:
    """A throttle such as 60/min; set but empty switches it off."""
    if os.environ.get(name) is not None and not text(name, ""):
        return None
    value = text(name, default)
    count, _, period = value.partition("/")
    if not (is_count(count) and int(count) > 0) or period not in PERIODS:
        raise SettingError(name, f"is {value!r}; write it as 60/min (s, min, h or d).")
    return f"{count}/{PERIODS[period]}"


def interval(name: str) -> float:
    """Seconds between two events at a rate such as 10/s; 0 where none is set."""
    if not text(name, ""):
        return 0
    count, _, period = str(rate(name, "")).partition("/")
    return SECONDS_PER_PERIOD[period] / int(count)


SECONDS_PER_PERIOD = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PERIODS = {"s": "s", "sec": "s", "min": "m", "m": "m", "h": "h", "hour": "h", "d": "d", "day": "d"}


def database(name: str, default: str) -> dict[str, Any]:
    """Django's settings for mysql://user:password@host:port/name or sqlite:///path."""
    config = _url(name, default, ("mysql", "sqlite"), environ.Env.db_url_config)
    if config["ENGINE"].endswith("mysql"):
        if not (config.get("HOST") and config["NAME"]):
            reason = "lacks host or database: mysql://user:password@host:3306/name."
            raise SettingError(name, reason)
        config["ENGINE"] = "project.base.mysql"
    return config


def mail(name: str, default: str) -> dict[str, Any]:
    """Django's EMAIL_* settings for smtp://, smtp+tls://, smtp+ssl://, filemail:///folder, …"""
    # Not smtps, which django-environ takes for STARTTLS and most others for TLS from the start.
    schemes = tuple(scheme for scheme in environ.Env.EMAIL_SCHEMES if scheme != "smtps")
    config = _url(name, default, schemes, environ.Env.email_url_config)
    if config["EMAIL_BACKEND"].endswith("smtp.EmailBackend") and not config["EMAIL_HOST"]:
        raise SettingError(name, "lacks the host: smtp://user:password@host:25.")
    if config.pop("OPTIONS", None):
        raise SettingError(name, "has an unknown option after the question mark.")
    return config


def sender(name: str, default: str) -> str:
    """An address, or "Name <address>"."""
    value = text(name, default)
    try:
        validate_email(parseaddr(value)[1])
    except ValidationError:
        raise SettingError(name, f"is {value!r}; write Library <desk@example.org>.") from None
    return value


def redis(name: str) -> str:
    """A Redis URL, or "" where none is set."""
    if not text(name, ""):
        return ""
    host, path = _url(name, "", ("redis", "rediss"), lambda url: _host_and_path(urlsplit(url)))
    if not host or not re.fullmatch(r"(/[0-9]*)?", path):
        raise SettingError(name, "must look like redis://host:6379/0.")
    return text(name)


def http(name: str) -> str:
    """An address without the slash at its end, or "" where none is set."""
    if not text(name, ""):
        return ""
    host, _ = _url(name, "", ("http", "https"), lambda url: _host_and_path(urlsplit(url)))
    if not host:
        raise SettingError(name, "must look like https://host.")
    return text(name).rstrip("/")


def folder(name: str, path: Path) -> Path:
    """This one, made if need be; readable only by its owner."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(name, f"cannot be written: {error.strerror}: {error.filename}") from None
    return path


def stored_key(name: str, path: Path) -> str:
    """The key in this file, which the first call writes, readable only by its owner."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    except OSError as error:
        raise SettingError(name, f"cannot be written: {error}") from None
    return path.read_text()


def _host_and_path(url: SplitResult) -> tuple[str | None, str]:
    url.port  # noqa: B018  # raises ValueError where it is no number
    return url.hostname, url.path


def _url(name: str, default: str, schemes: tuple[str, ...], parse: Callable[[str], Any]) -> Any:
    value = text(name, default)
    # The value holds a password: the message may repeat its scheme, never the rest.
    scheme, separator, _ = value.partition(":")
    if not separator or scheme not in schemes:
        raise SettingError(name, f"must begin with one of {', '.join(f'{s}://' for s in schemes)}.")
    try:
        return parse(value)
    except (ValueError, environ.ImproperlyConfigured):
        raise SettingError(name, f"is not a well-formed {scheme}:// address.") from None


def mysql_options(database: dict[str, Any]) -> dict[str, Any]:
    """The driver's options: the query of DATABASE_URL, DATABASE_CA, and a fixed session."""
    options = dict(database.get("OPTIONS", {}))
    if authority := text("DATABASE_CA", ""):
        if not os.access(authority, os.R_OK):
            raise SettingError("DATABASE_CA", f"names a file that cannot be read: {authority}")
        options |= {
            "ssl": {"ca": authority},
            "ssl_mode": options.get("ssl_mode", "VERIFY_IDENTITY"),
        }
    # Whatever the server's defaults: strict, CURRENT_TIMESTAMP in UTC as Django writes it, and a
    # lock wait that ends before database.bound_waits() drops the connection.
    session = (
        "SET time_zone = '+00:00', sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES'),"
        " innodb_lock_wait_timeout = 10"
    )
    return {"init_command": session, "connect_timeout": 5} | options
