"""What every view of the API shares."""

import difflib
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import ErrorDetail, MethodNotAllowed, ValidationError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.serializers import BaseSerializer

from project.base.database import is_id, rows_by_key
from project.base.versioned import VersionedModel

from .conditional import check_preconditions, is_known
from .errors import ConflictError
from .replica import from_replica, stay_with_primary
from .serializers import TEXT
from .throttling import rate_limit_headers

WRITE_ACTIONS = ("update", "partial_update", "destroy")
ETAG_STATUSES = (200, 201, 304, 412)


class StrictMixin:
    """Common to every view: strict parameters, and rate limit headers."""

    flags: set[str] = set()  # parameters that need no value
    repeatable: set[str] = {"ordering"}
    private = False  # whether no cache may keep its responses

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        method = str(request.method).lower()
        if method not in self.http_method_names or not hasattr(self, method):  # type: ignore[attr-defined]
            raise MethodNotAllowed(
                str(request.method)
            )  # whoever asks, and with whatever parameters
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        known = self.known_parameters()
        errors = {}
        for name, values in request.query_params.lists():
            if name not in known:
                errors[name] = [ErrorDetail(_unknown_parameter(name, known), "unknown")]
            elif len(values) > 1 and name not in self.repeatable:
                errors[name] = [ErrorDetail(_("Give this parameter once."), "repeated")]
            elif any("\0" in value for value in values):
                message = _("Null characters are not allowed.")
                errors[name] = [ErrorDetail(message, "null_characters_not_allowed")]
            elif not all(re.search(TEXT, value) for value in values) and name not in self.flags:
                errors[name] = [ErrorDetail(_("Give this parameter a value."), "blank")]
            # Django's replacement for bytes that are not UTF-8, or itself
            elif "\ufffd" in "".join(values) and not _is_utf8(request):
                errors[name] = [ErrorDetail(_("Encode this parameter in UTF-8."), "encoding")]
        if errors:
            raise ValidationError(errors)
        if not hasattr(getattr(self, method), "reads_replica"):
            stay_with_primary(request)

    def get_renderers(self) -> list[BaseRenderer]:
        if self.request is not None and self.request.method == "OPTIONS":  # type: ignore[attr-defined]
            return [JSONRenderer()]  # even where the view renders a page or a file
        return super().get_renderers()  # type: ignore[misc]

    def known_parameters(self) -> set[str]:
        if getattr(self, "action", None) not in ("list", "changes"):
            return set()
        parameters = set(self.pagination_class.parameters)  # type: ignore[attr-defined]
        if self.filter_backends:  # type: ignore[attr-defined]
            parameters |= {*self.filterset_class.base_filters, "ordering"}  # type: ignore[attr-defined]
        return parameters

    def finalize_response(
        self, request: HttpRequest, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        for name, value in rate_limit_headers(self.request).items():  # type: ignore[attr-defined]
            response[name] = value
        patch_vary_headers(response, ("Accept", "Authorization", "Cookie"))
        if self.private:
            response["Cache-Control"] = "no-store"
        return response


class RecordMixin(StrictMixin):
    """Records with a version: conditional requests, and no edit is lost.

    A record is locked before it is changed or deleted, so requests for one record run one after
    another. A value that is taken is a 409, however close the race.
    """

    record: VersionedModel | None = None

    def etag(self, record: VersionedModel) -> str:
        return f'"{record.version}"'

    def get_queryset(self) -> QuerySet:
        records = super().get_queryset()  # type: ignore[misc]
        return records.select_for_update(of=("self",)) if self.action in WRITE_ACTIONS else records  # type: ignore[attr-defined]

    def filter_queryset(self, queryset: QuerySet) -> QuerySet:
        """Of lists alone: a single record takes no parameters, so there is nothing to filter by."""
        return queryset if self.detail else super().filter_queryset(queryset)  # type: ignore[misc,attr-defined]

    def get_object(self) -> VersionedModel:
        if self.action in WRITE_ACTIONS:  # type: ignore[attr-defined]
            self.record = record = super().get_object()  # type: ignore[misc]
            check_preconditions(self.request, self.etag(record))  # type: ignore[attr-defined]
            return record
        key = self.kwargs["pk"]  # type: ignore[attr-defined]
        for record in rows_by_key(self.get_queryset(), [int(key)] if is_id(key) else []):
            self.check_object_permissions(self.request, record)  # type: ignore[attr-defined]
            self.record = record
            return record
        raise Http404

    @from_replica
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)  # type: ignore[misc]

    @from_replica
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        record = self.get_object()
        if is_known(request, self.etag(record)):
            return Response(status=status.HTTP_304_NOT_MODIFIED)
        return Response(self.get_serializer(record).data)  # type: ignore[attr-defined]

    @transaction.atomic
    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().update(request, *args, **kwargs)  # type: ignore[misc]

    @transaction.atomic
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().destroy(request, *args, **kwargs)  # type: ignore[misc]

    def perform_create(self, serializer: BaseSerializer) -> None:
        self.save_or_conflict(serializer)
        self.record = serializer.instance

    def perform_update(self, serializer: BaseSerializer) -> None:
        self.save_or_conflict(serializer)

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(*args, **kwargs)
        if self.record and response.status_code in ETAG_STATUSES:
            response["ETag"] = self.etag(self.record)
            if response.status_code == status.HTTP_201_CREATED and (
                address := self._address(self.record)
            ):
                response["Location"] = address
        return response

    def save_or_conflict(self, serializer: BaseSerializer) -> None:
        try:
            with transaction.atomic():
                serializer.save()
        except IntegrityError:
            raise self._conflict(serializer) from None

    def _conflict(self, serializer: BaseSerializer) -> ConflictError:
        model: type[Model] = serializer.Meta.model  # type: ignore[attr-defined]
        errors: dict[str, Any] = {}
        existing = None
        for field in model._meta.fields:
            if not field.unique or field.name not in serializer.validated_data:
                continue
            others = model._default_manager.filter(
                **{field.name: serializer.validated_data[field.name]}
            )
            if serializer.instance is not None:
                others = others.exclude(pk=serializer.instance.pk)
            if (other := others.first()) is not None:
                message = str(field.error_messages["unique"])
                errors[field.name] = {"message": message, "code": "unique"}
                existing = existing or self._address(other)
        return ConflictError(errors, existing)

    def _address(self, record: Model) -> str | None:
        request: Request = self.request  # type: ignore[attr-defined]
        label = f"{record._meta.app_label}.view_{record._meta.model_name}"
        if not (request.user.has_perm(label) or self.everyone_may_read()):
            return None
        name = f"{record._meta.model_name}-detail"
        return reverse(name, args=[record.pk], request=request)

    def everyone_may_read(self) -> bool:
        return False


def _is_utf8(request: Request) -> bool:
    try:
        unquote_to_bytes(request.META["QUERY_STRING"]).decode()
    except UnicodeDecodeError:
        return False
    return True


def _unknown_parameter(name: str, known: set[str]) -> str:
    """Its message; `year` means publication_year, which is spelt like search."""
    word, names = name[:50].lower(), sorted(known, key=lambda each: (len(each), each))
    containing = [each for each in names if word in each.split("_")]
    if close := containing or difflib.get_close_matches(word, names, n=1):
        return _("Unknown parameter. Did you mean %(name)s?") % {"name": close[0]}
    return _("Unknown parameter.")
