"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a POST that is sent twice acts once.

A key is stored in the transaction that creates the record, so a process that is killed leaves both
or neither. Stored are keyed digests, from which nobody can guess an erased member's address, and
the record's id. A request that was refused created nothing and is not remembered.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.db import IntegrityError, models, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from .throttling import AccountThrottle

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
# A structured string (RFC 9651), or a bare one; without quotes and backslashes in it.
KEY = rf'^("[ !#-\[\]-~]{{1,{MAX_KEY_LENGTH}}}"|[!#-\[\]-~]{{1,{MAX_KEY_LENGTH}}})$'
KEPT = timedelta(hours=24)
PARAMETER = OpenApiParameter(
    HEADER,
    {"type": "string", "pattern": KEY},
    location=OpenApiParameter.HEADER,
    description="Makes a retry safe: within 24 hours, a request with the same key and body creates "
    "nothing and is answered with the record that the first one created.",
)


class IdempotencyKey(models.Model):
    digest = models.CharField(max_length=64, primary_key=True)  # of client, operation and key
    body_digest = models.CharField(max_length=64)
    record_id = models.PositiveBigIntegerField(null=True)
    created_at = models.DateTimeField(db_index=True, default=timezone.now)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.digest


class KeyReusedError(APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = gettext_lazy("This Idempotency-Key was used before, with another body.")


def idempotent(create: Callable[..., Response]) -> Callable[..., Response]:
    """For a view's method that creates one record and answers 201 with it."""

    @wraps(create)
    def view(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        def body() -> bytes:
            return request._request.body

        return once(self, request, body, lambda: create(self, request, *args, **kwargs))

    return view


def once(
    view: Any,
    request: Request,
    body: Callable[[], bytes],
    create: Callable[[], Response],
    code: int = status.HTTP_201_CREATED,
) -> Response:
    """Create the record, unless an earlier request with the same key and body has.

    Of two requests at the same moment, the second one waits for the first one's transaction.
    """
    text = request.headers.get(HEADER)
    if text is None:
        return create()
    key = _key(text)
    parts = "\n".join((AccountThrottle().client(request), request.path, key))
    digest, body_digest = _digest(parts), _digest(body())
    with transaction.atomic():
        earlier = _claim(digest, body_digest)
        if earlier is not None:
            return _replay(view, earlier, body_digest, code)
        response = create()
        IdempotencyKey.objects.filter(pk=digest).update(record_id=response.data["id"])
    return response


def _digest(value: str | bytes) -> str:
    return salted_hmac(HEADER, value, algorithm="sha256").hexdigest()


def _key(text: str) -> str:
    if not re.fullmatch(KEY, text):
        message = _("A key has 1 to %(length)d printable ASCII characters.")
        error = ErrorDetail(message % {"length": MAX_KEY_LENGTH}, "invalid")
        raise ValidationError({HEADER: [error]})
    return text.strip('"')


def _claim(digest: str, body_digest: str) -> IdempotencyKey | None:
    """The key as it was stored before; None if it is new, and stored now."""
    IdempotencyKey.objects.filter(pk=digest, created_at__lt=timezone.now() - KEPT).delete()
    try:
        with transaction.atomic():
            IdempotencyKey.objects.create(digest=digest, body_digest=body_digest)
    except IntegrityError:
        return IdempotencyKey.objects.get(pk=digest)
    return None


def _replay(view: Any, key: IdempotencyKey, body_digest: str, code: int) -> Response:
    if key.body_digest != body_digest:
        raise KeyReusedError
    view.record = view.get_queryset().filter(pk=key.record_id).first()
    if view.record is None:
        raise NotFound(_("The record that this key created has been deleted."))
    data = view.get_serializer(view.record).data
    return Response(data, status=code, headers={"Idempotency-Replayed": "true"})


def purge() -> int:
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]
