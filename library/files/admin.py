"""The pages of an import of books."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from project.imports.admin import ImportAdmin, Texts

from .models import Import


@admin.register(Import)
class BookImportAdmin(ImportAdmin):
    permissions = ["library.add_book", "library.change_book"]
    record_page = "library_book_change"
    undo_question = _(
        "Undo this change? Books that somebody has changed since are left as they are."
    )
    where_from = _("An import adds and updates the books in a file.")
    texts = Texts(
        file=_(
            "CSV, TSV, XLSX, ODS or JSON Lines, at most %(size)d MB. A row at the top names the "
            "columns; title, author, year and ISBN are recognised in English, Russian and "
            "German. Nothing is written before you have seen the preview."
        ),
        matching=_("Books are matched by ISBN: existing ones are updated, others are added."),
        reading=_(
            "If you change the encoding, delimiter, sheet or header, the columns are detected "
            "again. Of several ISBN columns, the valid one is used."
        ),
        nothing_new=_("The file changes nothing: every book is in the catalogue already."),
        progress=_("Books compared and written: %(rows)s (%(percent)d%%)"),
        changed=_("Changed books"),
        file_kept=_("deleted %(days)d days after the upload; the counts stay."),
        rows_kept="",  # the file is kept as long
        purged=_("The file and its rows were deleted after %(days)d days; the counts stay."),
    )
