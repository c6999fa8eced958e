from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("library", "0007_fill_word_stems"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="word",
            index=models.Index(fields=["stem"], name="library_word_stem"),
        ),
    ]
