"""Fill an empty desk with invented books and members; see README.md beside this file."""

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django  # noqa: E402

django.setup()

from django.db import connection, models, transaction  # noqa: E402
from stdnum import ean  # noqa: E402
from tqdm import tqdm  # noqa: E402

from library.models import Book  # noqa: E402
from library.search.models import BookWord, Word  # noqa: E402
from library.search.words import bloom_of, stem_of, words_of  # noqa: E402

ROWS_PER_INSERT = 10_000  # where the server takes no files
SYLLABLES = [consonant + vowel for consonant in "bdgklmnrst" for vowel in "aeo"]
SECONDS_PER_BOOK = 15  # from one to the next; the last is added when this program runs
HISTORY = Book.history.model
COLUMNS: dict[type[models.Model], list[str]] = {
    Book: [
        "id",
        "title",
        "author",
        "publication_year",
        "isbn",
        "created_at",
        "updated_at",
        "version",
        "bloom_low",
        "bloom_high",
    ],
    HISTORY: [
        "history_id",
        "id",
        "title",
        "author",
        "publication_year",
        "isbn",
        "created_at",
        "version",
        "history_date",
        "history_type",
        "door",
        "detail",
        "batch",
        "listed",
    ],
    Word: ["id", "text", "stem"],
    BookWord: ["word_id", "rank", "book_id", "bloom_low", "bloom_high"],
}


# --- What is written: one text file per table, in the order of its primary key ---


def write_files(source: Path, count: int, folder: Path) -> None:
    """The words of a real catalogue at their real frequency, and its authors."""
    chance = random.Random(1)
    now = datetime.now(UTC).replace(tzinfo=None)
    titles, lengths, names = read(source)
    ids: dict[str, int] = {}
    known: dict[str, tuple[list[int], int, int]] = {}

    def words_in(token: str) -> tuple[list[int], int, int]:
        """Their ids, and their bits in a Bloom filter."""
        words = words_of(token)
        return [ids.setdefault(word, len(ids) + 1) for word in words], *bloom_of(words)

    with (
        (folder / "library_book").open("w") as books,
        (folder / "library_historicalbook").open("w") as history,
        sorted_into(folder / "library_bookword") as index,
    ):
        for pk in tqdm(range(1, count + 1), unit=" books", file=sys.stderr, mininterval=5):
            title = chance.choices(titles, k=chance.choice(lengths))
            author = [chance.choice(names)[0], chance.choice(names)[-1]]
            for token in (*title, *author):
                if token not in known:
                    known[token] = words_in(token)
            found = [known[token] for token in title]
            if chance.random() < 0.2:  # as in real catalogues, most words occur once or twice
                title.append("".join(chance.choices(SYLLABLES, k=5)).capitalize())
                found.append(words_in(title[-1]))
            authors = [known[token] for token in author]
            low = high = 0
            for _, some, others in (*found, *authors):
                low, high = low | some, high | others
            words = [word for held, *_ in found for word in held]
            rank = min(len(words), BookWord.LONG_TITLE_RANK)
            rows = {f"{word:08}\t{rank:02}" for word in words}
            rows |= {f"{word:08}\t{BookWord.AUTHOR_RANK}" for held, *_ in authors for word in held}
            for row in rows:  # of one width, so that a sort of the text sorts the numbers
                index.write(f"{row}\t{pk:08}\t{low}\t{high}\n")
            year = 2026 - int(chance.expovariate(1 / 20)) % 500
            added = now - timedelta(seconds=SECONDS_PER_BOOK * (count - pk))
            changed = added + (now - added) * chance.random()
            values = (
                f"{' '.join(title)[:500]}\t{' '.join(author)}\t{year}\t{isbn_number(pk)}\t{added}"
            )
            books.write(f"{pk}\t{values}\t{changed}\t1\t{low}\t{high}\n")
            listed = int(pk == 1)
            history.write(f"{pk}\t{pk}\t{values}\t1\t{added}\t+\timport\tfill\tfill\t{listed}\n")
    with (folder / "library_word").open("w") as file:
        for word, pk in ids.items():
            file.write(f"{pk}\t{word}\t{stem_of(word)}\n")


