"""The pages of API tokens, instead of knox's."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy
from knox.settings import knox_settings

from project.api.authentication import AuthToken
from project.base.accounts import person_name

from .base import BaseAdmin
from .display import moment
from .phrases import Phrases


class AccountField(forms.ModelChoiceField):
    def label_from_instance(self, account: Any) -> str:
        return person_name(account)


class TokenForm(forms.ModelForm):
    expiry = forms.DateTimeField(
        label=gettext_lazy("expires"),
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        initial=lambda: timezone.now() + knox_settings.TOKEN_TTL,
    )

    class Meta:
        model = AuthToken
        fields = ["user", "name", "expiry"]
        labels = {"user": gettext_lazy("account")}
        field_classes = {"user": AccountField}

    def clean_expiry(self) -> Any:
        if (expiry := self.cleaned_data["expiry"]) < timezone.now() + timedelta(minutes=1):
            raise forms.ValidationError(_("Choose a time in the future."))
        return expiry


@admin.register(AuthToken)
class TokenAdmin(BaseAdmin):
    has_history = False  # a token never changes
    counted_text = ngettext_lazy("%(number)s API token", "%(number)s API tokens", "count")
    phrases = Phrases(
        add=gettext_lazy("Add an API token"),
        added=gettext_lazy("The token “%(name)s” was added."),
        changed=gettext_lazy("The token “%(name)s” was saved."),
        deleted=gettext_lazy("The token “%(name)s” was deleted."),
        delete=gettext_lazy("Delete this API token?"),
        delete_selected=gettext_lazy("Delete selected API tokens"),
        delete_many=ngettext_lazy(
            "Delete %(number)s API token?", "Delete %(number)s API tokens?", "count"
        ),
        deleted_many=ngettext_lazy(
            "%(number)s API token deleted.", "%(number)s API tokens deleted.", "count"
        ),
        consequence=gettext_lazy(
            "Programs that still use a deleted token are refused. This cannot be undone."
        ),
    )
    grants = ("view", "add", "delete")
    list_display = ["beginning", "name", "account", "made", "ends", "used"]
    columns_named_on_phone = frozenset({"made", "ends", "used"})
    list_select_related = ["user"]
    search_fields = ["=token_key", "=user__username", "^name"]
    search_help_text = gettext_lazy("Start of the token or its name, or a username")
    ordering = ["-created"]
    shown_fields = ["beginning", "name", "account", "made", "ends", "used"]

    def get_form(
        self,
        request: HttpRequest,
        obj: AuthToken | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> type[forms.ModelForm]:
        form = super().get_form(
            request, obj, change, **({} if obj else {"form": TokenForm}) | kwargs
        )
        if obj is None:
            widget = form.base_fields["user"].widget
            widget.can_add_related = widget.can_change_related = widget.can_view_related = False
        if obj is None and not request.user.is_superuser:
            # A token is as powerful as its account: nobody may create one for another's.
            accounts = get_user_model()._default_manager.filter(
                username=request.user.get_username()
            )
            form.base_fields["user"].queryset = accounts  # type: ignore[attr-defined]
        return form

    # The package's own columns have no translation.

    @admin.display(description=gettext_lazy("beginning of the token"))
    def beginning(self, token: AuthToken) -> str:
        return f"{token.token_key}…"

    @admin.display(description=gettext_lazy("account"), ordering="user__username")
    def account(self, token: AuthToken) -> str:
        return person_name(token.user)

    @admin.display(description=gettext_lazy("created"), ordering="created")
    def made(self, token: AuthToken) -> str:
        return moment(token.created)

    @admin.display(description=gettext_lazy("expires"), ordering="expiry")
    def ends(self, token: AuthToken) -> str:
        return moment(token.expiry)

    @admin.display(description=gettext_lazy("last used"), ordering="last_used_at")
    def used(self, token: AuthToken) -> str:
        return moment(token.last_used_at)

    def details(self, row: AuthToken) -> str:
        return moment(row.created)

    def get_fields(self, request: HttpRequest, obj: AuthToken | None = None) -> list[Any]:
        return self.shown_fields if obj else ["user", "name", "expiry"]

    def get_readonly_fields(self, request: HttpRequest, obj: AuthToken | None = None) -> list[Any]:
        return self.shown_fields if obj else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuthToken]:
        tokens = super().get_queryset(request)
        return tokens if request.user.is_superuser else tokens.filter(user=request.user)

    def has_change_permission(self, request: HttpRequest, obj: AuthToken | None = None) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: AuthToken, form: forms.ModelForm, change: bool
    ) -> None:
        lifetime = obj.expiry - timezone.now()
        token, secret = AuthToken.objects.create(obj.user, expiry=lifetime, name=obj.name)
        obj.pk, obj.digest, obj.token_key = token.pk, token.digest, token.token_key
        obj.created = token.created
        text = format_html(
            "{} <code>{}</code>", _("Copy the token now; it won’t be shown again:"), secret
        )
        self.message_user(request, text, messages.WARNING)

    def response_add(
        self, request: HttpRequest, obj: Model, post_url_continue: str | None = None
    ) -> HttpResponse:
        # Without Django's own message, which shows the token's hash as if it were the token.
        return self.response_post_save_add(request, obj)
