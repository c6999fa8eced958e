from django.apps import apps as installed_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations


def allow(apps, schema_editor):
    create_permissions(installed_apps.get_app_config("library"), verbosity=0)
    view_book = apps.get_model("auth", "Permission").objects.get(
        content_type__app_label="library", codename="view_book"
    )
    for group in apps.get_model("auth", "Group").objects.filter(name="Membership desk"):
        group.permissions.add(view_book)


def forbid(apps, schema_editor):
    for group in apps.get_model("auth", "Group").objects.filter(name="Membership desk"):
        group.permissions.remove(
            *group.permissions.filter(content_type__app_label="library", codename="view_book")
        )


class Migration(migrations.Migration):
    dependencies = [
        ("project", "0003_operators_pause_sending"),
        ("library", "0001_initial"),
    ]

    operations = [migrations.RunPython(allow, forbid)]
