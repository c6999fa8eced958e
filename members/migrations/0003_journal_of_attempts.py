import django.core.serializers.json
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('members', '0002_dispatch'),
    ]

    operations = [
        migrations.AddField(
            model_name='welcomeemail',
            name='journal',
            field=models.JSONField(default=list, encoder=django.core.serializers.json.DjangoJSONEncoder, verbose_name='attempts so far'),
        ),
    ]
