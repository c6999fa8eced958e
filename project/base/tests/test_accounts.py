import pytest
from django.contrib.auth import backends
from django.contrib.auth.models import AnonymousUser, Group, Permission, User

pytestmark = pytest.mark.django_db


def permission(name: str) -> Permission:
    return Permission.objects.get(codename=name)


@pytest.fixture
def account() -> User:
    """With a permission of its own and two groups, which share one."""
    user = User.objects.create_user("account")
    user.user_permissions.add(permission("add_book"))
    for name, permissions in {"one": ["view_book"], "two": ["view_book", "view_member"]}.items():
        group = Group.objects.create(name=name)
        group.permissions.set(map(permission, permissions))
        user.groups.add(group)
    Group.objects.create(name="of others").permissions.add(permission("delete_book"))
    return user


def test_an_account_has_its_own_permissions_and_those_of_its_groups(
    account, django_assert_num_queries
):
    with django_assert_num_queries(1):
        names = account.get_all_permissions()
        assert account.has_perm("library.view_book")
        assert not account.has_perm("library.delete_book")
    assert names == {"library.add_book", "library.view_book", "members.view_member"}
    assert names == backends.ModelBackend().get_all_permissions(User.objects.get(pk=account.pk))


def test_a_superuser_has_every_permission_and_a_stranger_none(staff):
    assert len(staff.get_all_permissions()) == Permission.objects.count()
    assert AnonymousUser().get_all_permissions() == set()


def test_an_account_that_is_closed_has_no_permission(account):
    account.is_active = False
    assert account.get_all_permissions() == set()
    assert not account.has_perm("library.add_book")
