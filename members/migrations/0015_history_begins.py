from django.db import migrations
from django.utils import timezone

# Existing members get their first version, with which their next change is compared.
COLUMNS = "id, version, username, email, registered_at"


def begin(apps, schema_editor):
    connection = schema_editor.connection
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO members_historicalmember ({COLUMNS}, history_date, history_type, door, "  # nosec
            f"detail, batch, listed) SELECT {COLUMNS}, %s, '~', '', '', '', 0 FROM members_member",
            [now],
        )


class Migration(migrations.Migration):
    dependencies = [
        ("members", "0014_history"),
    ]

    operations = [migrations.RunPython(begin, migrations.RunPython.noop, elidable=True)]
