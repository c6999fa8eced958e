from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('members', '0005_index_age'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='welcomeemail',
            index=models.Index(fields=['state', 'sent_at'], name='members_welcome_sent'),
        ),
    ]
