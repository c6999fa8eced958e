from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('members', '0004_index_queued'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='welcomeemail',
            index=models.Index(fields=['state', 'queued_at'], name='members_welcome_age'),
        ),
    ]
