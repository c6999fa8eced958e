from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ("members", "0011_drop_index_waiting"),
    ]

    operations = [
        migrations.RenameField(
            model_name="welcomeemail",
            old_name="hinted_at",
            new_name="enqueued_at",
        ),
    ]
