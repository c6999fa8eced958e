from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.utils.translation import gettext_lazy as _
from django_celery_results import apps as task_results


class ProjectConfig(AppConfig):
    name = "project"
    verbose_name = _("Library desk")
    default = True


class LibraryAdminConfig(admin.AdminConfig):
    default = False
    default_site = "project.dashboard.DashboardSite"

    def ready(self) -> None:
        super().ready()
        from .admin import tokens  # noqa: F401  # replaces knox's page, which is registered by now


class TaskResultsConfig(task_results.CeleryResultConfig):
    default = False
    verbose_name = _("Operations")


class TokensConfig(AppConfig):
    name = "knox"
    verbose_name = _("Administration")
