"""Files into the member register, for programs."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view

from members.views import EXAMPLE
from project.api.serializers import FlagField
from project.imports.schema import described
from project.imports.serializers import OptionsSerializer, UploadMixin
from project.imports.views import ImportViewSet

from .importing import COLUMNS
from .models import MemberImport


class MemberImportOptionsSerializer(OptionsSerializer):
    records_columns = COLUMNS

    welcome_emails = FlagField(
        required=False,
        help_text="`true` sends each new member the welcome e-mail; otherwise they count as already "
        "known.",
    )


class MemberImportUploadSerializer(UploadMixin, MemberImportOptionsSerializer):
    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        return super().validate(given) | {"sends_welcome": given.get("welcome_emails", False)}


@extend_schema_view(
    **described(
        MemberImportOptionsSerializer,
        MemberImportUploadSerializer,
        "members",
        "members/imports",
        "Members are matched by username: known ones get the e-mail address of the file, others are "
        "registered. The file is deleted once it is read, and its rows when a member whom they "
        "name is erased.",
        EXAMPLE,
    )
)
@extend_schema(tags=["members"])
class MemberImportViewSet(ImportViewSet):
    queryset = MemberImport.objects.all()
    permissions = ["members.add_member", "members.change_member"]
    upload_serializer_class = MemberImportUploadSerializer
