from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("library", "0015_bookword_bloom_low"),
    ]

    operations = [
        migrations.AddField(
            model_name="bookword",
            name="bloom_high",
            field=models.BigIntegerField(db_default=9223372036854775807, editable=False),
        ),
    ]
