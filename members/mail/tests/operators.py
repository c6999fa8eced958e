"""What operators open and post, for tests."""

from django.urls import reverse
from django_celery_results.models import TaskResult

from members.models import WelcomeEmail

LIST = reverse("admin:members_welcomeemail_changelist")
RESULTS = reverse("admin:django_celery_results_taskresult_changelist")
State = WelcomeEmail.State


def post(client, action: str, *welcomes: WelcomeEmail, page: str = LIST, **form):
    chosen = [welcome.pk for welcome in welcomes]
    return client.post(page, {"action": action, "_selected_action": chosen, **form})


def page_of(welcome: WelcomeEmail) -> str:
    return reverse("admin:members_welcomeemail_change", args=[welcome.pk])


def text(response) -> str:
    return " ".join(response.content.decode().split())


def result_of(welcome: WelcomeEmail, task_id: str = "t-1", **columns) -> TaskResult:
    """That of its latest attempt."""
    WelcomeEmail.objects.filter(pk=welcome.pk).update(task_id=task_id)
    return TaskResult.objects.create(
        task_id=task_id,
        task_name="members.tasks.send_welcome_emails",
        task_args=f'"({welcome.pk},)"',
        **{"status": "FAILURE", **columns},
    )
