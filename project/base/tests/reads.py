"""How many rows MySQL reads for something, which is the same on any machine."""

from typing import Any

from django.db import connection


def read() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for name, value in cursor.fetchall())


def rows_read(page: Any) -> int:
    start = read()
    cost_of_asking = read() - start
    before = read()
    rows = page()
    after = read() - before - cost_of_asking
    assert rows, "nothing to measure"
    return after
