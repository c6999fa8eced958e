"""The link by which a person chooses a password, and the pages behind it."""

import logging
from typing import Any

from celery import shared_task
from django import forms
from django.conf import settings
from django.contrib.auth import views
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage, get_connection
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import path, reverse, reverse_lazy
from django.utils import translation
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from project.base.accounts import person_name
from project.base.broker import publish

logger = logging.getLogger(__name__)

PASSWORD_LINK_DAYS = settings.PASSWORD_RESET_TIMEOUT // 86400
MAIL_TIMEOUT_SECONDS = 5  # somebody is waiting for the page


def mail_is_set_up() -> bool:
    """The embedded run writes its mails into a folder that nobody reads."""
    return not settings.EMAIL_BACKEND.endswith("filebased.EmailBackend")


def password_link(user: User, base: str) -> str:
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    token = default_token_generator.make_token(user)
    page = reverse("admin:password_reset_confirm", args=[uid, token])
    return base.rstrip("/") + page


def mail_password_link(user: User, link: str) -> bool:
    """Whether the mail server has taken it."""
    if not (user.email and mail_is_set_up()):
        return False
    days = PASSWORD_LINK_DAYS
    context = {"user": user, "name": person_name(user), "link": link, "days": days}
    body = render_to_string("registration/password_mail.txt", context)
    connection = get_connection(timeout=MAIL_TIMEOUT_SECONDS)
    try:
        mail = EmailMessage(_("Choose your password"), body, to=[user.email], connection=connection)
        return bool(mail.send())
    except Exception as error:  # smtplib and the network raise what they like
        logger.warning("The link for a new password was not mailed: %s", type(error).__name__)
        return False


@shared_task(ignore_result=True)
def mail_password_links(user_ids: list[int], base: str, language: str) -> None:
    with translation.override(language):
        for user in User.objects.filter(pk__in=user_ids, is_active=True):
            mail_password_link(user, password_link(user, base))


class ForgotPasswordForm(PasswordResetForm):
    """Mails the link in the background: the answer takes as long for an unknown address."""

    email = forms.EmailField(
        label=gettext_lazy("e-mail address"),
        max_length=254,
        widget=forms.EmailInput({"autocomplete": "email", "autofocus": True}),
    )

    def save(self, *args: Any, **kwargs: Any) -> None:
        request = kwargs["request"]
        users = User.objects.filter(email__iexact=self.cleaned_data["email"])
        ids = list(users.values_list("pk", flat=True)[:5])
        publish(mail_password_links, ids, request.build_absolute_uri("/"), request.LANGUAGE_CODE)


class ForgotPasswordView(views.PasswordResetView):
    form_class = ForgotPasswordForm
    success_url = reverse_lazy("admin:password_reset_done")
    title = gettext_lazy("Forgot your password?")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        from project.api.throttling import LoginThrottle

        from .site import too_many_attempts

        if not mail_is_set_up():
            raise Http404
        throttle = LoginThrottle()
        if request.method == "POST" and not throttle.allow_request(request):
            context = self.get_context_data(refusal=too_many_attempts(throttle.reset))
            headers = {"Retry-After": str(throttle.reset)}
            return self.render_to_response(context, status=429, headers=headers)
        return super().dispatch(request, *args, **kwargs)


class ChoosePasswordView(views.PasswordResetConfirmView):
    success_url = reverse_lazy("admin:password_reset_complete")
    title = gettext_lazy("Choose a password")

    def get_form(self, form_class: Any = None) -> Any:
        form = super().get_form(form_class)
        form.fields["new_password1"].widget.attrs["autofocus"] = True
        return form


URLS = [
    path("password_reset/", ForgotPasswordView.as_view(), name="password_reset"),
    path(
        "password_reset/done/",
        views.PasswordResetDoneView.as_view(title=gettext_lazy("Check your inbox")),
        name="password_reset_done",
    ),
    path("reset/<uidb64>/<token>/", ChoosePasswordView.as_view(), name="password_reset_confirm"),
    path(
        "reset/done/",
        views.PasswordResetCompleteView.as_view(title=gettext_lazy("Your password is set")),
        name="password_reset_complete",
    ),
]
