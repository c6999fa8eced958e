from django.core.management.base import CommandError
from django.db import migrations, models


def find_music_numbers(apps, schema_editor):
    # Nobody but the library knows what these books are, so nothing is changed or removed here.
    books = apps.get_model("library", "Book").objects.using(schema_editor.connection.alias)
    found = books.filter(isbn__regex="^9790").order_by("pk").values_list("pk", "isbn", "title")
    if listed := [f"{pk} ({isbn}, {title})" for pk, isbn, title in found[:20]]:
        raise CommandError(
            "979-0 begins a music number (ISMN), which is no ISBN. With the version that you "
            "upgrade from, correct or remove these books, then upgrade: " + "; ".join(listed)
        )


class Migration(migrations.Migration):

    dependencies = [
        ("library", "0002_book_version"),
    ]

    operations = [
        migrations.RunPython(find_music_numbers, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="book",
            constraint=models.CheckConstraint(
                condition=models.Q(("isbn__regex", "^9790"), _negated=True),
                name="library_book_isbn_no_music_number",
                violation_error_message="979-0 begins a music number (ISMN), which is no ISBN.",
            ),
        ),
    ]
