import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from library.models import Book
from library.search.verify import Fault, verify

MAX_EXAMPLES = 10


class Command(BaseCommand):
    help = (
        "Compare the words of the search index with the title and author of every book: SQL that "
        "was run by hand leaves them wrong. Exit code 1 if something is wrong and not repaired."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--repair", action="store_true", help="index the books anew whose words are wrong"
        )

    def handle(self, *, repair: bool, **options: Any) -> None:
        compared = missing = extra = stale = orphaned = wrong = 0
        examples: list[Fault] = []
        # disable=None: no bar without a terminal.
        bar = tqdm(total=Book.objects.count(), unit=" books", file=sys.stderr, disable=None)
        with bar:
            for books, faults in verify(repair):
                compared += books
                wrong += len(faults)
                missing += sum(bool(fault.missing) for fault in faults)
                extra += sum(bool(fault.extra and fault.title is not None) for fault in faults)
                stale += sum(fault.stale for fault in faults)
                orphaned += sum(fault.title is None for fault in faults)
                examples += faults[: MAX_EXAMPLES - len(examples)]
                bar.update(books)
                bar.set_postfix_str(f"{wrong:,} wrong")
        for fault in examples:
            self.stdout.write(str(fault))
        if wrong > len(examples):
            self.stdout.write(f"… and {wrong - len(examples):,} more")
        self.stdout.write(
            f"{compared:,} books compared: {missing:,} with words missing, {extra:,} with words "
            f"too many, {stale:,} with a wrong Bloom filter, words of {orphaned:,} that do not "
            "exist."
        )
        if wrong and repair:
            self.stdout.write("All of them are repaired.")
        elif wrong:
            raise CommandError("The index is wrong: repair it with --repair.")
