import json
import re
from collections.abc import Callable
from copy import copy
from datetime import date
from operator import attrgetter
from typing import Any, ClassVar

from django.core.exceptions import ObjectDoesNotExist
from django.core.validators import (
    EmailValidator,
    ProhibitNullCharactersValidator,
    RegexValidator,
)
from django.db import models
from django.utils.translation import gettext as _
from rest_framework import serializers

from .renderers import JSONRenderer

# Of a text: no NUL, and not only what str.isspace() or another language's \s takes for a space.
TEXT = r"^[^\x00]*[^\s\x00\x1c-\x1f\x85\ufeff][^\x00]*$"
NO_NUL = r"^[^\x00]*$"


class ExactCharField(serializers.CharField):
    """Accepts only a JSON string; DRF accepts a number too."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)  # before the spaces go
        if self.trim_whitespace and "\0" not in data and not re.search(TEXT, data):
            self.fail("blank")
        return super().to_internal_value(data)

    def schema(self, direction: str) -> dict[str, Any]:
        """What OpenAPI's description has beyond type and length."""
        if direction == "response" or any(isinstance(v, RegexValidator) for v in self.validators):
            return {}
        return {"pattern": TEXT if self.trim_whitespace else NO_NUL}


class ExactEmailField(ExactCharField, serializers.EmailField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        [validator] = [v for v in self.validators if isinstance(v, EmailValidator)]
        validator.domain_allowlist = []  # Django allows "localhost"

    def schema(self, direction: str) -> dict[str, Any]:
        return {"format": "email"}


class ExactIntegerField(serializers.IntegerField):
    """Accepts only a JSON integer, which 2000.0 is by JSON Schema; DRF accepts a string too."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():
            data = int(data)
        if type(data) is not int:
            self.fail("invalid")
        return data


class FlagField(serializers.BooleanField):
    """Of a form or a query: `true` or `false`; DRF accepts "on", "Y" and "1" too."""

    TRUE_VALUES = {"true"}
    FALSE_VALUES = {"false"}
    NULL_VALUES = set()


class StrictSerializer(serializers.Serializer):
    """Refuses what would be ignored silently: unknown fields, and a read-only one that differs."""

    def to_internal_value(self, data: Any) -> Any:
        ignored = {}
        if isinstance(data, dict):
            ignored = self._unknown_fields(data) | self._read_only_fields(data)
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**error.detail, **ignored}) from None  # type: ignore[dict-item]
        if ignored:
            raise serializers.ValidationError(ignored)
        return values

    def _unknown_fields(self, data: dict[str, Any]) -> dict[str, list[serializers.ErrorDetail]]:
        unknown = [name for name in data if name not in self.fields]
        if not unknown:
            return {}
        known = ", ".join(name for name, field in self.fields.items() if not field.read_only)
        message = _("Unknown field. Known fields: %(names)s.") % {"names": known}
        return {name: [serializers.ErrorDetail(message, "unknown")] for name in unknown}

    def _read_only_fields(self, data: dict[str, Any]) -> dict[str, list[serializers.ErrorDetail]]:
        given = [name for name, field in self.fields.items() if field.read_only and name in data]
        if not given:
            return {}
        stored = {} if self.instance is None else self.to_representation(self.instance)
        stored = json.loads(JSONRenderer().render(stored))  # as it was read
        message = _("This field is read-only: leave it out, or send it as you read it.")
        error = serializers.ErrorDetail(message, "read_only")
        return {name: [error] for name in given if name not in stored or stored[name] != data[name]}


class StrictModelSerializer(StrictSerializer, serializers.ModelSerializer):
    """Leaves uniqueness to the database, which alone is free of races: see RecordMixin."""

    serializer_field_mapping: ClassVar = serializers.ModelSerializer.serializer_field_mapping | {
        models.CharField: ExactCharField,
        models.EmailField: ExactEmailField,
        models.PositiveSmallIntegerField: ExactIntegerField,
    }

    _built: ClassVar[tuple[date, dict[str, serializers.Field]]]
    # Of each field its name, how to get its value from an instance, and how to show that.
    _shown: ClassVar[list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]]

    def get_fields(self) -> dict[str, Any]:
        """Built once a day for each class, for a limit may depend on the day: instances bind copies."""
        today = date.today()
        if "_built" not in vars(type(self)) or self._built[0] != today:
            type(self)._built = today, super().get_fields()
        return {name: copy(field) for name, field in self._built[1].items()}

    def create(self, validated_data: dict[str, Any]) -> Any:
        """Without the relations that DRF's looks for."""
        return self.Meta.model._default_manager.create(**validated_data)  # type: ignore[attr-defined]

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

    def get_validators(self) -> list[Any]:
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
