from django.db import migrations, transaction

from library.search.models import ANY_WORD
from library.search.words import bloom_of, words_of

BATCH_SIZE = 2000


def fill(apps, schema_editor):
    """In batches; started again, it goes on where it was interrupted."""
    database = schema_editor.connection
    books = apps.get_model("library", "Book").objects.using(database.alias)
    update = "UPDATE {} SET bloom_low = %s, bloom_high = %s WHERE {} = %s"
    update_words = update.format("library_bookword", "book_id")
    update_book = update.format("library_book", "id")
    last = 0
    while batch := list(
        books.filter(pk__gt=last, bloom_low=ANY_WORD)
        .order_by("pk")
        .values_list("pk", "title", "author")[:BATCH_SIZE]
    ):
        rows = [(*bloom_of({*words_of(title), *words_of(author)}), pk) for pk, title, author in batch]
        with transaction.atomic(using=database.alias), database.cursor() as cursor:
            cursor.executemany(update_words, rows)
            cursor.executemany(update_book, rows)
        last = batch[-1][0]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("library", "0015_bookword_bloom_high"),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
