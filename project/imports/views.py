"""Imports through the API, on the engine of the admin's: a file that a program sends is confirmed."""

import hashlib
import json
from typing import Any, ClassVar

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from project.api.idempotency import once
from project.api.renderers import renderers_of
from project.api.uploads import TakesFilesMixin, file_parsers
from project.api.views import StrictMixin
from project.base.history import Door, current
from project.jobs.models import CANCELLABLE, WORKING, State
from project.jobs.tasks import enqueue

from .models import Import
from .refused import CSV, refused_response
from .serializers import BINARY, MEDIA_TYPES, ImportSerializer, OptionsSerializer

POLL_SECONDS = 2


class EndedError(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "ended"
    default_detail = gettext_lazy("The import has ended; what was written is kept.")


class MayImport(BasePermission):
    """Whoever may add and change the records, to read too: an import shows what is in its file."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return request.user.has_perms(view.permissions)


class ImportViewSet(
    TakesFilesMixin, StrictMixin, mixins.RetrieveModelMixin, mixins.ListModelMixin, GenericViewSet
):
    private = True
    permissions: ClassVar[list[str]]  # all are needed
    upload_serializer_class: ClassVar[type[OptionsSerializer]]
    serializer_class = ImportSerializer
    permission_classes = [MayImport]
    parser_classes = file_parsers([*MEDIA_TYPES, BINARY])
    filter_backends = []
    lookup_value_regex = "[0-9]+"
    record: Import | None = None

    @property
    def max_file_size(self) -> int:  # type: ignore[override]
        return settings.IMPORT_MAX_MB * 10**6

    @property
    def repeatable(self) -> set[str]:  # type: ignore[override]
        return self.upload_serializer_class.repeatable()

    def known_parameters(self) -> set[str]:
        if self.action != "create":
            return super().known_parameters()
        return {*self.upload_serializer_class().fields} - {"file"}

    def get_queryset(self) -> QuerySet:
        return super().get_queryset().select_related("user")

    def create(self, request: Request) -> Response:
        serializer = self.upload_serializer_class(data=self.given(request))
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        job = self.get_queryset().model(**given, user_id=request.user.pk, door=Door.API)
        job.options = given["options"] | {"token": current().detail}

        @transaction.atomic
        def accept() -> Response:
            job.save()
            transaction.on_commit(lambda: enqueue(job))
            self.record = job
            return Response(self.get_serializer(job).data, status=status.HTTP_202_ACCEPTED)

        try:
            return once(self, request, lambda: content_of(given), accept, status.HTTP_202_ACCEPTED)
        except BaseException:
            if job.file._committed:  # the file is stored, the import is not
                job.file.storage.delete(job.file.name)
            raise

    def given(self, request: Request) -> dict[str, Any]:
        """Options from the query or the form, and the file."""
        given: dict[str, Any] = {}
        errors = {}
        for source in (request.query_params, request.POST, request.FILES):
            for name, values in source.lists():
                if name in given:
                    message = _("Give this either in the query or in the form, and once.")
                    errors[name] = [ErrorDetail(message, "repeated")]
                elif len(values) > 1 and name not in self.repeatable:
                    errors[name] = [ErrorDetail(_("Give this parameter once."), "repeated")]
                given[name] = values if name in self.repeatable else values[0]
        if errors:
            raise ValidationError(errors)
        return given

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.record = self.get_object()
        return Response(self.get_serializer(self.record).data)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        job = self.get_object()
        if not type(job).objects.move(job.pk, CANCELLABLE, state=State.CANCELLED):
            raise EndedError
        return Response(status=status.HTTP_204_NO_CONTENT)

    @action(detail=True, renderer_classes=renderers_of({"csv": CSV}))
    def refused(self, request: Request, *args: Any, **kwargs: Any) -> StreamingHttpResponse:
        job = self.get_object()
        if not job.has_refused:
            raise NotFound(_("No row was refused, or the rows are no longer kept."))
        return refused_response(job)

    def finalize_response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(*args, **kwargs)
        if self.record and response.status_code < 300:
            if response.status_code == status.HTTP_202_ACCEPTED:
                response["Location"] = self.reverse_action("detail", args=[self.record.pk])
            if self.record.state in WORKING:
                response["Retry-After"] = str(POLL_SECONDS)
        return response


def content_of(given: dict[str, Any]) -> bytes:
    """What makes two uploads the same: the boundary of a form differs from one to the next."""
    file = given["file"].file
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return json.dumps(given | {"file": digest}, sort_keys=True).encode()
