"""docs/format.md says enough: a reader written from it alone reads every byte, from the bucket's objects only."""

from __future__ import annotations

import ast
import importlib.util
import random
from pathlib import Path

import pytest

import lineart

SOURCE = Path(__file__).with_name("independent_reader.py")
spec = importlib.util.spec_from_file_location("lineart_independent_reader", SOURCE)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
Reader, Damaged = module.Reader, module.Damaged

BIG = random.Random(1).randbytes(6_000_000)  # several chunks, which do not compress
TEXT = b"".join(b"line %d of a file that compresses well\n" % i for i in range(120_000))


def objects_of(root: Path) -> dict[str, bytes]:
    """Everything that a bucket would hold: the database is left out."""
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {key: data for key, data in found.items() if not key.startswith("lineart.db")}


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes]]:
    """A bucket's objects, and the files of its versions v0 and v1."""
    folder = tmp_path_factory.mktemp("independent")
    tree = {f"many/{i % 7}/{i:04}.txt": b"file %d\n" % i * (i % 50 + 1) for i in range(1200)}
    tree |= {"big.bin": BIG, "text.log": TEXT, "empty": b"", "name with spaces/é\\:.txt": b"x", "last": b"\0" * 70_000}
    with lineart.create(folder / "store", project="reader") as store:
        draft = lineart.Artifact("tree", type="dataset", metadata={"é": [1, 2.5, None]})
        for path, data in tree.items():
            draft.add_bytes(data, path)
        first = store.log(draft, aliases=["clean"], tags=["a tag"])
        successor = first.new_draft()
        successor.remove("text.log")
        successor.add_bytes(BIG[:3_000_000] + b"changed" + BIG[3_000_000:], "big.bin", overwrite=True)
        second = store.log(successor)
        store.promote("tree:v0", "best", reason="it is smaller")
        store.promote("tree:v1", "best", expect="v0")
        store.remove_alias("tree", "clean")
        empty = store.log(lineart.Artifact("nothing"))
        assert (first.ref, second.ref, empty.ref) == ("reader/tree:v0", "reader/tree:v1", "reader/nothing:v0")
    changed = {path: data for path, data in tree.items() if path != "text.log"}
    changed["big.bin"] = BIG[:3_000_000] + b"changed" + BIG[3_000_000:]
    return objects_of(folder / "store"), tree, changed


def test_it_imports_nothing_of_ours_and_stays_a_page_or_so():
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    assert imported == {
        *("__future__", "collections.abc", "itertools", "json", "re", "struct", "typing"),
        *("blake3", "msgspec", "zstandard"),
    }
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) < 160


def test_it_reads_every_file_of_every_version(logged):
    objects, first, second = logged
    reader = Reader(objects)
    versions = reader.versions()
    for name, tree in (("tree:v0", first), ("tree:v1", second), ("nothing:v0", {})):
        entries = list(reader.entries(versions[f"reader/{name}"]))
        assert [entry[0] for entry in entries] == sorted(tree, key=str.encode)
        assert {entry[0]: reader.file(entry) for entry in entries} == tree


def test_it_finds_aliases_as_they_are_now(logged):
    versions = Reader(logged[0]).versions()
    assert versions["reader/tree:best"] == versions["reader/tree:latest"] == versions["reader/tree:v1"]
    assert "reader/tree:clean" not in versions


def test_large_files_have_recipes_and_small_ones_have_none(logged):
    reader = Reader(logged[0])
    entries = {entry[0]: entry for entry in reader.entries(reader.versions()["reader/tree:v0"])}
    assert {path for path, entry in entries.items() if entry[4] is not None} == {"big.bin", "text.log"}
    assert len(list(reader.pieces(entries["big.bin"][4], len(BIG)))) > 2


def test_the_changed_version_shares_chunks_with_the_first(logged):
    reader = Reader(logged[0])
    found = []
    for version in ("v0", "v1"):
        entry = next(e for e in reader.entries(reader.versions()[f"reader/tree:{version}"]) if e[0] == "big.bin")
        found.append(set(reader.pieces(entry[4], entry[2])))
    assert found[0] & found[1]


def test_every_damaged_byte_of_the_bucket_is_noticed_or_beside_the_point(logged):
    objects, _, second = logged
    dice = random.Random(7)
    for key in sorted(objects):
        if not key.startswith(("packs/", "meta/")):
            continue
        data = bytearray(objects[key])
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        try:
            reader = Reader({**objects, key: bytes(data)})
            root = reader.versions()["reader/tree:v1"]
            assert {entry[0]: reader.file(entry) for entry in reader.entries(root)} == second
        except (Damaged, module.zstandard.ZstdError):
            continue


def test_every_flipped_bit_of_the_journal_is_noticed(logged):
    objects = logged[0]
    dice = random.Random(3)
    for key in (one for one in objects if one.startswith("journal/")):
        data = bytearray(objects[key])
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        with pytest.raises(Damaged, match="checksum"):
            Reader({**objects, key: bytes(data)}).versions()


def test_a_journal_with_a_gap_is_refused(logged):
    objects = logged[0]
    segments = sorted(key for key in objects if key.startswith("journal/"))
    with pytest.raises(Damaged, match="a gap"):
        Reader({key: data for key, data in objects.items() if key != segments[1]}).versions()
