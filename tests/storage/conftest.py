"""What the tests of storage share: the backends' contract."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).parent / "contract.py"
_spec = importlib.util.spec_from_file_location("lineart_tests_contract", _PATH)
assert _spec is not None
assert _spec.loader is not None
contract = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = contract
_spec.loader.exec_module(contract)


@pytest.fixture(params=contract.CLAUSES, ids=lambda clause: clause.__name__)
def clause(request: pytest.FixtureRequest):
    """Each clause of the contract in turn: a function that takes an empty backend."""
    return request.param
