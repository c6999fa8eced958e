from django.db import migrations

import library.search.models


class Migration(migrations.Migration):

    dependencies = [
        ("library", "0013_book_bloom_low"),
    ]

    operations = [
        migrations.AddField(
            model_name="book",
            name="bloom_high",
            field=library.search.models.BloomField(),
        ),
    ]
