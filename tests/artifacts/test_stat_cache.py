"""What is remembered of a folder's files, and when that may be believed."""

import os
import time

import pytest
from blake3 import blake3
from msgspec.structs import replace

from lineart.artifacts.source import FileSource, file_source
from lineart.artifacts.stat_cache import Known, Origin, StatCache, clock, mistrust, settled
from lineart.artifacts.tree import walk_tree

ORIGIN = Origin("0" * 32, "p/data:v0", bytes(32))


@pytest.fixture
def folder(tmp_path):
    """A folder of three files, old enough to be trusted."""
    root = tmp_path / "data"
    (root / "deep").mkdir(parents=True)
    for name in ("a", "deep/b", "ü\n"):
        (root / name).write_bytes(name.encode())
    return str(root)


@pytest.fixture
def cache(tmp_path):
    return StatCache(tmp_path / "cache")


def rows_of(root):
    return [(source, Known(blake3(path.encode()).digest())) for path, source in walk_tree(root)]


def snapshot_file(tmp_path):
    (path,) = (tmp_path / "cache").iterdir()
    return path


def test_what_was_saved_is_known_to_whoever_opens_the_cache_next(folder, cache, tmp_path):
    rows = rows_of(folder)
    large = (rows[0][0], Known(bytes(32), b"r" * 32))
    cache.save(folder, [large, *rows[1:]], ORIGIN)
    loaded = StatCache(tmp_path / "cache").load(folder)
    assert loaded.origin == ORIGIN
    assert len(loaded) == 3
    assert loaded.get(rows[0][0]) == large[1]
    assert [loaded.get(file) for file, _ in rows[1:]] == [content for _, content in rows[1:]]


@pytest.mark.parametrize("field", ["path", "size", "mtime", "changed_at", "inode", "device"])
def test_a_file_that_differs_in_anything_is_unknown(folder, cache, field):
    cache.save(folder, rows_of(folder))
    ((file, _), *_) = rows_of(folder)
    other = file.path + "x" if field == "path" else getattr(file, field) + 1
    loaded = cache.load(folder)
    assert loaded.get(file) is not None
    assert loaded.get(replace(file, **{field: other})) is None


def test_a_folder_is_the_same_by_whatever_name_it_is_reached(folder, cache, tmp_path, monkeypatch):
    cache.save(folder, rows_of(folder))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    for root in ("data", "./data", "link", "data/", str(tmp_path / "data")):
        loaded = cache.load(root)
        assert all(loaded.get(file) for file, _ in rows_of(root)), root
    monkeypatch.chdir(folder)
    here = file_source("a", os.stat("a"))
    assert cache.load("").get(here) is not None
    assert cache.load(".").get(replace(here, path="./a")) is not None


def test_nothing_is_known_without_a_cache_folder(folder):
    nowhere = StatCache(None)
    nowhere.save(folder, rows_of(folder))
    assert len(nowhere.load(folder)) == 0


def file(changed_at):
    return FileSource("x", 1, 1, changed_at, 1, 1, executable=False)


def test_a_change_in_the_same_tick_of_the_clock_is_not_to_be_told_from_none():
    assert settled(file(1_000_000_001), known_at=1_000_000_002)
    assert not settled(file(1_000_000_001), known_at=1_000_000_001)
    assert not settled(file(5_000_000_001), known_at=1_000_000_002)  # from the future: somebody set the clock


def test_a_filesystem_that_counts_in_seconds_is_given_two_of_them():
    assert not settled(file(1_000_000_000), known_at=2_999_999_999)
    assert settled(file(1_000_000_000), known_at=3_000_000_001)


def test_a_file_that_is_written_now_settles_with_the_next_tick(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"x")
    found = file_source(str(path), path.stat())
    assert not settled(found, min(clock(), found.changed_at))
    deadline = time.monotonic() + 10
    while not settled(found, clock()) and time.monotonic() < deadline:
        continue
    assert settled(found, clock())


def test_the_clock_is_never_ahead_of_what_files_are_stamped_with(tmp_path):
    for number in range(200):
        before = clock()
        path = tmp_path / str(number)
        path.touch()
        assert path.stat().st_ctime_ns >= before


