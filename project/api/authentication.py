"""Tokens for programs, by django-rest-knox, which stores hashes and lets tokens expire."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import OperationalError, connection, models, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from knox import auth as knox
from knox.crypto import hash_token
from knox.models import AbstractAuthToken
from knox.models import AuthTokenManager as KnoxManager
from rest_framework.authentication import get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from project.base.accounts import person_name

KEYWORDS = (b"bearer", b"token")
LAST_USE_PRECISION = timedelta(minutes=1)
# To build this statement and read every column takes the ORM ten times as long. The other fields
# are deferred: whoever asks for one reads it.
BY_DIGEST = """
SELECT token.expiry <= %s, token.last_used_at > %s, token.token_key, token.id, token.name,
    account.id, account.is_superuser, account.username, account.is_active
FROM project_authtoken token JOIN auth_user account ON account.id = token.user_id
WHERE token.digest = %s
"""
TOKEN_FIELDS = ["token_key", "id", "name"]
ACCOUNT_FIELDS = ["id", "is_superuser", "username", "is_active"]


class AuthTokenManager(KnoxManager):
    @transaction.atomic
    def create(self, user: User, **kwargs: Any) -> tuple["AuthToken", str]:
        """A new token and its text; the account's expired and longest unused ones make room."""
        get_user_model()._default_manager.select_for_update().get(pk=user.pk)
        own = self.filter(user=user)
        own.filter(expiry__lte=timezone.now()).delete()
        newest = own.order_by(Coalesce("last_used_at", "created").desc(), "-pk")
        surplus = list(newest.values_list("pk", flat=True)[settings.TOKENS_PER_ACCOUNT - 1 :])
        own.filter(pk__in=surplus).delete()
        return super().create(user, **kwargs)


class AuthToken(AbstractAuthToken):
    """It acts with the permissions of its account."""

    id = models.BigAutoField(primary_key=True)
    digest = models.CharField(max_length=128, unique=True)
    name = models.CharField(pgettext_lazy("of a token", "name"), max_length=100, blank=True)
    last_used_at = models.DateTimeField(gettext_lazy("last used"), null=True, editable=False)

    objects = AuthTokenManager()

    class Meta:
        verbose_name = gettext_lazy("API token")
        verbose_name_plural = gettext_lazy("API tokens")

    def __str__(self) -> str:
        return f"{self.name or f'{self.token_key}…'} · {person_name(self.user)}"


class TokenAuthentication(knox.TokenAuthentication):
    def authenticate(self, request: Request) -> tuple[User, AuthToken] | None:
        keyword, *rest = get_authorization_header(request).split() or [b""]
        if keyword.lower() not in KEYWORDS:
            return None
        if len(rest) != 1:
            raise AuthenticationFailed(_("Invalid token."))
        return self.authenticate_credentials(rest[0])

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"

    def authenticate_credentials(self, token: bytes) -> tuple[User, AuthToken]:
        # By its digest: knox reads every token with the same key, and takes any bytes for UTF-8.
        if not token.isalnum():
            raise AuthenticationFailed(_("Invalid token."))
        now = timezone.now()
        with connection.cursor() as cursor:
            times = map(connection.ops.adapt_datetimefield_value, (now, now - LAST_USE_PRECISION))
            cursor.execute(BY_DIGEST, [*times, hash_token(token.decode("ascii"))])
            row = cursor.fetchone()
        if row is None:
            raise AuthenticationFailed(_("Invalid token."))
        has_expired, was_just_used, *values = row
        if has_expired:
            raise AuthenticationFailed(_("This token has expired."), "token_expired")
        found = AuthToken.from_db(connection.alias, TOKEN_FIELDS, values[:3])
        found.user = User.from_db(connection.alias, ACCOUNT_FIELDS, values[3:])
        user = self.validate_user(found)[0]
        if not was_just_used:
            # A database that takes no writes for a while still answers reads.
            with suppress(OperationalError):
                AuthToken.objects.filter(pk=found.pk).update(last_used_at=now)
        return user, found
