from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.permissions import SAFE_METHODS, BasePermission, DjangoModelPermissions
from rest_framework.request import Request

if TYPE_CHECKING:  # it imports this module
    from rest_framework.views import APIView


class ModelPermissions(DjangoModelPermissions):
    """DRF's model permissions, for reading too."""

    perms_map = {
        **DjangoModelPermissions.perms_map,
        "GET": ["%(app_label)s.view_%(model_name)s"],
        "HEAD": ["%(app_label)s.view_%(model_name)s"],
        "OPTIONS": ["%(app_label)s.view_%(model_name)s"],
    }


class PublicCatalogue(BasePermission):
    """Everyone may read, unless PUBLIC_CATALOGUE=0."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return settings.PUBLIC_CATALOGUE and request.method in SAFE_METHODS


class PublicRegistration(BasePermission):
    """Everyone may register, unless PUBLIC_REGISTRATION=0."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return settings.PUBLIC_REGISTRATION
