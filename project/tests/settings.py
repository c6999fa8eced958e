"""The settings of a test run: nothing of the shell's environment, nothing in the developer's var/.

Named by --ds, so pytest-django loads it before anything of the project, in every process of the
run. Child processes inherit the environment that it leaves.
"""

import os
import sys
import tempfile

KEPT = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PATH", "HOME", "TMPDIR"}
KEPT |= {"SWEEP", "CASES", "PLAN_BOOKS"}  # which tests, and how much
KEPT_PREFIXES = ("PYTEST_", "PYTHON", "COVERAGE_", "MUTANT_", "LD_")
worker = os.environ.get("PYTEST_XDIST_WORKER")  # its environment is already its controller's

for name in os.environ:
    if not worker and name not in KEPT and not name.startswith(KEPT_PREFIXES):
        del os.environ[name]
if worker:
    os.environ["DATA_DIR"] = os.path.join(os.environ["DATA_DIR"], worker)
else:
    folder = tempfile.TemporaryDirectory(prefix="library-desk-tests-")  # gone with this process
    os.environ["DATA_DIR"] = folder.name
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"  # of child processes
# Even where PYTHONDONTWRITEBYTECODE is set: else each process compiles all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

from project.settings import *  # noqa: E402, F403
from project.settings import REST_FRAMEWORK, STORAGES  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
# One per process: in a shared Redis, one test's clear() removes what another counts.
CACHES = {"default": {"BACKEND": "project.base.cache.LocMemCache"}}
# Tests of the throttles set their own.
REST_FRAMEWORK = REST_FRAMEWORK | {
    "DEFAULT_THROTTLE_RATES": dict.fromkeys(REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"])
}
# Else each test client reads all of staticfiles/, which `make run` leaves.
WHITENOISE_AUTOREFRESH = True
