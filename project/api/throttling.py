"""Limits per client, counted in the shared cache in fixed windows."""

import logging
import math
import time
from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

from project import breaker

if TYPE_CHECKING:  # it imports this module
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class RateThrottle(BaseThrottle):
    """Lets through and logs where the cache is down: a limit is no reason to close the desk."""

    def scope(self, request: Request) -> str:
        raise NotImplementedError

    def allow_request(self, request: Request, view: "APIView") -> bool:
        scope = self.scope(request)
        rate = api_settings.DEFAULT_THROTTLE_RATES[scope]
        if rate is None:
            return True
        limit, period = str(rate).split("/")
        self.limit, self.window = int(limit), SECONDS[period]
        now = time.time()
        number = int(now // self.window)
        self.reset = math.ceil((number + 1) * self.window - now)
        key = f"throttle:{scope}:{self.client(request)}:{number}"
        try:
            with breaker.cache:
                cache.add(key, 0, timeout=self.window + 1)
                used = cache.incr(key)
        except Exception as error:  # a cache may fail in as many ways as it has backends
            logger.warning("No limits are kept, the cache fails: %r", error)
            return True
        remember(request, scope, self.limit, self.window, max(self.limit - used, 0), self.reset)
        return used <= self.limit

    def wait(self) -> float:
        return self.reset

    def client(self, request: Request) -> str:
        if request.user and request.user.is_authenticated:
            return f"user-{request.user.pk}"
        return self.get_ident(request)


class AccountThrottle(RateThrottle):
    """By account, or by address for those who have none."""

    def scope(self, request: Request) -> str:
        return "account" if request.user and request.user.is_authenticated else "anon"


class LoginThrottle(RateThrottle):
    """By address alone: who guesses passwords must not lock an account for its owner."""

    def scope(self, request: Request) -> str:
        return "login"


class RegisterThrottle(RateThrottle):
    def scope(self, request: Request) -> str:
        return "register"


def remember(request: Request, *state: Any) -> None:
    request._request.rate_limits = [  # type: ignore[attr-defined]
        *getattr(request._request, "rate_limits", []),
        state,
    ]


def rate_limit_headers(request: Request) -> dict[str, str]:
    """RateLimit and RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers-10."""
    limits = getattr(getattr(request, "_request", request), "rate_limits", [])
    if not limits:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{s}";q={limit};w={w}' for s, limit, w, _, _ in limits),
        "RateLimit": ", ".join(f'"{s}";r={left};t={reset}' for s, _, _, left, reset in limits),
    }
