from django.db import migrations
from django.utils import timezone

# Existing books get their first version, with which their next change is compared.
COLUMNS = "id, version, title, author, publication_year, isbn, created_at"


def begin(apps, schema_editor):
    connection = schema_editor.connection
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO library_historicalbook ({COLUMNS}, history_date, history_type, door, "  # nosec
            f"detail, batch, listed) SELECT {COLUMNS}, %s, '~', '', '', '', 0 FROM library_book",
            [now],
        )


class Migration(migrations.Migration):
    dependencies = [
        ("library", "0004_history"),
    ]

    operations = [migrations.RunPython(begin, migrations.RunPython.noop, elidable=True)]
