"""A bucket in which somebody hostile may write: whatever is read from it is refused in words and in bounded memory.

Each tampering is met by whole processes of the command, as their users have them; what their parts do with every kind
of wrong byte is told beside them: test_pack, test_recipe, test_journal, test_manifest_hostile, test_download.
"""

import os
import re
import shutil
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from random import Random

import pytest
import zstandard

import lineart
from lineart.artifacts.artifact import Artifact
from lineart.storage.backends.local import LocalBackend
from lineart.storage.codec import Codec, Encoded
from lineart.storage.journal import OBJECT_LIMIT
from lineart.storage.layout import checkpoint_key, pack_key
from lineart.storage.pack import PackBuilder, PackKind, read_slots

pytestmark = pytest.mark.slow

GIBIBYTE = 1 << 30
ALLOWED = 250  # MiB at the most that a process ever had in memory; an idle one has 60
CONTENT = {"large": Random(1).randbytes(3 << 20), "small": b"small", "notes/a": b"a" * 5000}


def sparse(path, size):
    """Make a file of so many zeros, which takes no room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(size)


@cache
def bomb(size):
    """Return a zstd frame of few bytes that says nothing of its content's length, which is `size` zeros."""
    packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    parts = [packer.compress(bytes(1 << 24)) for _ in range(size >> 24)]
    return b"".join([*parts, packer.flush()])


def replace_chunks(store, make):
    """Write a pack that says of itself to hold the same chunks; where `make` gives something for a size, it is that."""
    backend = LocalBackend(store)
    builder = PackBuilder(PackKind.DATA)
    for one in list(backend.list("packs/")):
        data = backend.get(one.key)
        pack_id = bytes.fromhex(one.key.rpartition("/")[2])
        for slot in read_slots(lambda at, length, data=data: data[at : at + length], len(data), pack_id, PackKind.DATA):
            kept = data[slot.offset : slot.offset + slot.stored], slot.size, slot.codec
            builder.add(Encoded(slot.digest, *(make(slot.size) or kept)))
        backend.delete([one.key])
    sealed = builder.seal()
    backend.put(pack_key(sealed.kind, sealed.id), sealed.parts)


def largest(store, kind):
    return max((store / kind).rglob("*/*"), key=lambda path: path.stat().st_size)


def a_marker_of_a_gibibyte(store):
    sparse(store / "lineart.json", GIBIBYTE)


def a_pack_that_grew_to_many_gibibytes(store):
    sparse(largest(store, "packs"), 64 * GIBIBYTE)


def a_file_list_that_grew(store):
    for path in (store / "meta").rglob("*/*"):
        sparse(path, 16 * GIBIBYTE)


def a_footer_that_claims_four_thousand_million_chunks(store):
    path = largest(store, "packs")
    data = bytearray(path.read_bytes())
    for at in range(len(data) - 80, len(data) - 3):
        data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(data)


def chunks_that_are_bombs(store):
    whole = bomb(GIBIBYTE)
    replace_chunks(store, lambda size: (whole if size >= len(whole) else whole[:4], size, Codec.ZSTD))


def chunks_of_other_bytes(store):
    replace_chunks(store, lambda size: (b"x" * size, size, Codec.RAW))


def one_small_file_of_other_bytes(store):
    replace_chunks(store, lambda size: (b"SMALL", 5, Codec.RAW) if size == 5 else None)


def a_journal_object_that_is_a_bomb(store):
    shutil.rmtree(store / "journal")
    path = store / checkpoint_key(1, 9)
    path.parent.mkdir(parents=True)
    path.write_bytes(bomb(GIBIBYTE))  # sixteen times what may be in one


def a_journal_object_without_end(store):
    path = next((store / "journal" / "00000000").iterdir())
    sparse(path, 32 * GIBIBYTE)


