from typing import Any

from django.utils.translation import gettext_lazy as _
from knox import auth as knox
from rest_framework.exceptions import AuthenticationFailed


class TokenAuthentication(knox.TokenAuthentication):
    def authenticate_credentials(self, token: bytes) -> Any:
        if not token.isalnum():  # knox takes any bytes for UTF-8
            raise AuthenticationFailed(_("Invalid token."))
        return super().authenticate_credentials(token)
