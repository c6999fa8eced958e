from .api.authentication import AuthToken
from .api.idempotency import IdempotencyKey

__all__ = ["AuthToken", "IdempotencyKey"]
