from django.apps import apps as installed_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations


def allow(apps, schema_editor):
    create_permissions(installed_apps.get_app_config("members"), verbosity=0)
    change_welcomeemail = apps.get_model("auth", "Permission").objects.get(
        content_type__app_label="members", codename="change_welcomeemail"
    )
    for group in apps.get_model("auth", "Group").objects.filter(name="Membership desk"):
        group.permissions.add(change_welcomeemail)


def forbid(apps, schema_editor):
    for group in apps.get_model("auth", "Group").objects.filter(name="Membership desk"):
        group.permissions.remove(
            *group.permissions.filter(content_type__app_label="members", codename="change_welcomeemail")
        )


class Migration(migrations.Migration):
    dependencies = [
        ("project", "0005_idempotency_keys"),
        ("members", "0001_initial"),
    ]

    operations = [migrations.RunPython(allow, forbid)]
