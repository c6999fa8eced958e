from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from project.api.authentication import AuthToken


def program(username: str) -> APIClient:
    """That may read and write all, by a token named "nightly"."""
    user = User.objects.create_user(username)
    user.groups.add(Group.objects.get(name="Integrator, write"))
    token = AuthToken.objects.create(user, name="nightly")[1]
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client
