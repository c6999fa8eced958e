"""CPU of application and database per request, beside peers; see README.md beside this file."""

import argparse
import http.client
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

import django  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import Group, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from fill import isbn_number  # noqa: E402
from redis import Redis  # noqa: E402
from tqdm import tqdm  # noqa: E402

from library.models import Book  # noqa: E402
from members.models import Member  # noqa: E402
from project.api.authentication import AuthToken  # noqa: E402

FILL_BATCH_SIZE = 1000
VOCABULARY = 20_000
ACCOUNT = "benchmark"
# Throttles count, as always, and never refuse.
RATES = dict.fromkeys(["THROTTLE_ANON", "THROTTLE_ACCOUNT", "THROTTLE_REGISTER"], "1000000/s")
GUNICORN = ["--bind=127.0.0.1:{port}", "--workers=2", "--threads=4", "--keep-alive=5"]


# --- Books ---


def word(rank: int) -> str:
    """The word of this rank in an invented language: the more frequent, the shorter."""
    syllables = [consonant + vowel for consonant in "bdgklmnprstv" for vowel in "aeiou"]
    text = ""
    while rank:
        rank, last = divmod(rank, len(syllables))
        text += syllables[last]
    return text + "x"  # no stemmer knows such an ending


def fill(number: int) -> None:
    """Add books until there are so many, with words as frequent as Zipf's law has them."""
    chance = random.Random(1)
    vocabulary = [word(rank) for rank in range(1, VOCABULARY)]
    weights = [1 / rank for rank in range(1, VOCABULARY)]
    stored = Book.objects.count()
    with tqdm(total=max(number - stored, 0), unit=" books", file=sys.stderr) as bar:
        for first in range(stored, number, FILL_BATCH_SIZE):
            numbers = range(first, min(first + FILL_BATCH_SIZE, number))
            books = []
            for each in numbers:
                title = chance.choices(vocabulary, weights, k=chance.randint(2, 9))
                if chance.random() < 0.2:  # as in real catalogues, most words occur once or twice
                    title.append(word(VOCABULARY + each))
                names = chance.choices(vocabulary, k=1) + chance.choices(vocabulary, weights)
                books.append(
                    Book(
                        title=" ".join(title).capitalize(),
                        author=" ".join(names).title(),
                        publication_year=2026 - int(chance.expovariate(1 / 20)) % 500,
                        isbn=isbn_number(each),
                    )
                )
            Book.objects.bulk_create(books)
            bar.update(len(books))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE library_book, library_word, library_bookword")


@dataclass
class Call:
    """The same work: how the desk is asked for it, and how the peers are."""

    name: str
    method: str
    ours: Callable[[], tuple[str, Any]]  # path and body
    theirs: Callable[[], tuple[str, Any]]


