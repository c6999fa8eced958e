import os
from typing import Any

from celery import Celery, signals
from celery.app.utils import Settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

app = Celery("library-desk")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.celeryd_init.connect
def wait_for_the_broker(conf: Settings, **kwargs: Any) -> None:
    """A worker may wait for its broker; settings hold the web's limits, which only publishes."""
    from django.conf import settings

    conf.broker_transport_options = settings.WORKER_TRANSPORT_OPTIONS
