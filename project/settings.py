"""Settings of every role. Only the environment differs between machines (see README).

Without DATABASE_URL this is the embedded run: SQLite, Celery's filesystem broker and e-mails as
files, all under DATA_DIR.
"""

import zoneinfo
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery.schedules import crontab, schedule
from django.urls import reverse_lazy

from project.admin.theme import JAZZMIN_SETTINGS  # noqa: F401
from project.api.description import SPECTACULAR_SETTINGS  # noqa: F401
from project.base import env

BASE_DIR = Path(__file__).resolve().parent.parent
EMBEDDED = not env.text("DATABASE_URL", "")
DATA_DIR = env.folder("DATA_DIR", Path(env.text("DATA_DIR", str(BASE_DIR / "var"))).absolute())

# --- Core ---
DEBUG = env.flag("DEBUG", default=False)
# No default with a real database: a missing secret must stop the start.
SECRET_KEY = env.text("SECRET_KEY", "" if EMBEDDED else None) or env.stored_key(
    "DATA_DIR", DATA_DIR / "secret-key"
)
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS")
CSRF_FAILURE_VIEW = "project.api.errors.csrf_failure"
PORT = env.number("PORT", 8000, 1, 65535)
# Here and not in project/gunicorn.py: gunicorn reads it earlier, with a worse message.
WEB_CONCURRENCY = env.number("WEB_CONCURRENCY", 2, 1, 64)
# How many proxies stand in front: they wrote that many entries of X-Forwarded-For, from the right.
TRUSTED_PROXIES = env.number(
    "TRUSTED_PROXIES", 0, 0, 9, "how many proxies stand in front, not which"
)
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Apps ---
INSTALLED_APPS = [
    "project",  # before jazzmin, some of whose templates it replaces
    "jazzmin",  # before the admin, whose templates it replaces
    "project.apps.LibraryAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "project.apps.TokensConfig",
    "project.apps.TaskResultsConfig",
    "library",
    "members",
]

# --- Middleware ---
MIDDLEWARE = [
    "project.api.middleware.browser_policies",
    "project.base.request_id.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "project.api.middleware.ChunkedBodyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "project.api.middleware.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "project.base.history.history_middleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Security ---
# HTTPS=1 where a proxy in front ends TLS: browsers send secure cookies only over HTTPS.
HTTPS = env.flag("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health/"]
# Without a proxy anybody could write this header.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS and TRUSTED_PROXIES else None
X_FRAME_OPTIONS = "DENY"
# The page that asks before a deletion sends the id of each row, of as many as a list counts
# (project.admin.lists.CappedPaginator).
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_100
# Browser features that no page uses. Copying (Swagger UI) stays.
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        *("accelerometer", "autoplay", "browsing-topics", "camera", "display-capture"),
        *("encrypted-media", "fullscreen", "geolocation", "gyroscope", "hid", "idle-detection"),
        *("local-fonts", "magnetometer", "microphone", "midi", "payment", "picture-in-picture"),
        *("publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
    )
)
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",  # our templates replace those of jazzmin that have inline scripts
        "style-src 'self' 'unsafe-inline'",  # jazzmin, Select2, Swagger UI and ReDoc set styles
        "img-src 'self' data:",
        "worker-src 'self' blob:",  # ReDoc's search
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

