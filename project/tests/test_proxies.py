import socket

import pytest

from project import proxies
from project.proxies import BehindProxies

PROXY, CLIENT = "10.0.0.7", "203.0.113.9"


def seen(trusted, peer=PROXY, **headers):
    """What the application behind sees of a request."""
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", **headers}
    BehindProxies(lambda environ, start_response: [], trusted)(environ, None)
    return environ


def test_a_trusted_proxy_tells_client_and_scheme():
    environ = seen([PROXY], HTTP_X_FORWARDED_FOR=CLIENT, HTTP_X_FORWARDED_PROTO="https")
    assert environ["REMOTE_ADDR"] == CLIENT
    assert environ["wsgi.url_scheme"] == "https"


def test_a_network_may_be_trusted():
    assert seen(["10.0.0.0/8"], HTTP_X_FORWARDED_FOR=CLIENT)["REMOTE_ADDR"] == CLIENT


def test_anybody_else_tells_nothing():
    environ = seen(
        [PROXY], peer=CLIENT, HTTP_X_FORWARDED_FOR="1.2.3.4", HTTP_X_FORWARDED_PROTO="https"
    )
    assert environ == {"REMOTE_ADDR": CLIENT, "wsgi.url_scheme": "http"}


def test_nobody_is_trusted_by_default():
    assert "HTTP_X_FORWARDED_PROTO" not in seen([], HTTP_X_FORWARDED_PROTO="https")


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (f"6.6.6.6, {CLIENT}", CLIENT),  # what a client writes itself stands on the left
        (f"6.6.6.6, {CLIENT}, 10.0.0.8", CLIENT),  # a chain of proxies
        ("10.0.0.9, 10.0.0.8", "10.0.0.9"),  # a client inside
        (f"{CLIENT}, nonsense", PROXY),
        ("2001:db8::1", "2001:db8::1"),
        (f"::ffff:{CLIENT}", CLIENT),
        ("", PROXY),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_proxy(forwarded, client):
    assert seen(["10.0.0.0/24"], HTTP_X_FORWARDED_FOR=forwarded)["REMOTE_ADDR"] == client


def test_a_scheme_that_is_none_is_ignored():
    environ = seen([PROXY], HTTP_X_FORWARDED_PROTO="gopher")
    assert environ["wsgi.url_scheme"] == "http"


def test_a_proxy_is_known_by_name_even_after_it_has_moved(monkeypatch):
    addresses = iter([PROXY, "10.0.0.8"])
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, port: [(0, 0, 0, "", (next(addresses), 0))]
    )
    clock = iter(range(0, 1000, 60))
    monkeypatch.setattr(proxies.time, "monotonic", lambda: next(clock))
    trusted = proxies.TrustedProxies(["nginx"])
    assert proxies.parse(PROXY) in trusted
    assert proxies.parse("10.0.0.8") in trusted


def test_a_proxy_that_does_not_run_is_not_looked_up_for_every_request(monkeypatch):
    asked = []

    def unknown(name, port):
        asked.append(name)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    application = BehindProxies(lambda environ, start_response: [], ["nginx"])
    for _ in range(5):
        application({"REMOTE_ADDR": CLIENT, "HTTP_X_FORWARDED_FOR": "1.1.1.1"}, None)
        application({"REMOTE_ADDR": CLIENT}, None)
    assert asked == ["nginx"]
