"""A connection that is verified, and an account that may not change the schema, on a real MySQL."""

import os
import re
import secrets
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
import trustme
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection, transaction

from library.models import Book
from library.tests.books import add
from project.base import env

driver: Any = connection.Database  # MySQLdb, which need not be installed where there is no MySQL
pytestmark = [pytest.mark.mysql, pytest.mark.django_db]


def connect(**options: Any) -> Any:
    server = connection.settings_dict
    given = {"host": server["HOST"], "port": int(server["PORT"] or 3306)}
    given |= {"user": server["USER"], "password": server["PASSWORD"], "db": server["NAME"]}
    return closing(driver.connect(**given | options))


# --- TLS ---


def packet(sender: socket.socket) -> bytes:
    """One of MySQL's packets and not a byte more: after it TLS may begin."""
    header = sender.recv(4, socket.MSG_WAITALL)
    return header + sender.recv(int.from_bytes(header[:3], "little"), socket.MSG_WAITALL)


def relay(client: ssl.SSLSocket, server: ssl.SSLSocket) -> None:
    """Both ways in one thread: OpenSSL does not let two use one connection at the same time."""
    other = {client: server, server: client}
    client.setblocking(False)
    server.setblocking(False)
    while True:
        for sender in select.select(other, [], [])[0]:
            try:
                data = sender.recv(65536)  # more than a record holds: none stays behind unseen
            except ssl.SSLWantReadError:  # half a record, or a session ticket
                continue
            if not data:
                return
            receiver = other[sender]
            receiver.setblocking(True)
            receiver.sendall(data)
            receiver.setblocking(False)


def present(client: socket.socket, certificate: ssl.SSLContext) -> None:
    """Serve the client the MySQL of DATABASE_URL behind the test's own certificate."""
    database = connection.settings_dict
    address = database["HOST"], int(database["PORT"] or 3306)
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    # An OSError: the client does not trust the certificate, or has gone.
    with suppress(OSError), client, socket.create_connection(address) as server:
        client.sendall(packet(server))  # the greeting, in which it offers TLS
        server.sendall(packet(client))  # whoever wants TLS sends the beginning of a login first
        with (
            certificate.wrap_socket(client, server_side=True) as secure_client,
            unverified.wrap_socket(server) as secure_server,
        ):
            relay(secure_client, secure_server)


