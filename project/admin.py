from django.contrib import admin
from django.utils.translation import gettext_lazy as _


class LibraryAdminSite(admin.AdminSite):
    site_title = site_header = _("Library desk")
