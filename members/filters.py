from datetime import date

import django_filters as filters
from django.db.models import Q, QuerySet

from project.api.filters import FilterSet, TimeFilter

from .models import Member, WelcomeEmail


class MemberFilterSet(FilterSet):
    search = filters.CharFilter(
        method="by_search", label="The beginning of username or e-mail address, ignoring case."
    )
    username = filters.CharFilter(label="The member with this username, ignoring case.")
    email = filters.CharFilter(label="The member with this e-mail address, ignoring case.")
    registered_after = TimeFilter("registered_at", "gte", label="Registered at or after this time.")
    registered_before = TimeFilter("registered_at", "lt", label="Registered before this time.")
    updated_since = TimeFilter(
        "updated_at",
        "gte",
        label=f"Changed at or after this time, such as {date(2026, 1, 31)}T00:00:00Z.",
    )
    welcome_state = filters.ChoiceFilter(
        field_name="welcome_email__state",
        choices=WelcomeEmail.State.choices,
        label="State of the welcome e-mail.",
    )

    class Meta:
        model = Member
        fields: list[str] = []

    def by_search(self, members: QuerySet[Member], name: str, value: str) -> QuerySet[Member]:
        return members.filter(Q(username__istartswith=value) | Q(email__istartswith=value))
