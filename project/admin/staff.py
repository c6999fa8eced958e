"""The pages of staff accounts, instead of Django's."""

from copy import copy
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext_lazy

from project.base.accounts import person_name

from .base import BaseAdmin
from .conflicts import DigestForm
from .display import badge, moment
from .filters import ChoiceFilter
from .passwords import PASSWORD_LINK_DAYS, mail_password_link, password_link
from .permissions import GroupsField, PermissionsField, group_name
from .phrases import Phrases, counted

admin.site.unregister(User)
# In the session: whose link the next page tells of, and if it was sent.
HANDED_OVER = "password_link"


class AdminEmail(forms.EmailInput):
    def __init__(self, attrs: Any = None) -> None:
        super().__init__({"class": "vTextField", **(attrs or {})})


class StaffForm(DigestForm):
    groups = GroupsField(label=gettext_lazy("groups"))
    email = forms.EmailField(
        label=gettext_lazy("e-mail address"), required=False, max_length=254, widget=AdminEmail
    )
    by: User  # who fills it in; set by get_form()

    class Meta:
        model = User
        fields = ["username"]  # and those that get_fieldsets() names
        labels = {
            "is_active": gettext_lazy("active"),
            "is_staff": gettext_lazy("can use these pages"),
            "is_superuser": gettext_lazy("administrator"),
        }
        help_texts = {
            "username": "",
            "is_active": gettext_lazy("Deactivate the account of a person who has left."),
            "is_staff": gettext_lazy("Not needed for accounts used only by programs."),
            "is_superuser": gettext_lazy("Can do everything, regardless of groups."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "user_permissions" in self.fields:
            self.fields["user_permissions"].help_text = ""

    def clean_user_permissions(self) -> Any:
        field: Any = self.fields["user_permissions"]
        return field.keep_hidden(
            self.cleaned_data["user_permissions"], self.instance.user_permissions
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.instance.pk == self.by.pk:
            for name, text in LOCKED_OUT.items():
                if name in cleaned and getattr(self.by, name) and not cleaned[name]:
                    self.add_error(name, str(text))
        return cleaned


LOCKED_OUT = {
    "is_active": gettext_lazy("You can’t deactivate your own account."),
    "is_staff": gettext_lazy("You can’t remove your own access to these pages."),
    "is_superuser": gettext_lazy("You can’t remove your own administrator rights."),
}


class NewStaffForm(StaffForm):
    username = forms.CharField(
        label=gettext_lazy("username"),
        widget=AdminTextInputWidget,
        max_length=150,
        required=False,
        validators=[User.username_validator],
        help_text=gettext_lazy("Leave blank to use the part of the e-mail address before the @."),
    )

    class Meta:
        model = User
        fields = ["first_name", "last_name", "email", "username", "groups"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("first_name", "last_name", "email"):
            self.fields[name].required = True

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not cleaned.get("username") and "username" not in self.errors:
            cleaned["username"] = free_username(cleaned.get("email", "").partition("@")[0])
        return cleaned


def free_username(wanted: str) -> str:
    wanted = "".join(c for c in wanted if c.isalnum() or c in "_.-")[:140] or "staff"
    name, number = wanted, 1
    while User.objects.filter(username__iexact=name).exists():
        number += 1
        name = f"{wanted}{number}"
    return name


class ActiveFilter(ChoiceFilter):
    title = gettext_lazy("account")
    parameter_name = "active"
    choices_of = {"1": gettext_lazy("active"), "0": gettext_lazy("deactivated")}
    field = "is_active"


@admin.register(User)
class StaffAdmin(BaseAdmin):
    phrases = Phrases(
        add=gettext_lazy("Add a staff member"),
        added=gettext_lazy("%(name)s was added to the staff."),
        changed=gettext_lazy("The account of %(name)s was saved."),
        deleted=gettext_lazy("The account of %(name)s was deleted."),
        delete=gettext_lazy("Delete this account?"),
        delete_selected=gettext_lazy("Delete selected accounts"),
        delete_many=ngettext_lazy(
            "Delete %(number)s account?", "Delete %(number)s accounts?", "count"
        ),
        deleted_many=ngettext_lazy(
            "%(number)s account deleted.", "%(number)s accounts deleted.", "count"
        ),
        consequence=gettext_lazy(
            "API tokens are deleted too. If somebody has left, deactivate the account "
            "instead: nobody can log in with it, and the history keeps the name. "
            "Deleting can’t be undone."
        ),
    )
    form = StaffForm
    list_display = ["name", "username", "address", "group_names", "last_seen", "account"]
    columns_named_on_phone = frozenset({"last_seen"})
    counted_text = ngettext_lazy("%(number)s staff member", "%(number)s staff members", "count")
    list_filter = [ActiveFilter]
    search_fields = ["username", "first_name", "last_name", "email"]
    search_help_text = gettext_lazy("Name, username or e-mail")
    ordering = ["first_name", "last_name", "username"]
    actions = ["deactivate", "activate"]
    readonly_fields = ["last_seen", "joined"]
    change_form_template = "admin/staff/change_form.html"
    grants = ("view", "add", "change", "delete")

    def __init__(self, *args: Any) -> None:  # pragma: no mutate block
        super().__init__(*args)
        # Names for these pages alone. A proxy model would have them too, but also permissions,
        # addresses and a history of its own.
        self.opts = copy(self.opts)
        self.opts.verbose_name = gettext_lazy("staff member")
        self.opts.verbose_name_plural = gettext_lazy("staff")

    def name_of(self, row: User) -> str:
        return person_name(row)

    # --- The list ---

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description=gettext_lazy("name"), ordering="first_name")
    def name(self, user: User) -> str:
        return person_name(user)

    @admin.display(description=gettext_lazy("e-mail address"), ordering="email")
    def address(self, user: User) -> str:
        return user.email or "–"

    @admin.display(description=gettext_lazy("groups"))
    def group_names(self, user: User) -> str:
        names = [_("administrator")] if user.is_superuser else []
        return ", ".join([*names, *map(group_name, user.groups.all())]) or "–"

    @admin.display(description=gettext_lazy("last login"), ordering="last_login")
    def last_seen(self, user: User) -> str:
        return moment(user.last_login) if user.last_login else _("never")

    @admin.display(description=gettext_lazy("added"))
    def joined(self, user: User) -> str:
        return moment(user.date_joined)

    @admin.display(description=gettext_lazy("account"), ordering="is_active")
    def account(self, user: User) -> SafeString:
        if not user.is_active:
            return badge(_("deactivated"), "secondary")
        return badge(_("active"), "success") if user.is_staff else badge(_("API only"), "info")

    def details(self, row: User) -> str:
        return " · ".join(filter(None, (row.username, row.email)))

    @admin.action(description=gettext_lazy("Deactivate selected accounts"), permissions=["change"])
    def deactivate(self, request: HttpRequest, users: QuerySet[User]) -> None:
        oneself = request.user.pk or 0
        if users.filter(pk=oneself).exists():
            self.message_user(request, str(LOCKED_OUT["is_active"]), messages.WARNING)
        changed = self._switch(request, users.exclude(pk=oneself), False)
        text = ngettext_lazy(
            "%(number)s account deactivated.", "%(number)s accounts deactivated.", "count"
        )
        self.message_user(request, counted(text, changed), messages.SUCCESS)

    @admin.action(description=gettext_lazy("Activate selected accounts"), permissions=["change"])
    def activate(self, request: HttpRequest, users: QuerySet[User]) -> None:
        text = ngettext_lazy(
            "%(number)s account activated.", "%(number)s accounts activated.", "count"
        )
        changed = self._switch(request, users, True)
        self.message_user(request, counted(text, changed), messages.SUCCESS)

    def _switch(self, request: HttpRequest, users: QuerySet[User], active: bool) -> int:
        changed = [u for u in users if u.is_active != active and self._may_touch(request, u)]
        for user in changed:
            user.is_active = active
            user.save(update_fields=["is_active"])
            self.log_change(request, user, [{"changed": {"fields": ["active"]}}])
        return len(changed)

    # --- Who may do what ---

    def _may_touch(self, request: HttpRequest, user: Model | None) -> bool:
        """A link for a new password would make anybody an administrator."""
        return request.user.is_superuser or not getattr(user, "is_superuser", False)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if obj is not None and obj.pk == request.user.pk:
            return False
        return super().has_delete_permission(request, obj) and self._may_touch(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        named, counts, lacking, protected = super().get_deleted_objects(objs, request)
        if not all(self.has_delete_permission(request, user) for user in objs):
            lacking = {self.opts.verbose_name}
        return named, counts, lacking, protected

    # --- One account ---

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm]:
        if obj is None:
            kwargs["form"] = NewStaffForm
        form = super().get_form(request, obj, change, **kwargs)
        form.by = request.user  # type: ignore[attr-defined]
        return form

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "user_permissions":
            return PermissionsField(label=db_field.verbose_name)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        person = ["first_name", "last_name", "email", "username"]
        if obj is None:
            how = _(
                "When you save, a link to set the password is mailed to the person, or shown to you to pass on."
            )
            return [
                (None, {"fields": person}),
                (_("What this person can do"), {"fields": ["groups"]}),
                (_("Password"), {"fields": [], "description": how}),
            ]
        administrator = ["is_superuser"] if request.user.is_superuser else []
        access = ["is_active", "is_staff", *administrator, "last_seen", "joined"]
        sets: list[Any] = [
            (None, {"fields": person}),
            (_("What this person can do"), {"fields": ["groups"]}),
            (_("Access"), {"fields": access}),
        ]
        if administrator:
            extra = {
                "fields": ["user_permissions"],
                "classes": ["collapse"],
                "description": _(
                    "Prefer groups: permissions given here apply to this account only."
                ),
            }
            sets.append((_("Permissions of this account alone"), extra))
        return sets

    def save_model(
        self, request: HttpRequest, obj: User, form: forms.ModelForm, change: bool
    ) -> None:
        if not change:
            obj.is_staff = True
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)

    def response_add(  # type: ignore[override]
        self, request: HttpRequest, obj: User, post_url_continue: str | None = None
    ) -> HttpResponse:
        text = self.phrases.added % {"name": person_name(obj)}
        self.message_user(request, str(text), messages.SUCCESS)
        return self._hand_over(request, obj)

    # --- The link by which a person chooses a password ---

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.link_view)
        return [path("<int:pk>/link/", view, name="auth_user_link"), *super().get_urls()]

    def link_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        user = self.get_object(request, str(pk))
        if user is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(pk))
        if not self.has_change_permission(request, user):
            raise PermissionDenied
        if request.method == "POST":
            return self._hand_over(request, user)
        handed, sent = request.session.pop(HANDED_OVER, (None, False))
        is_handed = handed == user.pk
        here = request.build_absolute_uri("/")
        return self.render(
            request,
            "admin/staff/link.html",
            title=_("Password link"),
            original=user,
            name=person_name(user),
            days=PASSWORD_LINK_DAYS,
            sent=is_handed and sent,
            link=password_link(user, here) if is_handed and not sent else "",
        )

    def _hand_over(self, request: HttpRequest, user: User) -> HttpResponse:
        """Mail the link, or have the next page show it once: it is kept nowhere."""
        self.log_change(request, user, gettext_noop("Created a password link."))
        link = password_link(user, request.build_absolute_uri("/"))
        request.session[HANDED_OVER] = user.pk, mail_password_link(user, link)
        return HttpResponseRedirect(reverse("admin:auth_user_link", args=[user.pk]))
