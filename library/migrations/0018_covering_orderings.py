from django.db import migrations, models

ORDERINGS = {
    "library_book_title": "title",
    "library_book_author": "author",
    "library_book_year": "publication_year",
    "library_book_created": "created_at",
    "library_book_updated": "updated_at",
}


def covering(field):
    year = [] if field == "publication_year" else ["publication_year"]
    return [field, "id", "bloom_low", "bloom_high", *year]


def replace(apps, schema_editor, columns_of):
    """All indexes in one statement on MySQL: one pass over the table, and all or nothing."""
    book = apps.get_model("library", "Book")
    if schema_editor.connection.vendor == "mysql":
        drops = [f"DROP INDEX {name}" for name in ORDERINGS]
        adds = [
            f"ADD INDEX {name} ({', '.join(columns_of(field))})"
            for name, field in ORDERINGS.items()
        ]
        schema_editor.execute(f"ALTER TABLE {book._meta.db_table} {', '.join(drops + adds)}")
        return
    for name, field in ORDERINGS.items():
        index = models.Index(fields=columns_of(field), name=name)
        schema_editor.remove_index(book, index)
        schema_editor.add_index(book, index)


def widen(apps, schema_editor):
    replace(apps, schema_editor, covering)


def narrow(apps, schema_editor):
    replace(apps, schema_editor, lambda field: [field])


class Migration(migrations.Migration):

    dependencies = [
        ("library", "0017_fill_bloom_filters"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(widen, narrow)],
            state_operations=[
                operation
                for name, field in ORDERINGS.items()
                for operation in (
                    migrations.RemoveIndex("book", name),
                    migrations.AddIndex(
                        "book", models.Index(fields=covering(field), name=name)
                    ),
                )
            ],
        )
    ]
