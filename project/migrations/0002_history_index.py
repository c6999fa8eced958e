from django.db import migrations

# Django's history has no index by record: the history page of one and the erasing of a member's
# name would read the entries of all records of their kind.
NAME = "project_history_of_record"


def add_index(apps, schema_editor):
    # object_id is a text, of which MySQL indexes no more than it is told.
    part = "object_id(20)" if schema_editor.connection.vendor == "mysql" else "object_id"
    schema_editor.execute(f"CREATE INDEX {NAME} ON django_admin_log (content_type_id, {part})")


def remove_index(apps, schema_editor):
    table = " ON django_admin_log" if schema_editor.connection.vendor == "mysql" else ""
    schema_editor.execute(f"DROP INDEX {NAME}{table}")


class Migration(migrations.Migration):
    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("project", "0001_staff_groups"),
    ]

    operations = [migrations.RunPython(add_index, remove_index, atomic=False)]
