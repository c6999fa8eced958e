"""Tokens for programs, by django-rest-knox, which stores hashes and lets tokens expire."""

from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from knox.models import AuthToken
from rest_framework import serializers, status
from rest_framework.exceptions import AuthenticationFailed, ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

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


class TokenSerializer(serializers.Serializer):
    token = serializers.CharField(help_text="Shown once: only its hash is stored.")
    expiry = serializers.DateTimeField()


class TokenView(StrictMixin, APIView):
    """A token acts with the permissions of its account."""

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
        description="A token acts with the permissions of its account.",
        request=CredentialsSerializer,
        responses={200: TokenSerializer},
        auth=[],
        tags=["auth"],
        examples=[
            OpenApiExample(
                "An account",
                {"username": "catalogue-sync", "password": "…"},  # nosec  # no real one
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        serializer = CredentialsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = authenticate(request._request, **serializer.validated_data)
        if user is None:
            raise AuthenticationFailed(_("Username and password do not match."))
        AuthToken.objects.filter(user=user, expiry__lte=timezone.now()).delete()
        token, secret = AuthToken.objects.create(user)
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
