from django.db import migrations

import library.search.models


class Migration(migrations.Migration):

    dependencies = [
        ("library", "0005_history_begins"),
    ]

    operations = [
        migrations.AddField(
            model_name="word",
            name="stem",
            field=library.search.models.StemField(db_default="", editable=False, max_length=64),
        ),
    ]
