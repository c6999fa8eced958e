from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("members", "0017_member_imports")]

    operations = [
        migrations.AddField("memberimport", "options", models.JSONField(default=dict)),
    ]
