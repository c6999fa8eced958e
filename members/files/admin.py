"""The pages of an import of members."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from members.models import Member
from project.imports.admin import ImportAdmin, Texts

from .models import MemberImport


@admin.register(MemberImport)
class MemberImportAdmin(ImportAdmin):
    permissions = ["members.add_member", "members.change_member"]
    where_from = gettext_lazy("An import registers the members in a file.")
    record_page = "members_member_change"
    page_template = "admin/members/import.html"
    undo_question = gettext_lazy(
        "Undo this import? The members it registered are erased for good, with their "
        "welcome e-mails; changed e-mail addresses go back to what they were. Members "
        "whom somebody has changed since are left as they are."
    )
    texts = Texts(
        file=gettext_lazy(
            "CSV, TSV, XLSX, ODS or JSON Lines, at most %(size)d MB. A row at the top names the "
            "columns; username and e-mail address are recognised in English, Russian and German. "
            "Nothing is written before you have seen the preview."
        ),
        matching=gettext_lazy(
            "Members are matched by username: existing ones get the e-mail address from "
            "the file, others are registered. On the next page you choose whether new "
            "members get a welcome e-mail."
        ),
        reading=gettext_lazy(
            "If you change the encoding, delimiter, sheet or header, the columns are detected again."
        ),
        nothing_new=gettext_lazy("The file changes nothing: every member is registered already."),
        progress=gettext_lazy("Members compared and written: %(rows)s (%(percent)d%%)"),
        changed=gettext_lazy("Changed members"),
        file_kept=gettext_lazy(
            "deleted once you confirm, when a member is erased, or after %(days)d days."
        ),
        rows_kept=gettext_lazy(
            "The uploaded file is deleted. The rows shown here are deleted after %(days)d days, "
            "or when a member whom they name is erased; the counts stay."
        ),
        purged=gettext_lazy(
            "The rows were deleted, after %(days)d days or because a member was erased; the "
            "counts stay."
        ),
    )

    def choices(self, request: HttpRequest) -> dict[str, Any]:
        return {"sends_welcome": request.POST.get("welcome") == "send"}

    def left(self, job: MemberImport) -> list[tuple[str, str, str]]:
        left = job.undone.get("left", [])
        names = Member.objects.in_bulk([pk for pk, name, why in left])
        return [
            (reverse(f"admin:{self.record_page}", args=[pk]), names[pk].username, _(why))
            for pk, name, why in left
            if pk in names
        ]
