from django.apps import apps as installed_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations


def allow(apps, schema_editor):
    create_permissions(installed_apps.get_app_config("members"), verbosity=0)
    may_pause = apps.get_model("auth", "Permission").objects.get(
        content_type__app_label="members", codename="change_dispatch"
    )
    for group in apps.get_model("auth", "Group").objects.filter(name="Operators"):
        group.permissions.add(may_pause)


def forbid(apps, schema_editor):
    for group in apps.get_model("auth", "Group").objects.filter(name="Operators"):
        group.permissions.remove(
            *group.permissions.filter(
                content_type__app_label="members", codename="change_dispatch"
            )
        )


class Migration(migrations.Migration):
    dependencies = [
        ("project", "0002_history_index"),
        ("members", "0002_dispatch"),
    ]

    operations = [migrations.RunPython(allow, forbid)]
