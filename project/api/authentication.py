from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.translation import gettext as _
from knox import auth as knox
from knox.crypto import hash_token
from knox.models import AuthToken
from rest_framework.exceptions import AuthenticationFailed


class TokenAuthentication(knox.TokenAuthentication):
    def authenticate_credentials(self, token: bytes) -> tuple[User, AuthToken]:
        # By its digest: knox reads every token with the same key, and takes any bytes for UTF-8.
        if not token.isalnum():
            raise AuthenticationFailed(_("Invalid token."))
        tokens = AuthToken.objects.select_related("user")
        found = tokens.filter(digest=hash_token(token.decode("ascii"))).first()
        if found is None or (found.expiry and found.expiry <= timezone.now()):
            raise AuthenticationFailed(_("Invalid token."))
        return self.validate_user(found)
