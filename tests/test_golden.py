"""A store of each format that was ever released is read by Lineart of today: every byte, every name, every event.

What is in tests/data is never made again; tests/make_golden.py has made it when its format was current.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import msgspec
import pytest

from lineart.artifacts.artifact import Artifact
from lineart.settings import Settings
from lineart.store import open_settings, repair

HERE = Path(__file__).parent
GOLDEN = sorted(path.name for path in (HERE / "data").glob("golden-*"))


def load(name):
    spec = importlib.util.spec_from_file_location(f"lineart_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_golden, independent = load("make_golden"), load("independent_reader")


@pytest.fixture(params=GOLDEN)
def golden(request, tmp_path):
    """A copy of a golden store's objects with a database rebuilt from them, and what is to be found there."""
    source = HERE / "data" / request.param
    shutil.copytree(source / "objects", tmp_path / "store")
    settings = Settings(str(tmp_path / "store"), f"sqlite:///{tmp_path}/store.db", "vision", tmp_path / "downloads")
    repaired = repair(settings)
    assert repaired.damaged == []
    assert repaired.events > 20
    return settings, json.loads((source / "expected.json").read_text(encoding="utf-8"))


def test_the_first_format_has_a_golden_store():
    assert "golden-1" in GOLDEN


@pytest.mark.slow
def test_everything_that_a_golden_store_holds_is_found_and_read(golden):
    settings, expected = golden
    with open_settings(settings) as store:
        found = make_golden.portrait(store)
        report = store.check(read_data=True)
    for part, wanted in expected.items():
        assert found[part] == wanted, part
    assert set(found) == set(expected)
    assert (report.problems, report.notes) == ([], [])


def test_a_golden_store_has_a_bit_of_everything(golden):
    """What the format knows and this store lacks, no later reader is held to."""
    _, expected = golden
    versions = expected["versions"]
    files = {path: one for version in versions.values() for path, one in version.get("files", {}).items()}
    assert {version["state"] for version in versions.values()} == {"live", "deleted", "purged"}
    sizes = [int(one.split()[0]) for one in files.values()]
    assert max(sizes) > 4 << 20, "a recipe"
    assert min(sizes) == 0
    assert any(one.endswith(" executable") for one in files.values())
    assert any(not path.isascii() for path in files)
    assert any(version["aliases"] and version["tags"] for version in versions.values())
    assert any(run["used"] and run["made"] and run["code"].get("diff") for run in expected["runs"].values())
    assert len({name.partition("/")[0] for name in expected["collections"]}) > 1


def test_a_golden_store_goes_on_being_written(golden):
    settings, expected = golden
    with open_settings(settings) as store:
        draft = Artifact("scrap")
        draft.add_bytes(b"of today", "new")
        logged = store.log(draft)
        numbers = [int(ref.rpartition(":v")[2]) for ref in expected["versions"] if ref.startswith("vision/scrap:")]
        assert logged.record.number == max(numbers) + 1
        successor = store.artifact("dataset:v1").new_draft()
        successor.add_bytes(b"more", "more")
        store.log(successor)
        store.restore("scrap:v1")
        store.gc()
        assert store.check(read_data=True).problems == []


@pytest.mark.parametrize("name", GOLDEN)
def test_the_independent_reader_reads_a_golden_store(name):
    root = HERE / "data" / name / "objects"
    objects = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    expected = json.loads((root.parent / "expected.json").read_text(encoding="utf-8"))
    reader = independent.Reader(objects)
    digests = reader.versions()
    for ref, version in expected["versions"].items():
        if version["state"] == "live":
            entries = list(reader.entries(digests[ref]))
            found = {entry[0]: make_golden.described(reader.file(entry), executable=entry[5]) for entry in entries}
            assert found == version["files"], ref
    assert msgspec.msgpack.decode(reader.chunk(digests["vision/many-files:v0"]))[1] == 1, "a page above pages"


@pytest.mark.slow
def test_the_maker_of_golden_stores_makes_what_is_expected_of_them(tmp_path):
    """So that it can be run when the next format is released."""
    make_golden.make(tmp_path / "golden")
    old = json.loads((HERE / "data" / "golden-1" / "expected.json").read_text(encoding="utf-8"))
    new = json.loads((tmp_path / "golden" / "expected.json").read_text(encoding="utf-8"))
    assert {ref: one.get("files") for ref, one in new["versions"].items()} == {
        ref: one.get("files") for ref, one in old["versions"].items()
    }
