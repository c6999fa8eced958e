from typing import Any

from rest_framework import serializers

from project.api.serializers import StrictModelSerializer

from .models import Member, WelcomeEmail
from .registration import register_member


class RegistrationSerializer(StrictModelSerializer):
    class Meta:
        model = Member
        fields = ["id", "username", "email", "registered_at"]

    def create(self, validated_data: dict[str, Any]) -> Member:
        return register_member(Member(**validated_data))


class WelcomeEmailSerializer(serializers.ModelSerializer):
    class Meta:
        model = WelcomeEmail
        fields = ["state", "sent_at"]
        read_only_fields = fields


class MemberSerializer(StrictModelSerializer):
    welcome_email = WelcomeEmailSerializer(read_only=True, allow_null=True)

    class Meta:
        model = Member
        fields = ["id", "username", "email", "registered_at", "updated_at", "welcome_email"]
