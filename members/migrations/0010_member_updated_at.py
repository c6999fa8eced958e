from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("members", "0009_member_version"),
    ]

    operations = [
        migrations.AddField(
            model_name="member",
            name="updated_at",
            field=models.DateTimeField(auto_now=True, verbose_name="changed"),
        ),
    ]
