"""What the tests of storage share: the backends' contract, and a proxy before the servers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"lineart_tests_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


contract = _load("contract")


@pytest.fixture(params=contract.CLAUSES, ids=lambda clause: clause.__name__)
def clause(request: pytest.FixtureRequest):
    """Each clause of the contract in turn: a function that takes an empty backend."""
    return request.param


@pytest.fixture(scope="session")
def bench() -> ModuleType:
    """The module bench.py: a watched bucket, and stores below artifacts to make and to damage."""
    return _load("bench")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind in turn."""
    return f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def s3_proxy(moto_endpoint: str, proxies: ModuleType) -> Iterator:
    """A proxy before the S3 server."""
    proxy = proxies.Proxy(moto_endpoint)
    yield proxy
    proxy.close()


@pytest.fixture
def gcs_proxy(gcs_endpoint: str, proxies: ModuleType) -> Iterator:
    """A proxy before the GCS emulator."""
    proxy = proxies.Proxy(gcs_endpoint)
    yield proxy
    proxy.close()
