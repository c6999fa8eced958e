from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ("members", "0008_index_waiting"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="welcomeemail",
            name="members_welcome_waiting",
        ),
    ]
