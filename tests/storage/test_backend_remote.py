"""Buckets on real servers keep the contract."""

from __future__ import annotations

import pytest

from lineart.storage.backends.remote import RemoteBackend

pytestmark = pytest.mark.slow


@pytest.fixture(params=["s3-moto", "s3-rclone", "gcs"])
def kind(request):
    return request.param


def test_a_bucket_keeps_the_contract(kind, new_location, clause):
    backend = RemoteBackend(*new_location(kind))
    clause(backend)
    backend.close()
