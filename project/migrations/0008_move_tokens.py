from django.db import migrations

OLD, NEW = "knox_authtoken", "project_authtoken"
COLUMNS = "digest, token_key, user_id, created, expiry"


def move(apps, schema_editor):
    """The tokens of the package's own table, which goes, and who may see them."""
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        if OLD in connection.introspection.table_names(cursor):
            cursor.execute(  # once more after an interruption: some may be there
                f"INSERT INTO {NEW} ({COLUMNS}, name) SELECT {COLUMNS}, '' FROM {OLD} "  # nosec
                f"WHERE digest NOT IN (SELECT digest FROM {NEW})"
            )
            cursor.execute(f"DROP TABLE {OLD}")
    content_types = apps.get_model("contenttypes", "ContentType").objects.filter(model="authtoken")
    if not content_types.filter(app_label="project").exists():
        content_types.filter(app_label="knox").update(app_label="project")


class Migration(migrations.Migration):
    dependencies = [
        ("project", "0007_auth_token"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(move, migrations.RunPython.noop)]
