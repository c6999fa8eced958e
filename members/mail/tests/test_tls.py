"""Encryption to the mail server, with real certificates."""

import ssl

import pytest
import trustme

from members.mail.delivery import deliver
from members.mail.reasons import ConfigurationError

from .mail_server import mail_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def authority(monkeypatch, tmp_path) -> trustme.CA:
    """One that this machine trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def context(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture(params=["EMAIL_USE_TLS", "EMAIL_USE_SSL"], ids=["STARTTLS", "TLS"])
def way(request, settings) -> str:
    setattr(settings, request.param, True)
    # What aiosmtpd calls the same.
    return {"EMAIL_USE_TLS": "tls_context", "EMAIL_USE_SSL": "ssl_context"}[request.param]


def test_mails_go_out_encrypted_over_one_connection(owed, settings, authority, way):
    with mail_server(settings, **{way: context(authority)}) as server:
        for name in ("ann", "bob", "cat"):
            deliver(owed(name))
    assert server.encrypted == [True] * 3
    assert server.connections == 1


@pytest.mark.parametrize("fault", ["nobody knows its authority", "it is another server's"])
def test_a_certificate_that_proves_nothing_gets_no_mail(owed, settings, authority, way, fault):
    if fault == "it is another server's":
        certificate = context(authority, "mail.example.org")
    else:
        certificate = context(trustme.CA())
    with (
        mail_server(settings, **{way: certificate}) as server,
        pytest.raises(ConfigurationError) as caught,
    ):
        deliver(owed())
    assert caught.value.code == "tls"
    assert server.taken == []


def test_a_server_that_offers_no_encryption_gets_no_mail(owed, settings):
    settings.EMAIL_USE_TLS = True
    with mail_server(settings) as server, pytest.raises(ConfigurationError) as caught:
        deliver(owed())
    assert caught.value.code == "not-supported"
    assert server.taken == []


def test_without_encryption_in_the_settings_there_is_none(owed, settings):
    with mail_server(settings) as server:
        deliver(owed())
    assert server.encrypted == [False]
