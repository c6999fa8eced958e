import os
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")


class Utf8Request(WSGIRequest):
    """Addresses, JSON and forms are UTF-8, whatever the `charset` of a request says.

    Django reads even the address by it, before any middleware, and fails if it is "zip".
    """

    @property
    def encoding(self) -> None:
        return None

    @encoding.setter
    def encoding(self, charset: Any) -> None:
        pass


application = get_wsgi_application()
application.request_class = Utf8Request