def calls(number: int) -> Iterator[Call]:
    some = random.Random(2)
    ids = list(Book.objects.order_by("pk").values_list("pk", flat=True)[:number:97])
    serial = count(int(time.time()) % 10**7 * 100)

    def get(name: str, ours: dict[str, Any], path: str, **theirs: Any) -> Call:
        our_path = f"/api/v1/books/?{urlencode(ours)}".rstrip("?")
        their_path = f"{path}?{urlencode(theirs)}".rstrip("?")
        return Call(name, "GET", lambda: (our_path, None), lambda: (their_path, None))

    def book() -> dict[str, Any]:
        title = " ".join(word(some.randrange(1, VOCABULARY)) for _ in range(4)).capitalize()
        isbn = isbn_number(next(serial) + 400_000_000)
        return {"title": title, "author": "Baex Bex", "publication_year": 1999, "isbn": isbn}

    def member() -> dict[str, Any]:
        name = f"reader{next(serial)}"
        return {"username": name, "email": f"{name}@example.org"}

    yield Call(
        "detail",
        "GET",
        lambda: (f"/api/v1/books/{some.choice(ids)}/", None),
        lambda: (f"/books/{some.choice(ids)}", None),
    )
    yield Call("create", "POST", lambda: ("/api/v1/books/", book()), lambda: ("/books", book()))
    yield Call(
        "register",
        "POST",
        lambda: ("/api/v1/members/register/", member()),
        lambda: ("/register", member()),
    )
    author = Book.objects.get(pk=ids[len(ids) // 2]).author  # of few books
    yield get("by author", {"author": author}, "/author", author=author)
    words = map(word, range(VOCABULARY, VOCABULARY + number))
    rare = next(text for text in words if Book.objects.search(title=text).exists())
    yield get("search, rare word", {"search": rare}, "/search", words=rare)
    yield get("list of 50", {}, "/books")
    deep = Book.objects.order_by("title", "pk")[number * 9 // 10]
    yield Call(
        "list of 50 at nine tenths",
        "GET",
        lambda: (f"@{number * 9 // 10}", None),  # filled in by send()
        lambda: (f"/books?{urlencode({'title': deep.title, 'id': deep.pk})}", None),
    )
    frequent, second = word(1), word(2)
    yield get("search, frequent word", {"search": frequent}, "/search", words=frequent)
    both = f"{frequent} {second}"
    yield get("search, two words", {"search": both}, "/search", words=both)
    for order, ordering in (("year", "publication_year"), ("title", "title")):
        years = {"publication_year_min": 1990, "publication_year_max": 2000}
        ours = years | {"ordering": ordering}
        yield get(f"years, by {order}", ours, "/years", first=1990, last=2000, order=order)


# --- Servers ---


@dataclass
class Server:
    name: str
    process: "subprocess.Popen[bytes]"
    port: int
    is_ours: bool
    token: str = ""

    def __post_init__(self) -> None:
        self.client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.cursor = ""

    def send(self, call: Call) -> None:
        path, body = (call.ours if self.is_ours else call.theirs)()
        if path.startswith("@"):
            path = self.cursor = self.cursor or self.find_page(int(path[1:]))
        headers = {"Host": "localhost"}
        if body:
            headers["Content-Type"] = "application/json"
        if call.name == "create":
            headers["Authorization"] = f"Bearer {self.token}"
        self.client.request(call.method, path, body and json.dumps(body), headers)
        response = self.client.getresponse()
        content = response.read()
        if response.status >= 300:
            raise SystemExit(f"{self.name}: {call.method} {path}: {response.status} {content!r}")

    def find_page(self, position: int) -> str:
        """The page of 50 after so many books, by following the server's own links."""
        path = "/api/v1/books/?page_size=200"
        for _ in range(position // 200):
            self.client.request("GET", path, headers={"Host": "localhost"})
            following = urlsplit(json.loads(self.client.getresponse().read())["next"])
            path = f"{following.path}?{following.query}"
        return path.replace("page_size=200", "page_size=50")

    def cpu(self) -> float:
        """Seconds of CPU of the server's processes, threads that have ended included."""
        pids, found = [self.process.pid], []
        while pids:
            found.append(pid := pids.pop())
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in found)  # clock_getcpuclockid(3)


@contextmanager
def started(name: str, command: list[Any], port: int, **options: Any) -> Iterator[Server]:
    is_ours, token = options.pop("is_ours", False), options.pop("token", "")
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=log, stderr=log, **options) as process,
    ):
        try:
            for _ in range(200):
                try:
                    http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                log.seek(0)
                raise SystemExit(f"{name} does not start:\n{log.read().decode()[-3000:]}")
            time.sleep(2)  # the other worker processes
            yield Server(name, process, port, is_ours, token)
        finally:
            process.terminate()


def make_environment(folder: Path) -> Path:
    """The peers' packages, never in the project's own environment."""
    venv.create(folder, with_pip=True)
    pip: list[Any] = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", PEERS / "requirements.txt"], check=True)
    return folder / "bin"


def desk(name: str, folder: Path, port: int, token: str, data_dir: str) -> Any:
    environment = os.environ | RATES | {"PORT": str(port), "DATA_DIR": data_dir}
    # Nobody connects anew or starts again while it is measured.
    environment |= {"PYTHONPATH": str(folder), "WEB_MAX_REQUESTS": "0", "CONN_MAX_AGE": "3600"}
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:project.gunicorn"]
    options = {"env": environment, "cwd": folder, "is_ours": True, "token": token}
    return started(name, gunicorn, port, **options)


def peers(binaries: Path, port: int) -> Iterator[Any]:
    options: dict[str, Any] = {"cwd": PEERS, "env": os.environ | {"PYTHONPATH": str(PEERS)}}
    del options["env"]["DJANGO_SETTINGS_MODULE"]
    uvicorn = [binaries / "uvicorn", "--workers=2", "--no-access-log", "fastapi_app:app"]
    yield started("FastAPI", [*uvicorn, f"--port={port}"], port, **options)
    for name, module in (("ninja", "ninja_app"), ("floor", "floor")):
        port += 1
        some = [part.format(port=port) for part in GUNICORN]
        yield started(
            name, [binaries / "gunicorn", *some, f"{module}:application"], port, **options
        )


# --- Measure ---


class Database:
    """CPU of MySQL's threads that serve connections to this database.

    Other databases may be busy on the same server; its background threads serve all of them.
    """

    def __init__(self) -> None:
        names = {
            path.parent: path.read_text().strip() for path in Path("/proc").glob("[0-9]*/comm")
        }
        servers = [folder for folder, name in names.items() if name == "mysqld"]
        if not servers:
            raise SystemExit("MySQL does not run on this machine: its CPU cannot be seen.")
        # Ours is the one in which our own connection's thread is busy.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT THREAD_OS_ID FROM performance_schema.threads "
                "WHERE PROCESSLIST_ID = CONNECTION_ID()"
            )
            thread = cursor.fetchone()[0]
            before = {server: used_by_threads(server).get(thread, 0) for server in servers}
            cursor.execute("SELECT BENCHMARK(1000000, SHA2('busy', 256))")
        self.server = max(
            servers, key=lambda server: used_by_threads(server).get(thread, 0) - before[server]
        )

    def start(self) -> None:
        self.ours, self.used = self._ours(), used_by_threads(self.server)

    def seconds(self) -> float:
        """Since start()."""
        used = used_by_threads(self.server)
        threads = self.ours | self._ours()
        return sum(used.get(each, 0) - self.used.get(each, 0) for each in threads) / 1e9

    def _ours(self) -> set[int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT THREAD_OS_ID FROM performance_schema.threads WHERE PROCESSLIST_DB = "
                "DATABASE() AND PROCESSLIST_ID <> CONNECTION_ID()"
            )
            return {row[0] for row in cursor.fetchall()}


