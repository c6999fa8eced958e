from django.db import migrations, transaction

from library.search.models import ANY_WORD
from library.search.words import bloom_of, words_of

BATCH_SIZE = 2000


def fill(apps, schema_editor):
    """In batches; started again, it goes on where it was interrupted."""
    database = schema_editor.connection
    books = apps.get_model("library", "Book").objects.using(database.alias)
    update = "UPDATE library_book SET bloom_low = %s, bloom_high = %s WHERE id = %s"
    copied = "(SELECT {0} FROM library_book WHERE library_book.id = library_bookword.book_id)"
    copy = (
        f"UPDATE library_bookword SET bloom_low = {copied.format('bloom_low')}, "  # nosec
        f"bloom_high = {copied.format('bloom_high')} WHERE book_id BETWEEN %s AND %s"
    )
    last = 0
    while batch := list(
        books.filter(pk__gt=last, bloom_low=ANY_WORD)
        .order_by("pk")
        .values_list("pk", "title", "author")[:BATCH_SIZE]
    ):
        rows = [(*bloom_of({*words_of(title), *words_of(author)}), pk) for pk, title, author in batch]
        last = batch[-1][0]
        with transaction.atomic(using=database.alias), database.cursor() as cursor:
            cursor.executemany(update, rows)
            cursor.execute(copy, [batch[0][0], last])


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("library", "0016_bookword_bloom_high"),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
