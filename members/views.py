from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from project.api import idempotency
from project.api.changes import ChangesMixin
from project.api.errors import ConflictError
from project.api.permissions import ModelPermissions, PublicRegistration
from project.api.throttling import DuplicateThrottle, RegisterThrottle
from project.api.views import RecordMixin

from .filters import MemberFilterSet
from .models import Member
from .serializers import MemberSerializer, RegistrationSerializer

EXAMPLE = {"username": "ann.reader", "email": "ann@example.org"}
REGISTERED = {"id": 7, **EXAMPLE, "registered_at": "2026-01-31T09:30:00Z"}
ANSWER = OpenApiExample(
    "A record",
    REGISTERED
    | {
        "updated_at": "2026-01-31T09:30:00Z",
        "welcome_email": {"state": "sent", "sent_at": "2026-01-31T09:30:02Z"},
    },
    response_only=True,
)


@extend_schema_view(
    list=extend_schema(
        summary="Search the members",
        description="A member must match every parameter given.",
        examples=[ANSWER],
    ),
    retrieve=extend_schema(summary="Read a member", examples=[ANSWER]),
    partial_update=extend_schema(
        summary="Change a member",
        examples=[
            OpenApiExample("A new address", {"email": EXAMPLE["email"]}, request_only=True),
            ANSWER,
        ],
    ),
    destroy=extend_schema(summary="Remove a member and everything about it"),
    register=extend_schema(
        summary="Register a member",
        description="A background task sends the welcome e-mail soon afterwards.",
        examples=[
            OpenApiExample("A member", EXAMPLE, request_only=True),
            OpenApiExample("A record", REGISTERED, response_only=True),
        ],
        parameters=[idempotency.PARAMETER],
        request=RegistrationSerializer,
        responses={201: RegistrationSerializer},
    ),
)
@extend_schema(tags=["members"])
class MemberViewSet(
    ChangesMixin,
    RecordMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    GenericViewSet,
):
    private = True
    queryset = Member.objects.select_related("welcome_email")
    serializer_class = MemberSerializer
    filterset_class = MemberFilterSet
    ordering_fields = ["username", "email", "registered_at", "updated_at", "id"]
    default_ordering = "username"
    lookup_value_regex = "[0-9]+"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def etag(self, record: Member) -> str:  # type: ignore[override]
        # The e-mail's state is shown and changes on its own, so it is part of the tag.
        welcome = getattr(record, "welcome_email", None)
        sent_at = welcome and welcome.sent_at
        shown = [record.version, welcome and welcome.state, sent_at and sent_at.timestamp()]
        return f'"{"-".join(str(part) for part in shown if part)}"'

    @action(
        detail=False,
        methods=["post"],
        serializer_class=RegistrationSerializer,
        permission_classes=[PublicRegistration | ModelPermissions],
        throttle_classes=[RegisterThrottle],
    )
    @idempotency.idempotent
    def register(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        duplicates = DuplicateThrottle()
        is_public = not request.user.is_authenticated
        if is_public and not duplicates.count(request, 0):
            raise Throttled(duplicates.wait())
        try:
            self.perform_create(serializer)
        except ConflictError:
            if is_public:
                duplicates.count(request, 1)
            raise
        return Response(serializer.data, status=status.HTTP_201_CREATED)
