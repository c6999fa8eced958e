import atexit
import gc

# What a start makes stays until the end. To search it for garbage as it grows, and once more at the
# end, is a third of the work of a short command.
gc.set_threshold(10_000)
atexit.register(gc.freeze)

from .celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
