import pytest

from project import breaker


@pytest.fixture(autouse=True)
def rested_breakers():
    breakers = breaker.broker, breaker.cache, breaker.health
    for each in breakers:
        each.reset()
    yield
    for each in breakers:
        each.reset()
