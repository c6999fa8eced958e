from collections.abc import Callable
from copy import copy, deepcopy
from operator import attrgetter
from typing import Any, ClassVar

from django.core.exceptions import ObjectDoesNotExist
from django.core.validators import EmailValidator, ProhibitNullCharactersValidator
from django.db import models
from django.utils.translation import gettext as _
from rest_framework import serializers


class ExactCharField(serializers.CharField):
    """Accepts only a JSON string; DRF accepts a number too."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class ExactEmailField(ExactCharField, serializers.EmailField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        [validator] = [v for v in self.validators if isinstance(v, EmailValidator)]
        validator.domain_allowlist = []  # Django allows "localhost"


class ExactIntegerField(serializers.IntegerField):
    """Accepts only a JSON integer, which 2000.0 is by JSON Schema; DRF accepts a string too."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():
            data = int(data)
        if type(data) is not int:
            self.fail("invalid")
        return data


class StrictSerializer(serializers.Serializer):
    """Refuses unknown fields: a misspelt one would be ignored silently."""

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
        message = _("Unknown field. Known fields: %(names)s.") % {"names": known}
        error = serializers.ErrorDetail(message, "unknown")
        return {name: [error] for name in data if name not in self.fields}


class StrictModelSerializer(StrictSerializer, serializers.ModelSerializer):
    """Leaves uniqueness to the database, which alone is free of races: see RecordMixin."""

    serializer_field_mapping: ClassVar = serializers.ModelSerializer.serializer_field_mapping | {
        models.CharField: ExactCharField,
        models.EmailField: ExactEmailField,
        models.PositiveSmallIntegerField: ExactIntegerField,
    }

    _built: ClassVar[dict[str, serializers.Field]]
    # Of each field its name, how to get its value from an instance, and how to show that.
    _shown: ClassVar[list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]]

    def get_fields(self) -> dict[str, Any]:
        """Those of the model are built once for each class: its instances bind copies.

        Declared ones are made anew, as DRF does: a limit may depend on the day.
        """
        if "_built" not in vars(type(self)):
            type(self)._built = super().get_fields()
        fields = {name: copy(field) for name, field in self._built.items()}
        return fields | deepcopy(self._declared_fields)

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """As DRF's for attributes of the instance alone: it asks each value of each row for more."""
        if "_shown" not in vars(type(self)):
            fields = type(self)()._readable_fields  # of a serializer that holds no request
            type(self)._shown = [
                (str(field.field_name), attrgetter(str(field.source)), field.to_representation)
                for field in fields
            ]
        shown = {}
        for name, attribute, represent in self._shown:
            try:
                value = attribute(instance)
            except ObjectDoesNotExist:  # the other side of a relation
                value = None
            shown[name] = None if value is None else represent(value)
        return shown

    def get_unique_together_validators(self) -> list[Any]:
        return []

    def build_standard_field(self, field_name: str, model_field: Any) -> tuple[type, dict]:
        field_class, kwargs = super().build_standard_field(field_name, model_field)
        kwargs["validators"] = [
            validator
            for validator in kwargs.get("validators", [])
            # The fields check NUL and e-mail addresses themselves.
            if not hasattr(validator, "queryset")
            and not isinstance(validator, ProhibitNullCharactersValidator | EmailValidator)
        ]
        if not kwargs["validators"]:
            del kwargs["validators"]
        return field_class, kwargs
