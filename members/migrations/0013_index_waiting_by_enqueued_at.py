from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("members", "0012_rename_hinted_at_to_enqueued_at"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="welcomeemail",
            index=models.Index(fields=["state", "next_attempt_at", "enqueued_at"], name="members_welcome_waiting"),
        ),
    ]
