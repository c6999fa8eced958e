"""Celery looks for the tasks of the app here."""

from .lookup import look_up_isbn

__all__ = ["look_up_isbn"]
