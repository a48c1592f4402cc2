"""The backend in memory keeps the contract."""

from __future__ import annotations

from lineart.storage.backends.memory import MemoryBackend, named_memory
from lineart.storage.backends.remote import RemoteBackend


def test_memory_keeps_the_contract(clause):
    clause(MemoryBackend())


def test_any_fsspec_file_system_keeps_the_contract(clause, tmp_path):
    backend = RemoteBackend(f"memory://{tmp_path.name}-{id(tmp_path)}/team")
    try:
        clause(backend)
    finally:
        backend.delete([info.key for info in backend.list("")])


def test_a_named_memory_is_one_place_in_the_process():
    assert named_memory("one") is named_memory("one")
    assert named_memory("one") is not named_memory("two")
