import socket
import time

import pytest

from project.base.broker import queue_length


def test_a_silent_redis_costs_a_moment_once(settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        started = time.monotonic()
        assert queue_length() is None
        assert time.monotonic() - started < 5
        silent.accept()[0].close()
        assert queue_length() is None
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody asked again: the breaker is open
            silent.accept()


def test_the_embedded_queue_is_its_files(settings, tmp_path):
    settings.REDIS_URL = ""
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"data_folder_in": str(tmp_path)}
    for name in ("1_a.celery.msg", "2_b.celery.msg", "3_c.other.msg"):
        (tmp_path / name).touch()
    assert queue_length() == 2
