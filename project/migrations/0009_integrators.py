from django.apps import apps as installed_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations

READ = ["view_book", "view_member"]
WRITE = [f"{act}_{model}" for model in ("book", "member") for act in ("add", "change", "delete")]
GROUPS = {"Integrator, read": READ, "Integrator, write": READ + WRITE}


def add_groups(apps, schema_editor):
    for label in ("library", "members"):
        create_permissions(installed_apps.get_app_config(label), verbosity=0)
    permissions = apps.get_model("auth", "Permission").objects
    for name, codenames in GROUPS.items():
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        group.permissions.add(
            *permissions.filter(
                content_type__app_label__in=("library", "members"), codename__in=codenames
            )
        )


def remove_groups(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=GROUPS).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("project", "0008_move_tokens"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("library", "0001_initial"),
        ("members", "0001_initial"),
    ]

    operations = [migrations.RunPython(add_groups, remove_groups)]
