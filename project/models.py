from .api.idempotency import IdempotencyKey

__all__ = ["IdempotencyKey"]