def read(source: Path) -> tuple[list[str], list[int], list[list[str]]]:
    with source.open(encoding="utf-8-sig") as file:
        rows = [
            (row["title"].replace("\\", "").split(), row["authors"].split(", ")[0].split())
            for row in csv.DictReader(file)
        ]
    titles = [title for title, _ in rows]
    return [word for title in titles for word in title], [*map(len, titles)], [n for _, n in rows]


def isbn_number(number: int) -> str:
    body = f"978{number * 387_420_489 % 10**9:09d}"  # scattered; odd and no 5, so no two are equal
    return body + ean.calc_check_digit(body)


@contextmanager
def sorted_into(path: Path) -> Iterator:
    """A file whose lines are sorted, by a process beside this one."""
    sort = subprocess.Popen(
        ["sort", f"--output={path}", "--buffer-size=1G", f"--temporary-directory={path.parent}"],
        stdin=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
        text=True,
    )
    assert sort.stdin
    with sort.stdin as pipe:
        yield pipe
    if sort.wait():
        raise SystemExit("sort has failed.")


# --- Load: no key but the primary one, the others are built afterwards ---


def load(folder: Path) -> None:
    for model in COLUMNS:
        start = time.monotonic()
        drop, build = secondary_keys(model._meta.db_table)
        with connection.cursor() as cursor:
            for statement in drop:
                cursor.execute(statement)
            load_file(model, folder / model._meta.db_table)
            loaded = time.monotonic()
            for statement in build:
                cursor.execute(statement)
        print(
            f"{model._meta.db_table}: {loaded - start:.0f} s, "
            f"its keys {time.monotonic() - loaded:.0f} s",
            file=sys.stderr,
        )


def load_file(model: type[models.Model], path: Path) -> None:
    table, columns = model._meta.db_table, COLUMNS[model]
    names = ", ".join(map(connection.ops.quote_name, columns))
    with connection.cursor() as cursor:
        if takes_files():
            cursor.execute(
                f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {table} CHARACTER SET utf8mb4 ({names})"
            )
            return
        marks = ", ".join(["%s"] * len(columns))
        with path.open() as file:
            while lines := list(islice(file, ROWS_PER_INSERT)):
                rows = [line.rstrip("\n").split("\t") for line in lines]
                with transaction.atomic():
                    cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)


def takes_files() -> bool:
    if connection.vendor != "mysql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@local_infile")
        return bool(cursor.fetchone()[0])


