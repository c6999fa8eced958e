import pytest

from project import breaker


@pytest.fixture(autouse=True)
def rested_breakers():
    breaker.broker.reset()
    breaker.cache.reset()
    yield
    breaker.broker.reset()
    breaker.cache.reset()
