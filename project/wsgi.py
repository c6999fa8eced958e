import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from django.conf import settings  # noqa: E402

from .proxies import BehindProxies  # noqa: E402

application = BehindProxies(get_wsgi_application(), settings.TRUSTED_PROXIES)
