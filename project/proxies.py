"""Who is really asking: the client's address and scheme as told by proxies that are trusted."""

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
RESOLVED_LASTS = 10  # seconds
FORWARDED = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
)


class TrustedProxies:
    """Addresses, networks (10.0.0.0/8) and host names, such as the name of a compose service."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.networks, self.names = [], []
        for entry in entries:
            try:
                self.networks.append(ipaddress.ip_network(entry))
            except ValueError:
                self.names.append(entry)
        self.resolved: set[Address] = set()
        self.resolved_at = float("-inf")

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self.networks) or address in self.by_name()

    def by_name(self) -> set[Address]:
        if self.names and time.monotonic() - self.resolved_at > RESOLVED_LASTS:
            self.resolved = {address for name in self.names for address in resolve(name)}
            self.resolved_at = time.monotonic()
        return self.resolved


def resolve(name: str) -> set[Address]:
    try:
        found = socket.getaddrinfo(name, None)
    except OSError:
        return set()  # no such proxy runs now
    return {address for entry in found if (address := parse(str(entry[4][0])))}


def parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class BehindProxies:
    """WSGI middleware: takes X-Forwarded-For and -Proto from trusted proxies, from nobody else."""

    def __init__(self, application: Callable, entries: Iterable[str]) -> None:
        self.application = application
        self.trusted = TrustedProxies(entries)

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Any:
        told = any(header in environ for header in FORWARDED)
        if told and not self.is_trusted(parse(environ.get("REMOTE_ADDR", ""))):
            for header in FORWARDED:
                environ.pop(header, None)
        elif told:
            environ["REMOTE_ADDR"] = self.client(environ)
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = environ["HTTP_X_FORWARDED_PROTO"] = scheme
        return self.application(environ, start_response)

    def client(self, environ: dict[str, Any]) -> str:
        """The nearest address that is no trusted proxy; what stands before it anyone may write."""
        nearest = environ["REMOTE_ADDR"]
        for hop in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")):
            address = parse(hop)
            if address is None:
                break
            nearest = str(address)
            if not self.is_trusted(address):
                break
        return nearest

    def is_trusted(self, address: Address | None) -> bool:
        return address is not None and address in self.trusted
