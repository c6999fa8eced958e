from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("library", "0014_book_bloom_high"),
    ]

    operations = [
        migrations.AddField(
            model_name="bookword",
            name="bloom_low",
            field=models.BigIntegerField(db_default=9223372036854775807, editable=False),
        ),
    ]
