"""Files that programs send: once for one Idempotency-Key."""

import hashlib
from unittest.mock import Mock

import pytest

from library.files.models import Import
from project.api.idempotency import IdempotencyKey
from project.imports.serializers import ImportSerializer

from .imports import lines
from .imports_api import content_of, finished, send, stored

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files", "delay")]


def keyed(api, body: bytes, key: str = '"4711"', query: str = ""):
    return send(api, body, query, headers={"Idempotency-Key": key})


def test_the_second_request_gets_the_import_of_the_first(
    sync, files, delay, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        first, second = (keyed(sync, content_of(*lines(1))) for _ in range(2))
    assert [first.status_code, second.status_code] == [202, 202]
    assert second.json() == first.json()
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Retry-After"] == first.headers["Retry-After"]
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert Import.objects.count() == delay.call_count == len(stored(files)) == 1
    finished(first)
    assert keyed(sync, content_of(*lines(1))).json()["state"] == "done"


def test_the_same_form_has_another_boundary_and_is_the_same(sync):
    for boundary in "xy":
        part = 'Content-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\na\r\n'
        body = f"--{boundary}\r\n{part}--{boundary}--\r\n"
        form = f"multipart/form-data; boundary={boundary}"
        response = send(sync, body, content_type=form, headers={"Idempotency-Key": "a"})
        assert response.status_code == 202
    assert response.headers["Idempotency-Replayed"] == "true"
    assert Import.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (content_of(*lines(2)), ""),
        (content_of(*lines(1)), "?dry_run=true"),
        (content_of(*lines(1)), "?filename=b.csv"),
        (content_of(*lines(1)), "?title_column=Name"),
    ],
)
def test_a_key_with_another_file_or_other_options_is_a_422(sync, files, body, query):
    keyed(sync, content_of(*lines(1)))
    response = keyed(sync, body, query=query)
    assert response.status_code == 422
    assert response.json()["errors"][0]["code"] == "idempotency_key_reused"
    assert Import.objects.count() == len(stored(files)) == 1


def test_another_key_is_another_import(sync):
    assert [keyed(sync, content_of(*lines(1)), key).status_code for key in "ab"] == [202, 202]
    assert Import.objects.count() == 2


def test_a_refused_upload_may_be_sent_again_with_its_key(sync):
    assert keyed(sync, content_of(*lines(1)), query="?dry_run=x").status_code == 400
    assert keyed(sync, content_of(*lines(1))).status_code == 202


def test_a_process_that_dies_leaves_neither_import_nor_key(sync, files):
    sync.raise_request_exception = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImportSerializer, "to_representation", Mock(side_effect=RuntimeError))
        assert keyed(sync, content_of(*lines(1))).status_code == 500
    assert not Import.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert not stored(files)
    assert keyed(sync, content_of(*lines(1))).status_code == 202


def test_neither_key_nor_file_is_stored_with_it(sync):
    keyed(sync, content_of(*lines(1)), "secret")
    [stored_key] = IdempotencyKey.objects.values()
    assert stored_key["record_id"] == Import.objects.get().pk
    digest = hashlib.sha256(content_of(*lines(1))).hexdigest()
    assert not any(text in str(stored_key) for text in ("secret", digest))
