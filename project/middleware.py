from django.http import HttpResponsePermanentRedirect
from django.middleware import common


class SameRequestElsewhere(HttpResponsePermanentRedirect):
    status_code = 308


class CommonMiddleware(common.CommonMiddleware):
    """Adds a missing slash by a redirect that keeps method and body.

    After Django's 301 a client sends GET instead: a PUT without the slash would seem to succeed.
    """

    response_redirect_class = SameRequestElsewhere
