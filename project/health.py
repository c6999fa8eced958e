"""What load balancers and monitors ask."""

from celery import current_app
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .api.views import StrictMixin


class LiveSerializer(serializers.Serializer):
    status = serializers.ChoiceField(["ok"])


class ReadySerializer(serializers.Serializer):
    status = serializers.ChoiceField(["ok", "degraded", "down"])
    database = serializers.ChoiceField(["ok", "down", "migrations pending"])
    broker = serializers.ChoiceField(["ok", "down"])


class HealthView(StrictMixin, APIView):
    authentication_classes: list[type] = []
    permission_classes = [AllowAny]
    throttle_classes: list[type] = []


class LiveView(HealthView):
    @extend_schema(
        summary="Does the process answer?", responses=LiveSerializer, tags=["health"], auth=[]
    )
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class ReadyView(HealthView):
    @extend_schema(
        summary="Can it serve requests?",
        description="Without its broker the desk is degraded, not down: e-mails go out later.",
        responses={200: ReadySerializer, 503: ReadySerializer},
        tags=["health"],
        auth=[],
    )
    def get(self, request: Request) -> Response:
        database, broker = database_state(), broker_state()
        status = "ok" if broker == "ok" else "degraded"
        if database != "ok":
            status = "down"
        return Response(
            {"status": status, "database": database, "broker": broker},
            status=503 if status == "down" else 200,
        )


def database_state() -> str:
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Exception:  # each driver has errors of its own, and all of them mean the same here
        return "down"
    return "migrations pending" if pending else "ok"


def broker_state() -> str:
    if not settings.REDIS_URL:
        return "ok"  # folders on our own disk
    try:
        # The web's transport options bound this to a second (settings).
        with current_app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=1)
    except Exception:
        return "down"
    return "ok"
