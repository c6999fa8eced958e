from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from rest_framework.routers import SimpleRouter

from library.files.views import BookImportViewSet
from library.views import BookViewSet
from members.files.views import MemberImportViewSet
from members.views import MemberViewSet

from .api.docs import RedocView, SchemaView, SwaggerView
from .api.health import LiveView, ReadyView
from .api.tokens import TokenView, TokenViewSet

router = SimpleRouter()
router.register("books", BookViewSet)
router.register("imports", BookImportViewSet)
router.register("members/imports", MemberImportViewSet)
router.register("members", MemberViewSet)
router.register("auth/tokens", TokenViewSet, "auth-tokens")

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/v1/", include(router.urls)),
    path("api/v1/auth/token/", TokenView.as_view(), name="auth-token"),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/docs/", SwaggerView.as_view(url_name="schema"), name="swagger-ui"),
    path("api/redoc/", RedocView.as_view(url_name="schema"), name="redoc"),
    path("health/live/", LiveView.as_view(), name="health-live"),
    path("health/ready/", ReadyView.as_view(), name="health-ready"),
]

handler400 = "project.api.errors.bad_request"
handler403 = "project.api.errors.permission_denied"
handler404 = "project.api.errors.not_found"
handler500 = "project.api.errors.server_error"
