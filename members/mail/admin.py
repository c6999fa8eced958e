"""The pages from which operators keep welcome e-mails going."""

from datetime import datetime
from operator import itemgetter
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, QuerySet, Value
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy
from django_celery_results.models import TaskResult

from members.models import Member
from project.admin.base import ReadOnlyAdmin
from project.admin.display import age, badge, bounded, link, moment

from .actions import ACTIONS, Action, Resend, ask_or_do, note
from .delivery import render
from .filters import AgeFilter, ReasonFilter, SentFilter, StateFilter
from .models import Dispatch, State, WelcomeEmail
from .reasons import in_words
from .tasks import enqueue_due

COLOURS = {
    State.QUEUED: "info",
    State.SENDING: "info",
    State.SENT: "success",
    State.FAILED: "danger",
    State.HELD: "warning",
    State.CANCELLED: "secondary",
}
MAX_ENTRIES = 50  # of operators, on one page


@admin.display(description=gettext_lazy("state"), ordering="state")
def state_badge(welcome: WelcomeEmail | None) -> SafeString:
    if welcome is None:
        return badge(_("none"), "secondary")
    if welcome.state == State.QUEUED and welcome.attempts:
        return badge(_("trying again"), "warning")
    return badge(str(State(welcome.state).label), COLOURS[State(welcome.state)])


def sending(welcome: WelcomeEmail) -> dict[str, Any]:
    """For the pages of a mail and of its member."""
    return {
        "welcome": welcome,
        "state": state_badge(welcome),
        "events": timeline(welcome),
        "pausing": Dispatch.objects.pausing().first() if welcome.state == State.QUEUED else None,
        "choices": [
            {
                "action": action,
                "why_not": action.refusal(welcome.state),
                "url": reverse(f"admin:members_welcomeemail_{action.name}", args=[welcome.pk]),
            }
            for action in ACTIONS.values()
        ],
    }