@pytest.mark.parametrize("damage", [b"", b"x", b"LASTAT1\n", "flip", "cut", "foreign"])
def test_a_snapshot_that_is_damaged_is_as_good_as_none(folder, cache, tmp_path, damage):
    cache.save(folder, rows_of(folder))
    path = snapshot_file(tmp_path)
    whole = path.read_bytes()
    if damage == "flip":
        damage = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    elif damage == "cut":
        damage = whole[:-1]
    elif damage == "foreign":
        payload = b"\x93\x01\x02\x03"
        damage = whole[:8] + blake3(payload).digest() + payload
    path.write_bytes(damage)
    assert len(cache.load(folder)) == 0
    cache.save(folder, rows_of(folder))
    assert len(cache.load(folder)) == 3


def test_a_snapshot_of_another_folder_under_this_ones_name_is_not_believed(folder, cache, tmp_path):
    cache.save(folder, rows_of(folder))
    mine = snapshot_file(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    cache.save(str(other), [])
    (theirs,) = set((tmp_path / "cache").iterdir()) - {mine}
    theirs.write_bytes(mine.read_bytes())
    assert len(cache.load(str(other))) == 0


def test_a_link_or_a_folder_in_a_snapshots_place_is_passed_by(folder, cache, tmp_path):
    cache.save(folder, rows_of(folder))
    path = snapshot_file(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert len(cache.load(folder)) == 0
    path.unlink()
    path.mkdir()
    assert len(cache.load(folder)) == 0
    cache.save(folder, rows_of(folder))


def test_a_disk_that_takes_nothing_is_no_error(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = StatCache(tmp_path / "file" / "cache")
    cache.save(folder, rows_of(folder))
    assert len(cache.load(folder)) == 0


def test_only_its_user_may_look_at_it(folder, cache, tmp_path):
    cache.save(folder, rows_of(folder))
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    assert snapshot_file(tmp_path).stat().st_mode & 0o077 == 0


def test_the_folders_used_least_recently_make_room(tmp_path):
    roots = [str(tmp_path / f"data-{number}") for number in range(4)]
    for root in roots:
        os.mkdir(root)
        (tmp_path / root / "a").write_bytes(b"a")
    sizing = StatCache(tmp_path / "sizing")
    sizing.save(roots[0], rows_of(roots[0]))
    (one,) = (tmp_path / "sizing").iterdir()
    cache = StatCache(tmp_path / "cache", limit=3 * one.stat().st_size + 10)
    for number, root in enumerate(roots[:3]):
        cache.save(root, rows_of(root))
        for path in (tmp_path / "cache").iterdir():
            if path.stat().st_mtime_ns > 10**18:
                os.utime(path, ns=(number, number))
    assert len(cache.load(roots[0])) == 1  # which makes it the one used last
    cache.save(roots[3], rows_of(roots[3]))
    assert [len(cache.load(root)) for root in roots] == [1, 0, 1, 1]


def test_a_network_filesystem_is_not_trusted_and_that_is_said(folder, tmp_path):
    mounts = f"1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {tmp_path} rw - nfs4 server:/home rw\n"
    cache = StatCache(tmp_path / "cache", mountinfo=mounts)
    with pytest.warns(UserWarning, match="is on nfs4, which does not tell reliably when a file changed"):
        cache.save(folder, rows_of(folder))
    assert len(cache.load(folder)) == 0


@pytest.mark.parametrize(("kind", "lies"), [("ext4", False), ("tmpfs", False), ("vfat", True), ("fuse.sshfs", True)])
def test_filesystems_that_make_up_their_inode_numbers_are_not_trusted(tmp_path, kind, lies):
    assert (mistrust(str(tmp_path), f"1 0 0:1 / / rw - {kind} /dev/a rw\n") == kind) is lies


def test_files_of_another_disk_below_the_folder_are_left_out(folder, cache):
    ((first, content), *rest) = rows_of(folder)
    cache.save(folder, [(replace(first, device=first.device + 1), content), *rest])
    assert len(cache.load(folder)) == 2


def test_a_time_beyond_all_measure_is_left_out():
    assert not settled(replace(file(1_000_000_001), mtime=2**63), known_at=2**62)
    assert settled(replace(file(1_000_000_001), mtime=-(2**63)), known_at=2**62)