@contextmanager
def mysql_with(authority: trustme.CA, name: str) -> Iterator[int]:
    """The port of a MySQL whose certificate the authority has signed for the host `name`."""
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(certificate)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=present, args=(client, certificate), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.fixture
def authority(tmp_path, monkeypatch) -> trustme.CA:
    """The one that DATABASE_CA names."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("DATABASE_CA", str(tmp_path / "ca.pem"))
    return authority


def cipher(port: int, options: dict[str, Any]) -> str:
    with connect(host="127.0.0.1", port=port, **options) as server, server.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        return cursor.fetchone()[1]


def test_a_server_with_a_certificate_of_the_authority_is_trusted(authority):
    with mysql_with(authority, "127.0.0.1") as port:
        assert cipher(port, env.mysql_options({}))


def test_a_server_with_a_certificate_of_somebody_else_is_refused(authority):
    with mysql_with(trustme.CA(), "127.0.0.1") as port, pytest.raises(driver.OperationalError):
        cipher(port, env.mysql_options({}))


def test_a_certificate_for_another_host_is_refused(authority):
    with mysql_with(authority, "db.example.org") as port, pytest.raises(driver.OperationalError):
        cipher(port, env.mysql_options({}))


# --- The account of compose ---


@pytest.fixture
def account() -> Iterator[dict[str, str]]:
    """Made by the statements of docker-compose.yml, for the database of this test."""
    text = Path(settings.BASE_DIR, "docker-compose.yml").read_text(encoding="utf-8")
    statements = re.findall(r"^ +((?:CREATE USER|GRANT) .*'library'@'%'.*);$", text, re.MULTILINE)
    assert len(statements) == 2
    user, password = f"test_{os.getpid()}", secrets.token_urlsafe(12) + "aA1!"
    url = urlsplit(os.environ["DATABASE_URL"])
    is_root = url.username == "root"
    with connect(user="root", password=url.password if is_root else "root") as root:
        for statement in statements:
            own = re.sub(r"IDENTIFIED BY '.*'", f"IDENTIFIED BY '{password}'", statement)
            own = own.replace("'library'@", f"'{user}'@")
            root.query(own.replace(" librarydesk.", f" `{connection.settings_dict['NAME']}`."))
        try:
            yield {"user": user, "password": password}
        finally:
            root.query(f"DROP USER '{user}'@'%'")


def test_the_account_of_compose_reads_and_writes_rows(account):
    with connect(**account) as server, server.cursor() as cursor:
        cursor.execute("INSERT INTO auth_group (name) VALUES ('Readers')")
        cursor.execute("UPDATE auth_group SET name = 'Writers' WHERE name = 'Readers'")
        cursor.execute("SELECT COUNT(*) FROM auth_group WHERE name = 'Writers'")
        assert cursor.fetchone() == (1,)
        assert cursor.execute("DELETE FROM auth_group WHERE name = 'Writers'") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id INT)",
        "ALTER TABLE auth_group ADD COLUMN mine INT",
        "DROP TABLE auth_group",
        "TRUNCATE TABLE auth_group",
        "CREATE INDEX mine ON auth_group (name)",
        "DROP INDEX name ON auth_group",
        "CREATE VIEW mine AS SELECT 1",
        "CREATE TRIGGER mine BEFORE INSERT ON auth_group FOR EACH ROW SET @x = 1",
        "CREATE DATABASE test_mine",
        "CREATE USER mine",
        "GRANT SELECT ON *.* TO CURRENT_USER()",
        "SELECT * FROM mysql.user",
    ],
)
def test_the_account_of_compose_changes_no_schema(account, statement):
    with connect(**account) as server, pytest.raises(driver.Error) as refused:
        server.query(statement)
    assert refused.value.args[0] in (1044, 1045, 1142, 1143, 1227), refused.value


# --- Times ---


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31 09:30:00.000001",
        "2026-01-31 09:30:00",
        "1000-01-01 00:00:00",
        "9999-12-31 23:59:59.999999",
    ],
)
def test_a_time_is_read_as_the_driver_reads_it(text):
    precision = 6 if "." in text else 0
    question = f"SELECT CAST('{text}' AS DATETIME({precision})), CAST(NULL AS DATETIME)"
    with connect() as plain, plain.cursor() as cursor:
        cursor.execute(question)
        expected = cursor.fetchone()
    with connection.cursor() as cursor:
        cursor.execute(question)
        assert cursor.fetchone() == expected == (datetime.fromisoformat(text), None)
    assert connection.connection.converter[driver.FIELD_TYPE.DATETIME] == datetime.fromisoformat


# --- Kept connections ---


def asks_the_server() -> bool:
    with patch("django.db.backends.mysql.base.DatabaseWrapper.is_usable", return_value=True) as ask:
        assert connection.is_usable()
    return ask.called


def test_a_connection_that_is_open_is_used_without_asking():
    connection.ensure_connection()
    assert not asks_the_server()


def test_after_an_error_the_server_is_asked(monkeypatch):
    connection.ensure_connection()
    monkeypatch.setattr(connection, "errors_occurred", True)
    assert asks_the_server()


@pytest.mark.parametrize("by_server", [True, False])
def test_a_connection_that_either_side_closed_is_not_used(by_server):
    other = connection.copy()
    other.connect()
    assert other.is_usable()
    if by_server:
        with connection.cursor() as cursor:
            cursor.execute(f"KILL {other.connection.thread_id()}")
    else:
        other.connection.close()
    assert not other.is_usable()


# --- Transactions ---


@pytest.mark.django_db(transaction=True)
def test_a_transaction_is_its_statements_begin_and_commit():
    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
            return int(cursor.fetchone()[1])

    before = count()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert count() - before == 4  # SELECT, BEGIN, COMMIT, and the second count


@pytest.mark.django_db(transaction=True)
def test_each_of_two_saves_at_once_raises_the_version():
    """Else two states of a record would have one ETag."""
    book = add()
    later = Book.objects.get(pk=book.pk)
    later.author = "Later"

    def save() -> None:
        later.save()
        connection.close()

    second = threading.Thread(target=save)
    with transaction.atomic():
        book.title = "First"
        book.save()
        second.start()
        second.join(0.5)  # it waits for us
    second.join()
    stored = Book.objects.get(pk=book.pk)
    assert (stored.title, stored.author, stored.version) == ("First", "Later", 3)


@pytest.mark.django_db(transaction=True)
def test_what_a_transaction_wrote_is_rolled_back_with_it():
    with suppress(ZeroDivisionError), transaction.atomic():
        Group.objects.create(name="Nobody")
        raise ZeroDivisionError
    assert not Group.objects.filter(name="Nobody").exists()
    Group.objects.create(name="Somebody")  # at once
    connection.close()
    assert Group.objects.filter(name="Somebody").exists()
