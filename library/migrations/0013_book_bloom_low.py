from django.db import migrations

import library.search.models


class Migration(migrations.Migration):

    dependencies = [
        ("library", "0012_import_options"),
    ]

    operations = [
        migrations.AddField(
            model_name="book",
            name="bloom_low",
            field=library.search.models.BloomField(),
        ),
    ]
