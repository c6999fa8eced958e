import time

import pytest

from project.breaker import Breaker, CircuitOpenError


def test_after_a_failure_calls_fail_at_once_and_then_are_tried_again():
    breaker = Breaker(rest=0.05)
    with pytest.raises(OSError), breaker:
        raise OSError
    with pytest.raises(CircuitOpenError), breaker:
        pytest.fail("was called")
    time.sleep(0.06)
    with breaker:
        pass


def test_failing_at_once_does_not_prolong_the_rest():
    breaker = Breaker(rest=60)
    with pytest.raises(OSError), breaker:
        raise OSError
    until = breaker._until
    with pytest.raises(CircuitOpenError), breaker:
        pass
    assert breaker._until == until
