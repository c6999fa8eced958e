from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ("members", "0010_member_updated_at"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="welcomeemail",
            name="members_welcome_waiting",
        ),
    ]
