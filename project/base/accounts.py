"""Accounts: what they are called, and what they may do."""

from typing import Any

from django.contrib.auth import backends
from django.db import connection

ALL = """
SELECT type.app_label, permission.codename
FROM auth_permission permission
JOIN django_content_type type ON type.id = permission.content_type_id
"""
# Of an account itself and of its groups.
HELD = f"""{ALL}
JOIN (
    SELECT own.permission_id FROM auth_user_user_permissions own WHERE own.user_id = %s
    UNION ALL
    SELECT theirs.permission_id
    FROM auth_user_groups membership
    JOIN auth_group_permissions theirs ON theirs.group_id = membership.group_id
    WHERE membership.user_id = %s
) held ON held.permission_id = permission.id
"""  # nosec


def person_name(account: Any) -> str:
    return account.get_full_name() or account.get_username()


class ModelBackend(backends.ModelBackend):
    """Django's, but one statement reads all permissions of an account.

    Django reads those of its groups apart, and builds both statements anew for every request:
    that takes ten times as long as this.
    """

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        if obj is not None or not user_obj.is_active:
            return super().get_all_permissions(user_obj, obj)
        if not hasattr(user_obj, "_perm_cache"):  # as Django has it
            with connection.cursor() as cursor:
                if user_obj.is_superuser:
                    cursor.execute(ALL)
                else:
                    cursor.execute(HELD, [user_obj.pk, user_obj.pk])
                user_obj._perm_cache = {f"{label}.{name}" for label, name in cursor.fetchall()}
        return user_obj._perm_cache
