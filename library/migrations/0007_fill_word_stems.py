from django.db import migrations, transaction

from library.search.words import stem_of

BATCH_SIZE = 2000


def fill(apps, schema_editor):
    """In batches; started again, it goes on where it was interrupted."""
    database = schema_editor.connection
    words = apps.get_model("library", "Word").objects.using(database.alias)
    table = database.ops.quote_name(words.model._meta.db_table)
    update = f"UPDATE {table} SET stem = %s WHERE id = %s"  # nosec
    last = 0
    while batch := list(
        words.filter(pk__gt=last, stem="").order_by("pk").values_list("text", "pk")[:BATCH_SIZE]
    ):
        with transaction.atomic(using=database.alias), database.cursor() as cursor:
            cursor.executemany(update, [(stem_of(text), pk) for text, pk in batch])
        last = batch[-1][1]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("library", "0006_word_stem"),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]
