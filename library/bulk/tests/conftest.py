import pytest
from django.contrib.auth.models import Group, User


@pytest.fixture
def cataloguer() -> User:
    account = User.objects.create_user("cataloguer", is_staff=True)
    account.groups.add(Group.objects.get(name="Cataloguers"))
    return account


@pytest.fixture
def desk(client, cataloguer):
    client.force_login(cataloguer)
    return client
