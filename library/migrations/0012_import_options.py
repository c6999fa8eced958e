from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("library", "0011_books_without_isbn")]

    operations = [
        migrations.AddField("import", "options", models.JSONField(default=dict)),
    ]
