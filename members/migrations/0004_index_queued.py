from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('members', '0003_journal_of_attempts'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='welcomeemail',
            index=models.Index(fields=['queued_at'], name='members_welcome_queued'),
        ),
    ]
