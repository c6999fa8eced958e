from typing import Any

from django.core.validators import ProhibitNullCharactersValidator
from django.utils.translation import gettext as _
from rest_framework import serializers


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it does not know: a misspelt one would be lost in silence."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = self._unknown_fields(data) if isinstance(data, dict) else {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**error.detail, **unknown}) from None  # type: ignore[dict-item]
        if unknown:
            raise serializers.ValidationError(unknown)
        return values

    def _unknown_fields(self, data: dict[str, Any]) -> dict[str, list[serializers.ErrorDetail]]:
        known = ", ".join(name for name, field in self.fields.items() if not field.read_only)
        message = _("Unknown field. Known are: %(names)s.") % {"names": known}
        error = serializers.ErrorDetail(message, "unknown")
        return {name: [error] for name in data if name not in self.fields}


class StrictModelSerializer(StrictSerializer, serializers.ModelSerializer):
    """Leaves uniqueness to the database, which alone can tell: see RecordMixin."""

    def get_unique_together_validators(self) -> list[Any]:
        return []

    def build_standard_field(self, field_name: str, model_field: Any) -> tuple[type, dict]:
        field_class, kwargs = super().build_standard_field(field_name, model_field)
        kwargs["validators"] = [
            validator
            for validator in kwargs.get("validators", [])
            # CharField has a check of its own for NUL: once is enough.
            if not hasattr(validator, "queryset")
            and not isinstance(validator, ProhibitNullCharactersValidator)
        ]
        if not kwargs["validators"]:
            del kwargs["validators"]
        return field_class, kwargs
