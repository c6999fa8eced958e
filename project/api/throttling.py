"""Limits per client, counted in the shared cache in fixed windows."""

import ipaddress
import logging
import math
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

from project.base import breaker, env

if TYPE_CHECKING:  # it imports this module
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)


class RateThrottle(BaseThrottle):
    """Where the cache is down it logs and lets requests through: a limit must not close the desk."""

    def scope(self, request: Request | HttpRequest) -> str:
        raise NotImplementedError

    reset: int  # seconds until the next window

    def allow_request(self, request: Request | HttpRequest, view: "APIView | None" = None) -> bool:
        return self.count(request, 1)

    def count(self, request: Request | HttpRequest, number: int) -> bool:
        """Whether so many more are within the limit; 0 asks whether it has room left."""
        scope = self.scope(request)
        rate = api_settings.DEFAULT_THROTTLE_RATES[scope]
        if rate is None:
            return True
        limit, period = str(rate).split("/")
        self.limit, self.window = int(limit), env.SECONDS_PER_PERIOD[period]
        now = time.time()
        current = int(now // self.window)
        self.reset = math.ceil((current + 1) * self.window - now)
        key = f"throttle:{scope}:{self.client(request)}:{current}"
        try:
            with breaker.cache:
                used = cache.count(key, number, self.window + 1)  # type: ignore[attr-defined]
        except Exception as error:  # a cache may fail in as many ways as it has backends
            logger.warning("No limits are enforced, the cache fails: %r", error)
            return True
        if not number:
            return used < self.limit
        remember(request, scope, self.limit, self.window, max(self.limit - used, 0), self.reset)
        return used <= self.limit

    def wait(self) -> float:
        return self.reset

    def client(self, request: Request | HttpRequest) -> str:
        if request.user and request.user.is_authenticated:
            return f"user-{request.user.pk}"
        return self.address(request)

    def address(self, request: Request | HttpRequest) -> str:
        """The client as the last trusted proxy saw it; if that is no address, our own peer."""
        peer = request.META.get("REMOTE_ADDR", "")
        hop = self.get_ident(request)  # type: ignore[arg-type]  # reads headers and META alone
        return normalized(hop) or normalized(peer) or peer


class AccountThrottle(RateThrottle):
    """By account, or by address for anonymous clients."""

    def scope(self, request: Request | HttpRequest) -> str:
        return "account" if request.user and request.user.is_authenticated else "anon"


class ExportThrottle(AccountThrottle):
    """Of strangers: a whole catalogue costs as much as thousands of its pages."""

    def scope(self, request: Request | HttpRequest) -> str:
        scope = super().scope(request)
        return "export" if scope == "anon" else scope


class LoginThrottle(RateThrottle):
    """By address alone: guessing passwords must not lock an owner out.

    The logins of API and admin share the count.
    """

    def scope(self, request: Request | HttpRequest) -> str:
        return "login"

    def client(self, request: Request | HttpRequest) -> str:
        return self.address(request)


class RegisterThrottle(RateThrottle):
    def scope(self, request: Request | HttpRequest) -> str:
        return "register"


class DuplicateThrottle(RateThrottle):
    """Of registrations that met a taken name or address: a 409 tells who is a member.

    Once they are used up, the client registers nobody for the rest of the window: a 429 for taken
    addresses alone would tell the same.
    """

    def scope(self, request: Request | HttpRequest) -> str:
        return "duplicate"


@lru_cache(maxsize=4096)
def normalized(text: str) -> str:
    """The address without its port, the /64 of IPv6 (one client has all of it), or "" if none."""
    host = text.strip()
    if host.startswith("["):  # [2001:db8::1]:443
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:  # 192.0.2.1:443
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


def remember(request: Request | HttpRequest, *state: Any) -> None:
    plain: Any = getattr(request, "_request", request)
    plain.rate_limits = [*getattr(plain, "rate_limits", []), state]


def rate_limit_headers(request: Request) -> dict[str, str]:
    """RateLimit and RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers-10."""
    limits = getattr(getattr(request, "_request", request), "rate_limits", [])
    if not limits:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{s}";q={limit};w={w}' for s, limit, w, _, _ in limits),
        "RateLimit": ", ".join(f'"{s}";r={left};t={reset}' for s, _, _, left, reset in limits),
    }