def a_journal_object_that_just_fits(store):
    path = next((store / "journal" / "00000000").iterdir())
    path.write_bytes(path.read_bytes() + b"x" * (OBJECT_LIMIT // 2))


def a_format_of_the_future(store):
    path = store / "lineart.json"
    path.write_bytes(re.sub(rb'"format": \d+', b'"format": 99', path.read_bytes()))


TAMPERINGS = [
    a_marker_of_a_gibibyte,
    a_pack_that_grew_to_many_gibibytes,
    a_file_list_that_grew,
    a_footer_that_claims_four_thousand_million_chunks,
    chunks_that_are_bombs,
    chunks_of_other_bytes,
    one_small_file_of_other_bytes,
    a_journal_object_that_is_a_bomb,
    a_journal_object_without_end,
    a_journal_object_that_just_fits,
    a_format_of_the_future,
]
HARMLESS = {  # what a command need not look at
    ("get", "a_journal_object_that_is_a_bomb"),
    ("get", "a_journal_object_without_end"),
    ("get", "a_journal_object_that_just_fits"),
    ("get", "a_footer_that_claims_four_thousand_million_chunks"),
    ("get", "a_pack_that_grew_to_many_gibibytes"),
    ("get", "a_file_list_that_grew"),
}
MEASURED = """
import re, sys
from pathlib import Path
from lineart.cli import main
try:
    main(sys.argv[2:])
finally:
    Path(sys.argv[1]).write_text(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with a store of one version."""
    folder = tmp_path_factory.mktemp("sound")
    with lineart.create(folder / "store", project="p") as store:
        draft = Artifact("data", type="data")
        for path, content in CONTENT.items():
            draft.add_bytes(content, path)
        store.log(draft)
    return folder / "store"


def art(store, folder, *arguments):
    """Run the command; its exit code, what it said, and its memory in MiB."""
    environment = {**os.environ, "LINEART_STORE": str(store), "LINEART_PROJECT": "p", "HOME": str(folder)}
    command = [sys.executable, "-c", MEASURED, str(folder / "peak"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr, int((folder / "peak").read_text()) >> 10


def require_right(folder):
    """What has a file's name has its content."""
    for path, content in CONTENT.items():
        assert not (folder / "out" / path).exists() or (folder / "out" / path).read_bytes() == content


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("command", ["get", "check", "repair and get"])
def test_a_hostile_bucket_is_refused_in_words_and_in_little_memory(sound, tmp_path, tamper, command):
    store = tmp_path / "store"
    shutil.copytree(sound, store)
    tamper(store)
    arguments = {"get": ["get", "data:v0", "out"], "check": ["check", "--read-data"]}.get(command, [])
    if not arguments:
        for path in store.glob("lineart.db*"):
            path.unlink()
        arguments = ["repair", "database", "--yes"]
    code, said, peak = art(store, tmp_path, *arguments)
    if command == "repair and get" and code in {0, 5}:
        code, said, more = art(store, tmp_path, "get", "data:v0", "out")
        peak = max(peak, more)
        assert code != 0 or (tmp_path / "out" / "large").read_bytes() == CONTENT["large"]
    assert "Traceback" not in said
    assert peak < ALLOWED, said
    require_right(tmp_path)
    harmless = (command, tamper.__name__) in HARMLESS or command == "repair and get"
    assert code in ({0, 3, 5, 6} if harmless else {3, 5, 6}), said
    assert code == 0 or said.strip()


def test_what_is_sound_is_read_in_the_same_memory(sound, tmp_path):
    """Or the bound above would say nothing."""
    store = tmp_path / "store"
    shutil.copytree(sound, store)
    for arguments in (["get", "data:v0", "out"], ["check", "--read-data"], ["repair", "database", "--yes"]):
        code, said, peak = art(store, tmp_path, *arguments)
        assert (code, peak < ALLOWED) == (0, True), said
    require_right(tmp_path)
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in Path(tmp_path / "out").rglob("*")) == [
        "large", "notes", "notes/a", "small",
    ]  # fmt: skip
