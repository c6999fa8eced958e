"""Django's MySQL, with what costs every request less (settings.DATABASES)."""

import select
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db.backends.mysql import base
from django.db.backends.utils import debug_transaction
from MySQLdb import Error
from MySQLdb.constants import FIELD_TYPE

# By a function of C: the driver's own takes ten times as long, a tenth of reading a page.
CONVERSIONS = base.django_conversions | {FIELD_TYPE.DATETIME: datetime.fromisoformat}


class DatabaseWrapper(base.DatabaseWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        return super().get_connection_params() | {"conv": CONVERSIONS}

    def is_usable(self) -> bool:
        """Whether a kept connection is still open, which Django asks before each request's use of it.

        A server that hangs up leaves something to read: only then, or after an error, is it worth
        a round trip to ask.
        """
        if not self.errors_occurred:
            with suppress(Error):  # it is closed on our side
                poll = select.poll()
                poll.register(self.connection.fileno(), select.POLLIN)
                if not poll.poll(0):
                    return True
        return super().is_usable()

    def _start_transaction_under_autocommit(self) -> None:
        """Django asks databases for it that have no other way, and switches autocommit on the
        others: off before each transaction and on after it, which is a statement more."""
        with debug_transaction(self, "BEGIN"), self.wrap_database_errors:
            self.connection.query("BEGIN")
