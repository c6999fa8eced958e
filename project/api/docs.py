"""The schema, Swagger UI and ReDoc, under the same rules as the rest of the API."""

from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from drf_spectacular import views
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from .views import StrictMixin


class DocumentationMixin(StrictMixin):
    parameters = {"lang"}

    def known_parameters(self) -> set[str]:
        return self.parameters

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.query_params.get("lang", "en") not in dict(settings.LANGUAGES):
            languages = ", ".join(dict(settings.LANGUAGES))
            raise ValidationError({"lang": [_("Choose one of %(names)s.") % {"names": languages}]})


class SchemaView(DocumentationMixin, views.SpectacularAPIView):
    pass


class SwaggerView(DocumentationMixin, views.SpectacularSwaggerSplitView):
    parameters = {"lang", "script"}  # "script" asks for the page's script
    flags = {"script"}


class RedocView(DocumentationMixin, views.SpectacularRedocView):
    pass
