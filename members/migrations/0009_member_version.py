from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("members", "0008_index_waiting"),
    ]

    operations = [
        migrations.AddField(
            model_name="member",
            name="version",
            field=models.PositiveIntegerField(default=1, editable=False, verbose_name="version"),
        ),
    ]
