from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("members", "0007_index_reason"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="welcomeemail",
            name="members_welcome_due",
        ),
        migrations.AddIndex(
            model_name="welcomeemail",
            index=models.Index(fields=["state", "next_attempt_at", "hinted_at"], name="members_welcome_waiting"),
        ),
    ]
