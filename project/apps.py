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
        # They replace the packages' pages, which are registered by now.
        from .admin import groups, staff, tokens  # noqa: F401


class TaskResultsConfig(task_results.CeleryResultConfig):
    default = False
    verbose_name = _("Operations")


class TokensConfig(AppConfig):
    name = "knox"
    verbose_name = _("Administration")
