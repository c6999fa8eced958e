"""The floor: one WSGI function over mysqlclient, without a framework."""

import json
import os
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import MySQLdb

COLUMNS = "b.id, b.title, b.author, b.publication_year, b.isbn, b.created_at, b.updated_at"
NAMES = [column[2:] for column in COLUMNS.split(", ")]
READ = f"SELECT {COLUMNS} FROM library_book b"
SEARCH = (
    f"SELECT {COLUMNS} FROM library_bookword r JOIN library_book b ON b.id = r.book_id "
    "WHERE r.word_id = %s{others} ORDER BY r.rank, r.book_id LIMIT 50"
)
OTHER = (
    " AND (EXISTS (SELECT 1 FROM library_bookword o WHERE o.book_id = b.id AND o.word_id = %s)) = 1"
)
AFTER = " WHERE b.title >= %s AND (b.title > %s OR b.title = %s AND b.id > %s)"

local = threading.local()


def database() -> Any:
    if not hasattr(local, "connection"):
        url = urlsplit(os.environ["DATABASE_URL"])
        local.connection = MySQLdb.connect(
            host=url.hostname,
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
            database=url.path[1:],
            charset="utf8mb4",
            autocommit=True,
        )
    return local.connection


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    cursor = database().cursor()
    status, path = "200 OK", environ["PATH_INFO"]
    if environ["REQUEST_METHOD"] == "POST":
        status = "201 Created"
        given = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        answer = (add if path == "/books" else register)(cursor, given)
    elif path.startswith("/books/"):
        cursor.execute(f"{READ} WHERE b.id = %s", [int(path[7:])])
        answer = as_books(cursor)[0]
    else:
        query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
        answer = {"results": LISTS[path](cursor, query)}
    body = json.dumps(answer).encode()
    start_response(
        status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    )
    return [body]


def as_books(cursor: Any) -> list[dict[str, Any]]:
    return [
        dict(zip(NAMES, row[:5] + tuple(f"{at.isoformat()}Z" for at in row[5:]), strict=True))
        for row in cursor.fetchall()
    ]


def add(cursor: Any, given: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).replace(tzinfo=None)
    values = [given[name] for name in NAMES[1:5]]
    cursor.execute(
        "INSERT INTO library_book (title, author, publication_year, isbn, created_at, updated_at, "
        "version) VALUES (%s, %s, %s, %s, %s, %s, 1)",
        [*values, now, now],
    )
    return {"id": cursor.lastrowid, **given, "created_at": f"{now.isoformat()}Z"}


def register(cursor: Any, given: dict[str, Any]) -> dict[str, Any]:
    """With the outbox row, without telling a worker."""
    now = datetime.now(UTC).replace(tzinfo=None)
    connection = database()
    connection.begin()
    cursor.execute(
        "INSERT INTO members_member (username, email, registered_at, updated_at, version) "
        "VALUES (%s, %s, %s, %s, 1)",
        [given["username"], given["email"], now, now],
    )
    member = cursor.lastrowid
    cursor.execute(
        "INSERT INTO members_welcomeemail (member_id, state, attempts, queued_at, next_attempt_at, "
        "last_error, last_error_code, message_id, journal) "
        "VALUES (%s, 'queued', 0, %s, %s, '', '', %s, '[]')",
        [member, now, now, f"<{member}@localhost>"],
    )
    connection.commit()
    return {"id": member, **given, "registered_at": f"{now.isoformat()}Z"}


def first_page(cursor: Any, query: dict[str, str]) -> list[dict[str, Any]]:
    title, after = query.get("title"), query.get("id")
    where, values = (AFTER, [title, title, title, after]) if title else ("", [])
    cursor.execute(f"{READ}{where} ORDER BY b.title, b.id LIMIT 50", values)
    return as_books(cursor)


def by_author(cursor: Any, query: dict[str, str]) -> list[dict[str, Any]]:
    cursor.execute(f"{READ} WHERE b.author = %s ORDER BY b.title, b.id LIMIT 50", [query["author"]])
    return as_books(cursor)


def search(cursor: Any, query: dict[str, str]) -> list[dict[str, Any]]:
    words = query["words"].split()
    cursor.execute("SELECT id FROM library_word WHERE text IN %s", [words])
    ids = [row[0] for row in cursor.fetchall()]
    cursor.execute(SEARCH.format(others=OTHER * (len(ids) - 1)), ids)
    return as_books(cursor)


def by_years(cursor: Any, query: dict[str, str]) -> list[dict[str, Any]]:
    order = {"year": "b.publication_year", "title": "b.title"}[query["order"]]
    cursor.execute(
        f"{READ} WHERE b.publication_year BETWEEN %s AND %s ORDER BY {order}, b.id LIMIT 50",
        [query["first"], query["last"]],
    )
    return as_books(cursor)


LISTS = {"/books": first_page, "/author": by_author, "/search": search, "/years": by_years}
