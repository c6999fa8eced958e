"""The pages of groups, instead of Django's."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, gettext_noop, ngettext_lazy

from .base import BaseAdmin
from .conflicts import DigestForm
from .lists import BaseChangeList
from .permissions import PermissionsField, areas, group_name, in_words
from .phrases import Phrases, counted

admin.site.unregister(Group)
# The names of the groups that ship (project/migrations) have translations.
SHIPPED = [
    gettext_noop("Cataloguers"),
    gettext_noop("Membership desk"),
    gettext_noop("Operators"),
    gettext_noop("Integrator, read"),
    gettext_noop("Integrator, write"),
]


class GroupForm(DigestForm):
    permissions = PermissionsField(label=gettext_lazy("members of this group can"))

    class Meta:
        model = Group
        fields = ["name", "permissions"]
        labels = {"name": gettext_lazy("Name")}

    def clean_permissions(self) -> Any:
        field: Any = self.fields["permissions"]
        held: Any = self.instance.permissions if self.instance.pk else Group.objects.none()
        return field.keep_hidden(self.cleaned_data["permissions"], held)


class GroupList(BaseChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        known = areas()
        for group in self.result_list:
            group.areas = known


@admin.register(Group)
class GroupAdmin(BaseAdmin):
    phrases = Phrases(
        add=gettext_lazy("Add a group"),
        added=gettext_lazy("The group “%(name)s” was added."),
        changed=gettext_lazy("The group “%(name)s” was saved."),
        deleted=gettext_lazy("The group “%(name)s” was deleted."),
        delete=gettext_lazy("Delete this group?"),
        delete_selected=gettext_lazy("Delete selected groups"),
        delete_many=ngettext_lazy("Delete %(number)s group?", "Delete %(number)s groups?", "count"),
        deleted_many=ngettext_lazy(
            "%(number)s group deleted.", "%(number)s groups deleted.", "count"
        ),
        consequence=gettext_lazy(
            "Members keep their accounts but lose the permissions that no other "
            "group gives them. This cannot be undone."
        ),
    )
    form = GroupForm
    fields = ["name", "permissions"]
    list_display = ["shown_name", "may_do"]
    counted_text = ngettext_lazy("%(number)s group", "%(number)s groups", "count")
    search_fields = ["name"]
    search_help_text = gettext_lazy("Name")
    ordering = ["name"]

    def name_of(self, row: Group) -> str:
        return group_name(row)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return GroupList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).prefetch_related("permissions")

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def shown_name(self, group: Group) -> str:
        return group_name(group)

    @admin.display(description=gettext_lazy("members of this group can"))
    def may_do(self, group: Any) -> SafeString | str:
        ids = {permission.pk for permission in group.permissions.all()}
        return in_words(ids, group.areas) or "–"

    def details(self, row: Any) -> str:
        number = row.user_set.count()
        text = ngettext_lazy("%(number)s account", "%(number)s accounts", "count")
        return counted(text, number)
