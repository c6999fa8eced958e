"""What load balancers and monitors ask."""

from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from project.base.broker import redis_at_a_glance

from . import replica


class LiveSerializer(serializers.Serializer):
    status = serializers.ChoiceField(["ok"])


class ReadySerializer(serializers.Serializer):
    status = serializers.ChoiceField(["ok", "degraded", "down"])
    database = serializers.ChoiceField(["ok", "down", "migrations pending"])
    broker = serializers.ChoiceField(["ok", "down"])
    replica = serializers.ChoiceField(
        ["ok", "behind", "down"],
        required=False,
        help_text="Where one is set up and the database answers. While it is not ok, the database "
        "answers what it would.",
    )


class HealthView(APIView):
    """Accepts any query string: a monitor may add one to get past caches."""

    authentication_classes: list[type] = []
    permission_classes = [AllowAny]
    throttle_classes: list[type] = []

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(*args, **kwargs)
        response["Cache-Control"] = "no-store"  # or a proxy repeats that all is well
        return response


class LiveView(HealthView):
    @extend_schema(
        summary="Does the process answer?", responses=LiveSerializer, tags=["health"], auth=[]
    )
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class ReadyView(HealthView):
    @extend_schema(
        summary="Can it serve requests?",
        description="Without its broker the desk is degraded, not down: e-mails go out later. So it "
        "is without its replica.",
        responses={200: ReadySerializer, 503: ReadySerializer},
        tags=["health"],
        auth=[],
    )
    def get(self, request: Request) -> Response:
        states = {"database": database_state(), "broker": broker_state()}
        if replica.is_configured() and states["database"] == "ok":
            states["replica"] = replica.watch.current()
        status = "ok" if set(states.values()) == {"ok"} else "degraded"
        if states["database"] != "ok":
            status = "down"
        return Response({"status": status, **states}, status=503 if status == "down" else 200)


def database_state() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return "ok" if is_migrated() else "migrations pending"
    except Exception:  # each driver has its own errors, and here all mean the same
        return "down"


def is_migrated() -> bool:
    """Whether every migration is applied; asked until it is."""
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _migrated


_migrated = False


def broker_state() -> str:
    if not settings.REDIS_URL:
        return "ok"  # the filesystem broker
    try:
        with redis_at_a_glance() as redis:
            redis.ping()
    except Exception:
        return "down"
    return "ok"