def secondary_keys(table: str) -> tuple[list[str], list[str]]:
    """The statements that drop them and that build them all in one pass."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "SELECT name, sql FROM sqlite_master "
                "WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = %s",
                [table],
            )
            rows = cursor.fetchall()
            return [f"DROP INDEX {name}" for name, _ in rows], [sql for _, sql in rows]
        cursor.execute(
            "SELECT index_name, MIN(non_unique), "
            "GROUP_CONCAT('`', column_name, '`' ORDER BY seq_in_index) "
            "FROM information_schema.statistics WHERE table_schema = DATABASE() "
            "AND table_name = %s AND index_name <> 'PRIMARY' GROUP BY index_name",
            [table],
        )
        keys = cursor.fetchall()
        cursor.execute(
            "SELECT constraint_name, column_name, referenced_table_name, referenced_column_name "
            "FROM information_schema.key_column_usage WHERE table_schema = DATABASE() "
            "AND table_name = %s AND referenced_table_name IS NOT NULL",
            [table],
        )
        references = cursor.fetchall()
    drops = [f"DROP FOREIGN KEY `{name}`" for name, *_ in references]
    drops += [f"DROP KEY `{name}`" for name, *_ in keys]
    adds = [
        f"ADD {'' if repeats else 'UNIQUE '}KEY `{name}` ({columns})"
        for name, repeats, columns in keys
    ]
    adds += [
        f"ADD CONSTRAINT `{name}` FOREIGN KEY ({column}) REFERENCES {other} ({key})"
        for name, column, other, key in references
    ]
    return [f"ALTER TABLE {table} {', '.join(drops)}"], [f"ALTER TABLE {table} {', '.join(adds)}"]


# --- Members, each with an e-mail that was sent, or not, and the result of its task ---

# A person is a row of the books; {count} is their number.
PERSON = """(
    SELECT id,
    CONCAT('reader', id * 387420489 % 1000000000) AS name,  -- in no order of time
    UTC_TIMESTAMP(6) - INTERVAL (({count} - id) * 180 + 60) SECOND AS at,
    LOWER(CONCAT_WS('-', LPAD(HEX(id), 8, '0'), '0000-4000-8000', LPAD(HEX(id), 12, '0'))) AS task,
    CASE id % 500 WHEN 0 THEN '550' WHEN 1 THEN '450' ELSE '' END AS code,
    CASE id % 500 WHEN 0 THEN 'failed' WHEN 1 THEN 'queued' WHEN 2 THEN 'queued' ELSE 'sent' END AS state
    FROM library_book WHERE id <= {count}
) AS person"""
MEMBER_ROWS = {
    "members_member": """
        (id, version, username, email, registered_at, updated_at)
        SELECT id, 1, name, CONCAT(name, '@example.org'), at, at""",
    "members_historicalmember": """
        (id, version, username, email, registered_at, history_date, history_type, door, detail, batch, listed)
        SELECT id, 1, name, CONCAT(name, '@example.org'), at, at, '+', 'api', '', '', 1""",
    "members_welcomeemail": """
        (member_id, state, attempts, queued_at, next_attempt_at, claimed_at, sent_at, last_error,
         last_error_code, task_id, message_id, journal)
        SELECT id, state, 1, at, at, at, IF(state = 'sent', at, NULL), '', code, task,
        CONCAT('<welcome.', task, '@example.org>'),
        JSON_ARRAY(JSON_OBJECT('task', task, 'started', CONCAT(at, 'Z'), 'ended', CONCAT(at, 'Z'),
                               'state', state, 'reason', '', 'code', code))""",
    "django_celery_results_taskresult": """
        (task_id, task_name, task_args, task_kwargs, status, worker, content_type, content_encoding,
         result, date_created, date_started, date_done, meta)
        SELECT task, 'members.tasks.send_welcome_emails', CONCAT('"(', id, ',)"'), '"{{}}"',
        IF(code = '', 'SUCCESS', 'FAILURE'), 'celery@desk', 'application/json', 'utf-8',
        IF(code = '', '[["Welcome e-mails sent: %(count)s.", {{"count": 1}}]]',
        '{{"exc_type": "AttemptFailedError", "exc_message": [[]], "exc_module": "members.mail.tasks"}}'),
        at, at, at, '{{"children": []}}'""",
}


def add_members(count: int) -> None:
    """One for each of the first books, whose ids count them."""
    with connection.cursor() as cursor:
        for table, rows in MEMBER_ROWS.items():
            statement = f"INSERT INTO {table} {rows} FROM {PERSON}"
            cursor.execute(statement.format(count=count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a CSV file with columns title and authors")
    parser.add_argument("count", type=int)
    parser.add_argument(
        "--members", type=int, default=0, help="at most as many as books; MySQL only"
    )
    parser.add_argument("--folder", type=Path, help="keeps the files, or loads those that it has")
    options = parser.parse_args()
    if Book.objects.exists():
        raise SystemExit("This catalogue is not empty.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if not (folder / "library_word").exists():
            write_files(options.source, options.count, folder)
        if connection.vendor == "mysql":
            connection.settings_dict["OPTIONS"]["local_infile"] = True
        with connection.constraint_checks_disabled(), connection.cursor() as cursor:
            if connection.vendor == "mysql":
                cursor.execute("SET unique_checks = 0")
            load(folder)
            add_members(options.members)
            tables = ", ".join([*(model._meta.db_table for model in COLUMNS), *MEMBER_ROWS])
            cursor.execute(f"ANALYZE TABLE {tables}" if connection.vendor == "mysql" else "ANALYZE")


if __name__ == "__main__":
    main()