def timeline(welcome: WelcomeEmail) -> list[dict[str, Any]]:
    """Attempts and what operators did, the latest first: at any size two look-ups by an index."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(welcome), object_id=str(welcome.pk)
    )
    events: list[dict[str, Any]] = [
        {"at": entry.action_time, "text": _(entry.get_change_message()), "by": entry.user}
        for entry in entries.select_related("user").order_by("-action_time")[:MAX_ENTRIES]
    ]
    tasks = [attempt["task"] for attempt in welcome.journal if attempt["task"]]
    results = TaskResult.objects.only("task_id").in_bulk(tasks, field_name="task_id")
    for number, attempt in enumerate(welcome.journal, 1):
        state = State(attempt["state"])
        label = _("not sent") if state == State.QUEUED else str(state.label)
        started, ended = (datetime.fromisoformat(attempt[name]) for name in ("started", "ended"))
        events.append(
            {
                "number": number,
                "at": started,
                "seconds": (ended - started).total_seconds(),
                "badge": badge(label, "warning" if state == State.QUEUED else COLOURS[state]),
                "text": in_words(attempt["reason"]),
                "task": attempt["task"],
                "result": results.get(attempt["task"]),
            }
        )
    return sorted(events, key=itemgetter("at"), reverse=True)


def as_admin_action(action: Action) -> Any:
    @admin.action(description=action.label, permissions=["resend"])
    def run(page: Any, request: HttpRequest, welcomes: QuerySet[WelcomeEmail]) -> HttpResponse:
        return ask_or_do(page, request, action, welcomes)

    run.__name__ = action.name
    return run


@admin.register(WelcomeEmail)
class WelcomeEmailAdmin(Resend, ReadOnlyAdmin):
    grant_words = {
        "change_welcomeemail": gettext_lazy("send again, hold, release and cancel"),
        "change_dispatch": gettext_lazy("pause and resume all sending"),
    }
    list_display = [state_badge, "member_link", "attempts", "when", "age", "reason"]
    list_display_links: Any = [state_badge]
    OLDEST_FIRST = list_display.index("age") + 1  # the parameter "o" of its list
    list_filter = [StateFilter, AgeFilter, ReasonFilter, SentFilter]
    search_fields = ["member__username"]  # shows the box; get_search_results() does the work
    search_help_text = gettext_lazy("Start of a username or e-mail address, or a task ID")
    counted_text = ngettext_lazy("%(number)s welcome e-mail", "%(number)s welcome e-mails", "count")
    where_from = gettext_lazy("Every new member gets a welcome e-mail.")
    actions = [as_admin_action(action) for action in ACTIONS.values()]
    main_fields = ["member_link", "reason", "attempts", "next_attempt", "age", "sent_at"]
    technical_fields = ["message_id", "last_error_code", "task_link", "claimed_at", "enqueued_at"]
    fieldsets: ClassVar[Any] = [
        (None, {"fields": [state_badge, *main_fields]}),
        (gettext_lazy("Technical details"), {"fields": technical_fields}),
    ]
    MAX_MEMBERS = 1000  # that a search finds: ten times as many take MySQL seconds to join
    sortable_by = ["age"]  # of the others none has an index that would give a page
    change_form_template = "admin/members/welcome_email.html"

    # --- The list ---

    def get_queryset(self, request: HttpRequest) -> QuerySet[WelcomeEmail]:
        welcomes = super().get_queryset(request).select_related("member")
        return welcomes.annotate(
            paused=Exists(Dispatch.objects.pausing()),
            sees_tasks=Value(request.user.has_perm("django_celery_results.view_taskresult")),
        )

    def get_ordering(self, request: HttpRequest) -> Any:
        """The latest first, by the time that the filter is about: one index gives both."""
        first = "-sent_at" if request.GET.get("sent") in SentFilter.choices_of else "-queued_at"
        return [first, "-pk"]

    def get_search_results(
        self, request: HttpRequest, welcomes: QuerySet[WelcomeEmail], term: str
    ) -> tuple[QuerySet[WelcomeEmail], bool]:
        """In steps, each by an index: one OR over three tables would read all of them."""
        if not (term := term.strip()):
            return welcomes, False
        if WelcomeEmail.objects.filter(task_id=term).exists():
            return welcomes.filter(task_id=term), False
        ids: Any = Member.objects.values_list("pk", flat=True)
        found = ids.beginning_with(term, self.MAX_MEMBERS)
        if len(found) >= self.MAX_MEMBERS:
            text = _("Too many members match, so not all are shown. Type more letters.")
            messages.warning(request, text)
        return welcomes.filter(member__in=found), False

    @admin.display(description=gettext_lazy("member"))
    def member_link(self, welcome: WelcomeEmail) -> SafeString:
        return link("members_member", welcome.member_id, welcome.member.username)

    @admin.display(description=gettext_lazy("next attempt, or sent"))
    def when(self, welcome: WelcomeEmail) -> str:
        is_sent = welcome.state == State.SENT
        return moment(welcome.sent_at) if is_sent else self.next_attempt(welcome)

    @admin.display(description=gettext_lazy("age"), ordering="queued_at")
    def age(self, welcome: WelcomeEmail) -> SafeString:
        at, html = welcome.queued_at, '<time datetime="{}" title="{}">{}</time>'
        return format_html(html, at.isoformat(), moment(at), age(at))

    @admin.display(description=gettext_lazy("reason"))
    def reason(self, welcome: WelcomeEmail) -> str:
        return welcome.reason or "–"

    # --- One mail ---

    def name_of(self, row: WelcomeEmail) -> str:
        return _("Welcome e-mail to %s") % row.member

    @admin.display(description=gettext_lazy("next attempt"))
    def next_attempt(self, welcome: WelcomeEmail) -> str:
        if welcome.state != State.QUEUED:
            return "–"
        if welcome.next_attempt_at > timezone.now():
            return moment(welcome.next_attempt_at)
        if welcome.paused:  # type: ignore[attr-defined]  # by get_queryset()
            return _("when sending resumes")
        return _("as soon as a worker is free")

    @admin.display(description=gettext_lazy("last task"))
    def task_link(self, welcome: WelcomeEmail) -> str | SafeString:
        if not (welcome.task_id and welcome.sees_tasks):  # type: ignore[attr-defined]
            return welcome.task_id or "–"
        address = reverse("admin:django_celery_results_taskresult_changelist")
        return format_html('<a href="{}?q={}">{}</a>', address, welcome.task_id, welcome.task_id)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= sending(kwargs["obj"])
        try:
            context["mail"] = render(kwargs["obj"])
        except Exception as error:  # a broken template is shown, and does not break the page
            context["fault"] = type(error).__name__
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Actions ---

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        switch, act = view(self.switch_view), view(self.action_view)
        one_mail = [
            path(f"<int:pk>/{name}/", act, {"action": action}, f"members_welcomeemail_{name}")
            for name, action in ACTIONS.items()
        ]
        return [
            path("pause/", switch, {"pauses": True}, "members_dispatch_pause"),
            path("resume/", switch, {"pauses": False}, "members_dispatch_resume"),
            *one_mail,
            *super().get_urls(),
        ]

    def action_view(self, request: HttpRequest, pk: int, action: Action) -> HttpResponse:
        if not self.has_resend_permission(request):
            raise PermissionDenied
        welcome = get_object_or_404(WelcomeEmail.objects.select_related("member"), pk=pk)
        back = reverse("admin:members_welcomeemail_change", args=[pk])
        if request.GET.get("back") == "member":
            back = reverse("admin:members_member_change", args=[welcome.member_id])
        return ask_or_do(self, request, action, WelcomeEmail.objects.filter(pk=pk), back, welcome)

    # --- All of them ---

    def switch_view(self, request: HttpRequest, pauses: bool) -> HttpResponse:
        """The page that asks before all sending is paused or resumed."""
        if not request.user.has_perm("members.change_dispatch"):
            raise PermissionDenied
        reason = request.POST.get("reason", "").strip()
        if request.method == "POST" and (reason or not pauses):
            if pauses:
                text = gettext_lazy("Sending is paused.")
                Dispatch.objects.pause(reason, Dispatch.OPERATOR)
            else:
                text = gettext_lazy("Sending resumed.")
                Dispatch.objects.resume()
                enqueue_due()
            note(request, [Dispatch.objects.current()], text)
            self.message_user(request, text, messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:index"))
        waiting = WelcomeEmail.objects.filter(state=State.QUEUED)
        oldest = waiting.order_by("queued_at").values_list("queued_at", flat=True).first()
        context = {
            "title": _("Pause all sending") if pauses else _("Resume all sending"),
            "dispatch": Dispatch.objects.current(),
            "waiting": bounded(waiting),
            "due": bounded(waiting.filter(next_attempt_at__lte=timezone.now())),
            "oldest": age(oldest) if oldest else "",
            "oldest_first": self.OLDEST_FIRST,
            "missing": request.method == "POST",
        }
        template = "admin/members/pause.html" if pauses else "admin/members/resume.html"
        return self.ask(request, template, back=reverse("admin:index"), **context)
