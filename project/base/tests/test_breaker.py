import time

import pytest

from project.base.breaker import Breaker, CircuitOpenError


def test_after_a_failure_calls_fail_at_once_and_then_are_tried_again(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    breaker = Breaker(reset_seconds=10)
    with pytest.raises(OSError), breaker:
        raise OSError
    now += 9.9
    with pytest.raises(CircuitOpenError), breaker:
        pytest.fail("was called")
    now += 0.2
    with breaker:
        pass


def test_failing_at_once_does_not_prolong_the_open_state():
    breaker = Breaker(reset_seconds=60)
    with pytest.raises(OSError), breaker:
        raise OSError
    until = breaker._until
    with pytest.raises(CircuitOpenError), breaker:
        pass
    assert breaker._until == until
