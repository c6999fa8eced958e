"""The settings of a stack that a test starts: only the static files are elsewhere."""

from project.settings import *  # noqa: F403
from project.settings import DATA_DIR

STATIC_ROOT = DATA_DIR / "static"  # hashed as in the image; not in the checkout
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = ["css", "js", "map", "svg", "txt", "md"]  # takes time