def used_by_threads(server: Path) -> dict[int, int]:
    """Nanoseconds of CPU of each of its threads, since it began."""
    return {
        thread_id(task): int((task / "schedstat").read_text().split()[0])
        for task in (server / "task").iterdir()
    }


def thread_id(task: Path) -> int:
    """A thread's id in its own container, by which MySQL knows it."""
    status = (task / "status").read_text()
    return int(status.partition("NSpid:")[2].partition("\n")[0].split()[-1])


def measure(servers: list[Server], shapes: list[Call], rounds: int, requests: int) -> None:
    """In turn: every server gets the same requests before the next round begins."""
    database = Database()
    used: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for call in shapes:
        for server in servers:
            server.client.close()  # the server has closed it, or will in a moment
            for _ in range(30):  # each of its threads has connected, each of its caches is warm
                server.send(call)
    with tqdm(total=rounds * len(shapes) * len(servers), file=sys.stderr) as bar:
        for _ in range(rounds):
            for call in shapes:
                for server in servers:
                    server.client.close()
                    before = server.cpu()
                    database.start()
                    for _ in range(requests):
                        server.send(call)
                    spent = (server.cpu() - before, database.seconds())
                    taken = (spent[0] / requests * 1000, spent[1] / requests * 1000)
                    used.setdefault((call.name, server.name), []).append(taken)
                    bar.update()
    print_table(servers, shapes, used)


def print_table(servers: list[Server], shapes: list[Call], used: dict[Any, Any]) -> None:
    print(f"| work | {' | '.join(server.name for server in servers)} |")
    print("|---|" + "--:|" * len(servers))
    for call in shapes:
        cells = []
        for server in servers:
            measured = used[call.name, server.name]
            whole = statistics.median(sum(pair) for pair in measured)
            app, data = (statistics.median(pair[i] for pair in measured) for i in (0, 1))
            cells.append(f"{whole:.2f} ({app:.2f} + {data:.2f})")
        print(f"| {call.name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--books", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=300, help="of a kind, in a round")
    parser.add_argument("--only", default="", help="work whose name has this text")
    parser.add_argument("--before", type=Path, help="another checkout to measure in turn with it")
    parser.add_argument("--peers", type=Path, help="an environment that has peers/requirements.txt")
    parser.add_argument("--port", type=int, default=8700, help="the first of five")
    options = parser.parse_args()
    if connection.vendor != "mysql" or not settings.REDIS_URL:
        raise SystemExit("Set DATABASE_URL to an empty MySQL database and REDIS_URL to a Redis.")
    call_command("migrate", verbosity=0)
    fill(options.books)
    user, _ = User.objects.get_or_create(username=ACCOUNT)
    user.groups.set([Group.objects.get(name="Integrator, write")])
    token = AuthToken.objects.create(user, name=secrets.token_hex(4))[1]
    last_book = Book.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    last_member = Member.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        binaries = options.peers / "bin" if options.peers else make_environment(folder / "venv")
        starting = [desk("now", ROOT, options.port, token, str(folder / "now"))]
        if options.before:
            before = options.before.resolve()
            starting.insert(
                0, desk("before", before, options.port + 1, token, str(folder / "before"))
            )
        starting += peers(binaries, options.port + 2)
        servers = [stack.enter_context(server) for server in starting]
        shapes = [call for call in calls(options.books) if options.only in call.name]
        try:
            measure(servers, shapes, options.rounds, options.requests)
        finally:
            Book.objects.filter(pk__gt=last_book).delete()
            Member.objects.filter(pk__gt=last_member).delete()
            Redis.from_url(settings.REDIS_URL).delete("celery", "peer")


if __name__ == "__main__":
    main()