# --- Database ---
DATABASES = {"default": env.database("DATABASE_URL", f"sqlite:///{DATA_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    if not DATABASES["default"]["NAME"].startswith(":"):
        env.folder("DATABASE_URL", Path(DATABASES["default"]["NAME"]).parent)
    DATABASES["default"]["OPTIONS"] = {
        # Readers never wait for a writer; writers queue at BEGIN instead of failing at COMMIT.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
        "PRAGMA cache_size=-65536; PRAGMA mmap_size=268435456",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
else:
    DATABASES["default"] |= {
        # Far below MySQL's wait_timeout (8 hours), after which it drops an idle connection.
        "CONN_MAX_AGE": env.number("CONN_MAX_AGE", 60, 0, 3600),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": env.mysql_options(DATABASES["default"]),
    }

# Some reads of the API go there (project/api/replica.py).
if env.text("REPLICA_DATABASE_URL", ""):
    replica = env.database("REPLICA_DATABASE_URL", "")
    if not DATABASES["default"]["ENGINE"] == replica["ENGINE"] == "project.base.mysql":
        raise env.SettingError("REPLICA_DATABASE_URL", "needs MySQL there and in DATABASE_URL.")
    if not env.redis("REDIS_URL"):
        raise env.SettingError(
            "REPLICA_DATABASE_URL", "needs REDIS_URL, by which webs know who wrote."
        )
    # A replica that is silent delays few: the primary answers instead.
    options = {"connect_timeout": 1, "read_timeout": 6, "write_timeout": 6}
    options = env.mysql_options(replica) | options | replica.get("OPTIONS", {})
    DATABASES["replica"] = DATABASES["default"] | replica | {"OPTIONS": options}
    DATABASE_ROUTERS = ["project.api.replica.Router"]

# --- Cache: throttles and the dashboard's numbers, shared by all web processes ---
REDIS_URL = env.redis("REDIS_URL")
if REDIS_URL:
    CACHES = {
        "default": {
            "BACKEND": "project.base.cache.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "cache",
            "OPTIONS": {"socket_timeout": 0.25, "socket_connect_timeout": 0.25},
        }
    }
else:
    # One web process with threads (see project/gunicorn.py), so memory is shared enough.
    CACHES = {"default": {"BACKEND": "project.base.cache.LocMemCache"}}

# --- Auth ---
AUTHENTICATION_BACKENDS = ["project.base.accounts.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": name}
    for name in (
        "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "django.contrib.auth.password_validation.MinimumLengthValidator",
        "django.contrib.auth.password_validation.CommonPasswordValidator",
        "django.contrib.auth.password_validation.NumericPasswordValidator",
        "project.api.tokens.TokenEndingValidator",
    )
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")  # jazzmin's login page sends no "next"
REST_KNOX = {"TOKEN_TTL": timedelta(days=30)}
KNOX_TOKEN_MODEL = "project.AuthToken"  # nosec  # a model, no password
MIGRATION_MODULES = {"knox": None}  # they make the package's own table
# One more, and the one that has been unused for longest is revoked.
TOKENS_PER_ACCOUNT = env.number("TOKENS_PER_ACCOUNT", 20, 1, 1000)

# --- I18n ---
LANGUAGES = [("en", "English"), ("ru", "Русский")]
LANGUAGE_CODE = env.choice(
    "LANGUAGE_CODE", "en", dict(LANGUAGES).__contains__, "choose one of en, ru."
)
TIME_ZONE = env.choice(
    "TIME_ZONE", "UTC", zoneinfo.available_timezones().__contains__, "write it as Europe/Berlin."
)
USE_TZ = True
FORMAT_MODULE_PATH = "project.formats"

# --- Static ---
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
# jazzmin 3.0.5 asks for the URL of a folder, which no manifest holds
# (farridav/django-jazzmin#684); in strict mode every page after the login is a 500.
WHITENOISE_MANIFEST_STRICT = False

# --- Uploaded files: read by workers, never served ---
MEDIA_ROOT = env.folder(
    "MEDIA_ROOT", Path(env.text("MEDIA_ROOT", str(DATA_DIR / "media"))).absolute()
)
FILE_UPLOAD_TEMP_DIR = MEDIA_ROOT  # large ones, until they are stored: not in /tmp's memory
# REQUIRE_ISBN=0 where the catalogue holds books without one, as most before 1970 are.
REQUIRE_ISBN = env.flag("REQUIRE_ISBN", default=True)
# https://openlibrary.org fills in the form of a new book. Off by default: it learns the ISBNs.
OPEN_LIBRARY_URL = env.http("OPEN_LIBRARY_URL")
IMPORT_MAX_MB = env.number("IMPORT_MAX_MB", 100, 1, 1000)
IMPORT_KEEP_DAYS = env.number("IMPORT_KEEP_DAYS", 30, 1, 3650)

# --- E-mail ---
mail = env.mail("EMAIL_URL", f"filemail:///{DATA_DIR / 'mail'}")
EMAIL_BACKEND = mail["EMAIL_BACKEND"]
EMAIL_FILE_PATH = mail["EMAIL_FILE_PATH"]
EMAIL_HOST = mail["EMAIL_HOST"]
EMAIL_PORT = mail["EMAIL_PORT"]
EMAIL_HOST_USER = mail["EMAIL_HOST_USER"]
EMAIL_HOST_PASSWORD = mail["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS = mail.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = mail.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 20  # seconds; without it a silent mail server holds a worker for ever
MAIL_INTERVAL = env.interval("MAIL_RATE")  # seconds between mails, in each worker process
DEFAULT_FROM_EMAIL = env.sender("DEFAULT_FROM_EMAIL", "Library desk <library@localhost>")

# --- Celery ---
CELERY_RESULT_BACKEND = "project.base.results.RetryingBackend"
CELERY_RESULT_EXTENDED = True  # task name and arguments (only ids) for the admin
CELERY_RESULT_EXPIRES = timedelta(days=30)
CELERY_RESULT_BACKEND_ALWAYS_RETRY = True  # errors that project.base.results calls passing
CELERY_RESULT_BACKEND_MAX_RETRIES = 16  # 10 ms, 20, 40 … 10 s, with jitter: about half a minute
CELERY_TASK_TRACK_STARTED = True  # the admin shows how long a task took
CELERY_TASK_SOFT_TIME_LIMIT = 120
CELERY_TASK_ACKS_LATE = True
CELERY_DB_REUSE_MAX = 10**9  # project.celery recycles connections as the web does
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # no message may control a worker
CELERY_WORKER_CONCURRENCY = env.number("WORKER_CONCURRENCY", 2, 1, 64)
# Processes are replaced between tasks, in case they leak.
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1000
CELERY_WORKER_MAX_MEMORY_PER_CHILD = env.number("WORKER_MAX_MEMORY_MB", 300, 100, 65536) * 1024
# With REMAP_SIGTERM=SIGQUIT (entrypoint.sh): running tasks get this many seconds, then their
# messages go back to the queue. Below compose's stop_grace_period.
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = env.number("WORKER_GRACEFUL_TIMEOUT", 60, 1, 3600)
# Seconds without a heartbeat after which a worker ends itself: at least two heartbeats.
WORKER_DEAF_AFTER = env.number("WORKER_DEAF_AFTER", 120, 30, 3600)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")
CELERY_BEAT_SCHEDULER = "project.celery:WatchedScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 15  # seconds between ticks at most (project/healthcheck.py)
CELERY_BEAT_SCHEDULE = {
    # Under this name it replaces Celery's own, which deletes everything in one statement.
    "celery.backend_cleanup": {
        "task": "project.tasks.purge_results",
        "schedule": crontab(minute="17"),
        "options": {"expires": 3600},
    },
    "clear-sessions": {
        "task": "project.tasks.clear_sessions",
        "schedule": crontab(minute="7"),
        "options": {"expires": 3600},
    },
    "purge-idempotency-keys": {
        "task": "project.tasks.purge_idempotency_keys",
        "schedule": crontab(minute="47"),
        "options": {"expires": 3600},
    },
    "sweep": {
        "task": "members.tasks.sweep_welcome_emails",
        "schedule": schedule(30),
        # After waiting behind a backlog it would mistake waiting messages for lost ones.
        "options": {"expires": 60},
    },
    "jobs": {
        "task": "library.tasks.sweep_jobs",
        "schedule": schedule(15),
        "options": {"expires": 30},
    },
    "old imports": {
        "task": "library.tasks.purge_imports",
        "schedule": crontab(minute="37"),
        "options": {"expires": 3600},
    },
}
if REDIS_URL:
    CELERY_BROKER_URL = REDIS_URL
    # Publishing from a web request: with the cache's limit above, a broker that refuses or is
    # silent costs at most one second.
    CELERY_TASK_PUBLISH_RETRY = False
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
        "socket_timeout": 0.75,
        "socket_connect_timeout": 0.75,
        "max_retries": 0,
        "interval_start": 0,
        "interval_step": 0,
        "interval_max": 0,
    }
    # The same options reach a worker's blocking reads, which may take longer.
    WORKER_TRANSPORT_OPTIONS: dict[str, Any] = {
        "socket_timeout": 30,
        "socket_connect_timeout": 10,
        "health_check_interval": 25,
        "visibility_timeout": 3600,
    }
else:
    CELERY_BROKER_URL = "filesystem://localhost"
    CELERY_BROKER_TRANSPORT_OPTIONS = WORKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(env.folder("DATA_DIR", DATA_DIR / "broker" / "queue")),
        "data_folder_out": str(DATA_DIR / "broker" / "queue"),
        "control_folder": str(env.folder("DATA_DIR", DATA_DIR / "broker" / "control")),
        "polling_interval": 0.1,  # a worker takes one message per poll; kombu polls once a second
    }

# --- API ---
PUBLIC_CATALOGUE = env.flag("PUBLIC_CATALOGUE", default=True)
PUBLIC_REGISTRATION = env.flag("PUBLIC_REGISTRATION", default=True)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "project.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",  # "try it out" for staff
    ],
    "DEFAULT_PERMISSION_CLASSES": ["project.api.permissions.ModelPermissions"],
    "DEFAULT_PARSER_CLASSES": ["project.api.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["project.api.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "project.api.renderers.ContentNegotiation",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "project.api.filters.OrderingFilter",
    ],
    "DEFAULT_PAGINATION_CLASS": "project.api.pagination.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "project.api.schema.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["project.api.throttling.AccountThrottle"],
    "DEFAULT_THROTTLE_RATES": {
        "anon": env.rate("THROTTLE_ANON", "600/min"),
        "account": env.rate("THROTTLE_ACCOUNT", "3000/min"),
        "export": env.rate("THROTTLE_EXPORT", "30/hour"),
        "register": env.rate("THROTTLE_REGISTER", "60/min"),
        "duplicate": env.rate("THROTTLE_DUPLICATE", "10/hour"),
        "login": env.rate("THROTTLE_LOGIN", "20/min"),
    },
    "EXCEPTION_HANDLER": "project.api.errors.problem_response",
    "DATETIME_FORMAT": None,  # the renderer writes times
    "URL_FORMAT_OVERRIDE": None,  # `format` is no parameter of this API
    "NUM_PROXIES": TRUSTED_PROXIES,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

# --- Logging ---
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(request_id)s: %(message)s"}
    },
    "filters": {"request_id": {"()": "project.base.request_id.RequestIdFilter"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["request_id"],
        }
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {"django": {"handlers": [], "level": "INFO", "propagate": True}},
}
