"""The pages of the history, who opens them, and what one reads there."""

import re

from django.contrib.auth.models import Group, User
from django.urls import reverse

ACTIVITY = reverse("admin:library_historicalbook_changelist")


def group_member(client, group: str) -> User:
    user = User.objects.create_user(group, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    return user


def history_of(pk: int, model: str = "library_book") -> str:
    return reverse(f"admin:{model}_history", args=[pk])


def restore_of(version) -> str:
    return reverse("admin:library_book_restore", args=[version.id, version.pk])


def text_of(response) -> str:
    """What one reads."""
    html = response.content.decode()
    html = html[html.index('id="content-main"') :] if 'id="content-main"' in html else html
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
