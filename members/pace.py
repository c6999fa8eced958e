"""How fast mails may go out (MAIL_RATE): one pace for all workers of all machines, kept in Redis.

Celery's own rate limit counts for each worker alone, and what it holds back keeps other tasks from
coming through.
"""

import logging
import time
from functools import cache

from django.conf import settings
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

PATIENCE = 20  # seconds that a worker process waits for its turn; whoever is later comes again

# Each mail takes the next place on a line, INTERVAL after the one before, by the clock of Redis.
NEXT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local turn = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local wait, interval = turn - now, tonumber(ARGV[1])
if wait <= tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], string.format('%.6f', turn + interval),
             'PX', math.ceil((wait + interval) * 1000))
end
return string.format('%.6f', wait)
"""

_own_turn = 0.0


def take_turn() -> float:
    """Seconds to wait before the next mail; above PATIENCE no turn was taken."""
    if not settings.MAIL_INTERVAL:
        return 0
    if settings.REDIS_URL:
        try:
            line = client(settings.REDIS_URL)
            return float(line.eval(NEXT, 1, "mail-rate", settings.MAIL_INTERVAL, PATIENCE))  # type: ignore[arg-type]
        except RedisError as error:
            logger.warning("This process keeps a pace of its own: %r", error)
    return take_own_turn(settings.MAIL_INTERVAL * settings.CELERY_WORKER_CONCURRENCY)


def take_own_turn(interval: float) -> float:
    """Without Redis there is one worker only; its processes share the rate evenly."""
    global _own_turn
    now = time.monotonic()
    turn = max(now, _own_turn)
    if turn - now <= PATIENCE:
        _own_turn = turn + interval
    return turn - now


@cache
def client(url: str) -> Redis:
    limits = {"socket_timeout": 2, "socket_connect_timeout": 2}
    return Redis.from_url(url, **limits, retry=Retry(NoBackoff(), 0))
