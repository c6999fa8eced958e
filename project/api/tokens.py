"""Getting, listing and revoking tokens."""

from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework import mixins, serializers, status
from rest_framework.exceptions import AuthenticationFailed, ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from .authentication import AuthToken
from .serializers import ExactCharField, StrictSerializer
from .throttling import LoginThrottle
from .views import StrictMixin


class TokenEndingValidator:
    """No rule but a consequence: a new password ends the account's tokens, like its sessions."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        pass

    def get_help_text(self) -> str:
        return _("A new password ends the account's other sessions and its API tokens.")

    def password_changed(self, password: str, user: AbstractBaseUser) -> None:
        AuthToken.objects.filter(user=user).delete()


class CredentialsSerializer(StrictSerializer):
    username = ExactCharField(max_length=150)
    password = ExactCharField(
        max_length=1000, trim_whitespace=False, style={"input_type": "password"}
    )
    name = ExactCharField(
        max_length=100,
        required=False,
        help_text="What the token is for, as the list of tokens shows it.",
    )


class NewTokenSerializer(serializers.Serializer):
    token = serializers.CharField(help_text="Shown once: only its hash is stored.")
    expiry = serializers.DateTimeField()


class TokenView(StrictMixin, APIView):
    """A token acts with the permissions of its account."""

    private = True

    def get_authenticators(self) -> list[Any]:
        authenticators = super().get_authenticators()
        if self.request is not None and self.request.method == "POST":
            # The body holds the credentials. Without session authentication no CSRF token is needed.
            self.challenge = authenticators[0].authenticate_header(self.request)
            return []
        return authenticators

    def get_authenticate_header(self, request: Request) -> str:
        return getattr(self, "challenge", "") or super().get_authenticate_header(request)

    def get_permissions(self) -> list[Any]:
        return [] if self.request.method == "POST" else [IsAuthenticated()]

    def get_throttles(self) -> list[Any]:
        return [LoginThrottle()] if self.request.method == "POST" else super().get_throttles()

    @extend_schema(
        operation_id="auth_token_create",
        summary="Get a token",
        description="A token acts with the permissions of its account. An account has "
        f"{settings.TOKENS_PER_ACCOUNT} at most: one more revokes the one unused for longest.",
        request=CredentialsSerializer,
        responses={200: NewTokenSerializer},
        auth=[],
        tags=["auth"],
        examples=[
            OpenApiExample(
                "An account",
                {"username": "catalogue-sync", "password": "…", "name": "nightly copy"},  # nosec  # no real one
                request_only=True,
            ),
            OpenApiExample(
                "A token",
                {"token": "b5f0…", "expiry": "2026-03-02T09:30:00Z"},  # nosec  # no real one
                response_only=True,
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        serializer = CredentialsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        credentials = dict(serializer.validated_data)
        name = credentials.pop("name", "")
        user = authenticate(request._request, **credentials)
        if user is None:
            raise AuthenticationFailed(_("Username and password do not match."))
        token, secret = AuthToken.objects.create(user, name=name)
        return Response({"token": secret, "expiry": token.expiry})

    @extend_schema(
        operation_id="auth_token_revoke",
        summary="Revoke the token of this request",
        request=None,
        responses={204: OpenApiResponse(description="Revoked.")},
        tags=["auth"],
    )
    def delete(self, request: Request) -> Response:
        if not isinstance(request.auth, AuthToken):
            raise ValidationError(_("This request is authenticated by a session, not by a token."))
        request.auth.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


class TokenSerializer(serializers.ModelSerializer):
    prefix = serializers.CharField(source="token_key", help_text="How the token begins.")

    class Meta:
        model = AuthToken
        fields = ["id", "name", "prefix", "created", "expiry", "last_used_at"]
        read_only_fields = fields


@extend_schema_view(
    list=extend_schema(
        operation_id="auth_tokens_list",
        summary="List the account's own tokens",
        description="`last_used_at` is right to the minute.",
        examples=[
            OpenApiExample(
                "A token",
                {
                    "id": 3,
                    "name": "nightly copy",
                    "prefix": "b5f0c7d2",
                    "created": "2026-01-31T09:30:00Z",
                    "expiry": "2026-03-02T09:30:00Z",
                    "last_used_at": "2026-02-14T03:00:00Z",
                },
                response_only=True,
            )
        ],
    ),
    destroy=extend_schema(
        operation_id="auth_tokens_revoke", summary="Revoke one of the account's own tokens"
    ),
)
@extend_schema(tags=["auth"])
class TokenViewSet(StrictMixin, mixins.ListModelMixin, mixins.DestroyModelMixin, GenericViewSet):
    private = True
    queryset = AuthToken.objects.order_by("-created", "-pk")
    serializer_class = TokenSerializer
    permission_classes = [IsAuthenticated]
    filter_backends = []
    lookup_value_regex = "[0-9]+"

    def get_queryset(self) -> QuerySet[AuthToken]:
        return super().get_queryset().filter(user=self.request.user.pk)
