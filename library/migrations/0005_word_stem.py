from django.db import migrations

import library.search.models


class Migration(migrations.Migration):

    dependencies = [
        ("library", "0003_refuse_music_numbers"),
    ]

    operations = [
        migrations.AddField(
            model_name="word",
            name="stem",
            field=library.search.models.StemField(db_default="", editable=False, max_length=64),
        ),
    ]
