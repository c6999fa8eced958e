from django.apps import apps as installed_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations

GROUPS = {
    "Cataloguers": {
        "library": ["add_book", "change_book", "delete_book", "view_book"],
    },
    "Membership desk": {
        "members": [
            "add_member",
            "change_member",
            "delete_member",
            "view_member",
            "view_welcomeemail",
        ],
    },
    # They read all and send e-mails again, but edit nobody's data.
    "Operators": {
        "library": ["view_book"],
        "members": ["view_member", "view_welcomeemail", "change_welcomeemail"],
        "django_celery_results": ["view_taskresult"],
    },
}


def add_groups(apps, schema_editor):
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    for label in {label for permissions in GROUPS.values() for label in permissions}:
        # Django makes permissions after the last migration; these are needed now.
        create_permissions(installed_apps.get_app_config(label), verbosity=0)
    for name, permissions in GROUPS.items():
        group, _ = Group.objects.get_or_create(name=name)
        for label, codenames in permissions.items():
            group.permissions.add(
                *Permission.objects.filter(
                    content_type__app_label=label, codename__in=codenames
                )
            )


def remove_groups(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=GROUPS).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("django_celery_results", "0014_alter_taskresult_status"),
        ("library", "0001_initial"),
        ("members", "0001_initial"),
    ]

    operations = [migrations.RunPython(add_groups, remove_groups)]
