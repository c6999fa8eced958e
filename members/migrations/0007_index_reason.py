from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('members', '0006_index_sent'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='welcomeemail',
            index=models.Index(fields=['state', 'last_error_code'], name='members_welcome_reason'),
        ),
    ]
