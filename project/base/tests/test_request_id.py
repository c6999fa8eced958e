import logging

import pytest

from project.base.request_id import RequestIdFilter, RequestIdMiddleware


@pytest.fixture
def answered(rf):
    """The id in the answer and the id in a log line, for a request with that id."""

    def ask(**headers):
        record = logging.makeLogRecord({})

        def view(request):
            RequestIdFilter().filter(record)
            return {}

        return RequestIdMiddleware(view)(rf.get("/", headers=headers))["X-Request-ID"], record

    return ask


def test_answer_and_log_lines_carry_the_same_new_id(answered):
    given, record = answered()
    assert len(given) == 32
    assert record.request_id == given


@pytest.mark.parametrize("given", ["f00f-0000-1111", "Az_09-Zz", "x" * 64])
def test_a_proxys_id_is_kept(answered, given):
    answer, record = answered(**{"X-Request-ID": given})
    assert answer == record.request_id == given


@pytest.mark.parametrize(
    "given",
    [
        "x" * 7,
        "x" * 65,
        "a blank in it",
        "a/path:in.it",
        "line\nbreak-in-the-log",
        "ünïcödé-ünïcödé",
    ],
)
def test_an_id_that_could_spoil_a_log_is_replaced(answered, given):
    assert answered(**{"X-Request-ID": given})[0] != given


def test_outside_of_requests_log_lines_have_none(answered):
    answered()
    record = logging.makeLogRecord({})
    assert RequestIdFilter().filter(record)
    assert record.request_id == "-"


def test_every_request_has_one_and_its_log_lines_show_it(settings, client):
    answer = client.get("/health/live/", headers={"X-Request-ID": "f00f-0000-1111"})
    assert answer["X-Request-ID"] == "f00f-0000-1111"
    assert settings.LOGGING["handlers"]["console"]["filters"] == ["request_id"]
    assert not settings.LOGGING["disable_existing_loggers"], "libraries would fall silent"
