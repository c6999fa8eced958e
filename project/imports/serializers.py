"""What the API asks about a file, and what it tells of an import."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.encoding import force_str
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from project.api.errors import TooLargeError
from project.api.serializers import ExactCharField, FlagField, StrictSerializer
from project.base.files.delimited import DELIMITERS
from project.base.files.reading import ENDINGS, FORMATS, format_of
from project.base.history import Door
from project.jobs.models import State

from .engine import columns_of
from .models import Import
from .preview import ENCODINGS, coded, decoded, same_encoding
from .records import Column

MEDIA_TYPES = {
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
}
BINARY = "application/octet-stream"  # the name of the file tells the format
FILE = {"type": "string", "format": "binary", "minLength": 1}
DELIMITER_NAMES = {",": "COMMA", ";": "SEMICOLON", "\t": "TAB", "|": "VERTICAL_BAR"}
ENCODING_NAMES = {same_encoding(name): name for name in ENCODINGS}


@extend_schema_field(FILE)
class UploadField(serializers.FileField):
    pass


@extend_schema_field(
    {
        "type": "string",
        "enum": [coded(mark) for mark in DELIMITERS],
        "x-enum-varnames": [DELIMITER_NAMES[mark] for mark in DELIMITERS],  # of clients' constants
    }
)
class DelimiterField(serializers.ChoiceField):
    def to_internal_value(self, data: Any) -> str:
        return decoded(super().to_internal_value(data))


class OptionsSerializer(StrictSerializer):
    # As the form in the admin: what is not given is found out.

    records_columns: ClassVar[Sequence[Column]]

    filename = ExactCharField(
        max_length=255,
        required=False,
        help_text="What lists and the history call the file. Default: the name that it comes with.",
    )
    encoding = serializers.ChoiceField(
        list(ENCODINGS.items()),
        required=False,
        help_text="Of CSV, TSV and JSON lines. Default: the `charset` of the media type, or what "
        "the file looks like.",
    )
    delimiter = DelimiterField(
        [coded(mark) for mark in DELIMITERS],
        required=False,
        help_text="Of CSV and TSV. Default: the one that the header suggests.",
    )
    sheet = ExactCharField(
        max_length=255,
        required=False,
        trim_whitespace=False,
        help_text="Of XLSX and ODS. Default: the first.",
    )
    dry_run = FlagField(
        required=False,  # no default: clients that are generated would send it
        help_text="`true` only examines the file: the import ends as `examined`, with the counts "
        "of what would be written. Staff can still confirm it in the admin.",
    )

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for column in self.records_columns:
            text = f"The header of the column with `{column.name}`, if it is not recognised."
            header: Any = ExactCharField(max_length=255, required=False, help_text=text)
            if column.several:
                text = f"{text} Given several times, the valid one counts."
                header = serializers.ListField(child=header, required=False, help_text=text)
            fields[f"{column.name}_column"] = header
        return fields

    @classmethod
    def repeatable(cls) -> set[str]:
        return {f"{column.name}_column" for column in cls.records_columns if column.several}


class UploadMixin(serializers.Serializer):
    # Beside the options; makes the columns of an import of them.

    file = UploadField()

    def validate_file(self, file: UploadedFile) -> UploadedFile:
        if (file.size or 0) > settings.IMPORT_MAX_MB * 10**6:
            raise TooLargeError
        return file

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        file = given["file"]
        kind = MEDIA_TYPES.get(file.content_type, "")
        name = given.get("filename", file.name)
        if not (kind := kind or format_of(name)):
            message = _("“%(name)s” does not end in a format that can be read: %(endings)s.")
            message %= {"name": name, "endings": ", ".join(ENDINGS)}
            raise serializers.ValidationError({"file": message}, "unknown_format")
        headers = {}
        for column in self.records_columns:  # type: ignore[attr-defined]
            if found := given.get(f"{column.name}_column"):
                headers[column.name] = found if column.several else [found]
        return {
            "file": file,
            "name": name[-255:] if "." in name else f"{name[-240:]}.{kind}",
            "size": file.size,
            "kind": kind,
            "encoding": given.get("encoding") or encoding_of(file),
            "delimiter": given.get("delimiter", ""),
            "sheet": given.get("sheet", ""),
            "options": {"dry_run": given.get("dry_run", False), "headers": headers},
        }


def encoding_of(file: UploadedFile) -> str:
    """What its media type says."""
    if not file.charset:
        return ""
    try:
        return ENCODING_NAMES[same_encoding(force_str(file.charset))]  # bytes, in a form
    except (LookupError, ValueError):
        message = _("Choose one of %(names)s.") % {"names": ", ".join(ENCODINGS)}
        raise serializers.ValidationError({"encoding": message}, "invalid_choice") from None


WRITTEN = ("new", "changed", "same")
FOUND = ("read", *WRITTEN, "refused")


class ImportFoundSerializer(serializers.Serializer):
    read = serializers.IntegerField(help_text="Rows, without blank ones.")
    new = serializers.IntegerField()
    changed = serializers.IntegerField()
    same = serializers.IntegerField(help_text="Stored already, or repeated in the file.")
    refused = serializers.IntegerField()


class ImportWrittenSerializer(serializers.Serializer):
    new = serializers.IntegerField()
    changed = serializers.IntegerField()
    same = serializers.IntegerField()


class ImportReadingSerializer(serializers.Serializer):
    encoding = serializers.CharField()
    delimiter = serializers.CharField()
    sheet = ExactCharField()
    columns = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="The headers of each field's columns.",
    )


class ImportSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    state = serializers.ChoiceField(
        State.choices,
        help_text="`uploaded` is being examined, `queued` and `running` being written. It ends as "
        "`done`, `failed` (see `error`), `cancelled` or, a dry run, `examined`. `undoing` and "
        "`undone`: staff take it back.",
    )
    progress = serializers.SerializerMethodField(help_text="Percent of what `state` tells.")
    filename = ExactCharField(source="name")
    format = serializers.ChoiceField([(kind, kind.upper()) for kind in FORMATS], source="kind")
    size = serializers.IntegerField(help_text="Bytes.")
    dry_run = serializers.SerializerMethodField()
    read_as = serializers.SerializerMethodField(
        help_text="How the file is read, once that is known."
    )
    found = serializers.SerializerMethodField(
        help_text="Rows by what the examination made of them."
    )
    written = serializers.SerializerMethodField(help_text="Records written so far.")
    error = serializers.SerializerMethodField(help_text="Why it failed, in the caller's language.")
    refused = serializers.SerializerMethodField(
        help_text="The file of the rows that were refused; null if there is none."
    )
    user = serializers.CharField(source="user.username", default=None, allow_null=True)
    door = serializers.ChoiceField([(door.value, door.label) for door in (Door.ADMIN, Door.API)])
    token = serializers.CharField(
        source="detail", help_text="The name of the token that it came with, or how that begins."
    )
    created_at = serializers.DateTimeField(source="uploaded_at")
    confirmed_at = serializers.DateTimeField(
        allow_null=True, help_text="When it was examined, or staff confirmed it."
    )
    finished_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field({"type": "integer", "minimum": 0, "maximum": 100})
    def get_progress(self, job: Import) -> int:
        ended = job.state in (State.EXAMINED, State.DONE, State.UNDONE)
        return 100 if ended else job.percent

    def get_dry_run(self, job: Import) -> bool:
        return job.door == Door.API and job.awaits_confirmation

    @extend_schema_field(ImportReadingSerializer(allow_null=True))
    def get_read_as(self, job: Import) -> Mapping[str, Any] | None:
        if not job.reading:
            return None
        header = job.reading["header"]
        columns = columns_of(job).items()
        return {name: job.reading[name] for name in ("encoding", "delimiter", "sheet")} | {
            "columns": {name: [header[index] for index in indexes] for name, indexes in columns}
        }

    @extend_schema_field(ImportFoundSerializer)
    def get_found(self, job: Import) -> dict[str, int]:
        return {name: job.found.get(name, 0) for name in FOUND}

    @extend_schema_field(ImportWrittenSerializer)
    def get_written(self, job: Import) -> dict[str, int]:
        return {name: job.written.get(name, 0) for name in WRITTEN}

    @extend_schema_field({"type": ["string", "null"]})
    def get_error(self, job: Import) -> str | None:
        return str(job.problem) if job.problem else None

    @extend_schema_field({"type": ["string", "null"], "format": "uri"})
    def get_refused(self, job: Import) -> str | None:
        if not job.has_refused:
            return None
        return self.context["view"].reverse_action("refused", args=[job.pk])
