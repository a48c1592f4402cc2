from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lineart.artifacts.clearing import clear, make_way, strays
from lineart.artifacts.locks import locked
from lineart.artifacts.place import Place
from lineart.storage.errors import Conflict, InvalidInput


def put(root, files):
    with Place(root) as place:
        for path, data in files.items():
            place.write(path, (data,), executable=False)
        place.settle()


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path, tree):
    root = tmp_path / "deep" / "out"
    with Place(root) as place:
        place.write("a/b", (b"1", b"2"), executable=False)
        assert not root.exists()
        place.settle()
    assert tree(tmp_path) == {"deep/out/a/b": b"12"}


def test_what_was_not_settled_is_removed(tmp_path, tree):
    with Place(tmp_path / "out") as place:
        place.write("a/b", (b"1",), executable=False)
    assert tree(tmp_path) == {}


def test_a_folder_that_appeared_meanwhile_is_not_overwritten(tmp_path, tree):
    root = tmp_path / "out"
    with Place(root) as place:
        place.write("a", (b"ours",), executable=False)
        root.mkdir()
        (root / "a").write_bytes(b"theirs")
        with pytest.raises(Conflict, match="appeared"):
            place.settle()
    assert tree(tmp_path) == {"out/a": b"theirs"}


def test_a_file_that_fails_half_way_leaves_the_old_one_and_nothing_else(tmp_path, tree):
    (tmp_path / "a").write_bytes(b"old")

    def parts():
        yield b"new"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Place(tmp_path) as place:
        place.write("a", parts(), executable=False)
    assert tree(tmp_path) == {"a": b"old"}


def test_other_files_of_a_folder_stay(tmp_path, tree):
    (tmp_path / "mine").write_bytes(b"1")
    put(tmp_path, {"theirs": b"2"})
    assert tree(tmp_path) == {"mine": b"1", "theirs": b"2"}


def test_a_replaced_file_is_another_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    os.link(tmp_path / "a", tmp_path / "linked")
    put(tmp_path, {"a": b"new"})
    assert (tmp_path / "linked").read_bytes() == b"old"


@pytest.mark.parametrize("fresh", [True, False])
def test_the_mode_bit_is_kept_within_the_umask(tmp_path, fresh):
    root = tmp_path / "out"
    if not fresh:
        root.mkdir()
    old = os.umask(0o027)
    try:
        with Place(root) as place:
            place.write("run", (b"",), executable=True)
            place.write("read", (b"",), executable=False)
            place.settle()
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "run").stat().st_mode) == 0o750
    assert stat.S_IMODE((root / "read").stat().st_mode) == 0o640


@pytest.fixture
def outside(tmp_path):
    made = tmp_path / "outside"
    made.mkdir()
    (made / "precious").write_bytes(b"precious")
    return made


def unharmed(outside):
    return {path.name: path.read_bytes() for path in outside.iterdir()} == {"precious": b"precious"}


@pytest.mark.parametrize("link", ["a", "a/b", "a/b/c"])
def test_a_link_at_a_folders_place_is_never_written_through(tmp_path, outside, link):
    root = tmp_path / "out"
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(outside)
    with pytest.raises(Conflict, match="symbolic link"):
        put(root, {"a/b/c/precious": b"evil"})
    with Place(root) as place:
        assert place.open_found("a/b/c/precious", len(b"precious")) is None
    assert unharmed(outside)


def test_a_link_at_a_files_place_is_replaced_and_not_followed(tmp_path, outside, tree):
    root = tmp_path / "out"
    root.mkdir()
    (root / "a").symlink_to(outside / "precious")
    (root / "b").symlink_to(outside)
    (root / "c").symlink_to(outside / "new")
    put(root, {"a": b"1", "b": b"2", "c": b"3"})
    assert tree(root) == {"a": b"1", "b": b"2", "c": b"3"}
    assert unharmed(outside)


def test_links_that_lead_nowhere_are_no_crash(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    for link in ("loop", "dangling"):
        with Place(tmp_path) as place:
            assert place.find(f"{link}/x") is None
        with pytest.raises(Conflict, match="symbolic link"):
            put(tmp_path, {f"{link}/x": b""})
        put(tmp_path, {link: b"1"})
    assert not (tmp_path / "nowhere").exists()


def swapped(folder, outside):
    """A folder becomes a link, as a hostile neighbour may have it at any time."""
    folder.rename(folder.with_name("moved"))
    folder.symlink_to(outside)


def test_a_folder_that_becomes_a_link_meanwhile_is_not_written_through(tmp_path, outside, tree):
    root = tmp_path / "out"
    root.mkdir()

    def parts():
        yield b"e"
        swapped(root / "a", outside)
        yield b"vil"

    with Place(root) as place:
        place.write("a/precious", parts(), executable=False)
        place.write("a/new", (b"evil",), executable=False)
        assert place.find("a/new") is not None
        with pytest.raises(Conflict, match="out/a was moved or replaced"):
            place.settle()
    assert unharmed(outside)
    assert tree(root / "moved") == {"precious": b"evil", "new": b"evil"}


def test_the_root_that_is_moved_away_meanwhile_is_noticed(tmp_path):
    root = tmp_path / "out"
    root.mkdir()
    with Place(root) as place:
        place.write("a", (b"1",), executable=False)
        root.rename(tmp_path / "moved")
        with pytest.raises(Conflict, match="out was moved or replaced"):
            place.settle()


def test_a_root_that_is_deleted_meanwhile_is_named(tmp_path):
    (tmp_path / "out").mkdir()
    with Place(tmp_path / "out") as place:
        (tmp_path / "out").rmdir()
        with pytest.raises(Conflict, match="out/a vanished while"):
            place.write("a", (b"1",), executable=False)


def test_nothing_is_cleared_through_a_folder_that_becomes_a_link(tmp_path, outside):
    root = tmp_path / "out"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "precious").touch()
    (outside / "empty").mkdir()
    with Place(root) as place:
        found = strays(place, set())
        swapped(root / "a", outside)
        clear(place, found)
        make_way(place, ["a"])  # a link at a file's place: the write replaces it
    assert (outside / "empty").is_dir()
    assert (outside / "precious").read_bytes() == b"precious"


def test_what_was_opened_stays_the_same_file_when_its_folder_becomes_a_link(tmp_path, outside):
    root = tmp_path / "out"
    (root / "a").mkdir(parents=True)
    (root / "a" / "precious").write_bytes(b"expected")
    with Place(root) as place:
        number, _ = place.open_found("a/precious", 8)
        swapped(root / "a", outside)
        other, _ = place.open_found("a/precious", 8)
        assert os.read(number, 9) == os.read(other, 9) == b"expected"
        os.close(number)
        os.close(other)


def test_an_error_of_the_source_is_not_taken_for_one_of_the_disk(tmp_path, tree):
    def parts():
        yield b"1"
        raise ConnectionResetError("bucket")

    for root in (tmp_path / "fresh", tmp_path):
        with pytest.raises(ConnectionResetError), Place(root) as place:
            place.write("a", parts(), executable=False)
    assert tree(tmp_path) == {}


def test_a_root_below_a_file_says_which(tmp_path):
    (tmp_path / "train.py").touch()
    for enter in (locked, Place):
        with (
            pytest.raises(InvalidInput, match=r"sub cannot be made a folder: .*train\.py is not one; choose another"),
            enter(tmp_path / "train.py" / "sub"),
        ):
            pass


def test_a_git_worktree_is_never_cleared(tmp_path, tree):
    (tmp_path / ".git").write_bytes(b"gitdir: elsewhere")
    with Place(tmp_path) as place:
        with pytest.raises(Conflict, match="git repository"):
            strays(place, set())
        assert strays(place, {".git"}) == []


def test_a_root_that_is_a_link_to_a_folder_is_that_folder(tmp_path, outside, tree):
    (tmp_path / "out").symlink_to(outside)
    put(tmp_path / "out", {"a": b"1"})
    assert tree(outside) == {"a": b"1", "precious": b"precious"}
    assert (tmp_path / "out").is_symlink()


@pytest.mark.parametrize("target", ["nowhere", "out"])
def test_a_root_that_is_a_link_to_nothing_is_refused_before_the_work(tmp_path, target):
    (tmp_path / "out").symlink_to(target)
    with pytest.raises(Conflict, match=r"not a folder|link to nothing"):
        Place(tmp_path / "out")
    assert not (tmp_path / "nowhere").exists()


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(Conflict, match="out is a file; choose a folder for the download"):
        Place(tmp_path / "out")


def test_files_and_folders_in_the_way_are_named_and_left(tmp_path, tree):
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_bytes(b"2")
    with pytest.raises(Conflict, match="file where a folder is needed; move it away"):
        put(tmp_path, {"file/x": b""})
    with pytest.raises(Conflict, match="folder where a file is to be; move it away"):
        put(tmp_path, {"folder": b""})
    assert tree(tmp_path) == {"file": b"1", "folder/x": b"2"}


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_a_special_file_is_replaced_and_not_opened(tmp_path, special, kind, tree):
    root = tmp_path / "out"
    root.mkdir()
    special(kind, root / "a")
    put(root, {"a": b"1"})
    assert tree(root) == {"a": b"1"}


def test_way_is_made_for_files_without_leaving_the_folder(tmp_path, outside, tree):
    root = tmp_path / "out"
    root.mkdir()
    (root / "a").write_bytes(b"")  # to become folders
    (root / "b").symlink_to(outside)
    (root / "c" / "precious").mkdir(parents=True)  # to become a file
    (root / "c" / "precious" / "x").touch()
    (root / "d").symlink_to(outside)  # stays: replaced by the write
    (root / "other").touch()
    wanted = ["a/b/c", "b/precious", "c/precious", "d"]
    with Place(root) as place:
        make_way(place, wanted)
    assert sorted(tree(root)) == ["c/", "d", "other"]
    put(root, dict.fromkeys(wanted, b"1"))
    assert unharmed(outside)


def test_only_what_belongs_is_kept(tmp_path, outside, tree):
    root = tmp_path / "out"
    (root / "a" / "empty").mkdir(parents=True)
    for path in ("a/x", "a/y", "b", "spared", "a/spared"):
        (root / path).touch()
    (root / "link").symlink_to(outside)
    (root / "file").symlink_to(outside / "precious")
    (root / "dangling").symlink_to("nowhere")
    with Place(root) as place:
        found = strays(place, {"a/x", "spared", "not-there"})
        assert sorted(found) == ["a/spared", "a/y", "b", "dangling", "file", "link"]
        clear(place, found)
    assert tree(root) == {"a/x": b"", "spared": b""}
    assert unharmed(outside)


def test_a_disk_that_is_full_is_named_with_the_file(tmp_path, tree):
    program = """
import resource, signal, sys
from pathlib import Path
from lineart.artifacts.place import Place
from lineart.storage.errors import Conflict
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with Place(Path(sys.argv[1])) as place:
        place.write("small", (b"x",), executable=False)
        place.write("big", (bytes(600), bytes(600)), executable=False)
except Conflict as error:
    print(error)
"""
    for root in (tmp_path / "fresh", tmp_path):
        done = subprocess.run([sys.executable, "-c", program, root], capture_output=True, text=True, check=True)
        assert done.stdout == (
            f"{root}/big cannot be written (File too large); choose another folder or try again; "
            "nothing there is left half-written\n"
        )
    assert tree(tmp_path) == {"small": b"x"}


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "\U0001f600" * 63, "\udcff" * 255])
def test_long_names_of_a_root_are_no_hindrance(tmp_path, name, tree):
    root = tmp_path / name
    with locked(root):
        put(root, {"a": b"1"})
    assert os.listdir(tmp_path) == [name]


def test_the_lock_is_waited_for_by_threads(tmp_path):
    root = tmp_path / "out"
    inside = threading.Event()
    order = []

    def second():
        inside.wait(30)
        with locked(root):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locked(root):
        inside.set()
        put(root, {"a": b""})
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert os.listdir(tmp_path) == ["out"]


def test_the_lock_file_of_many_at_once_is_gone_in_the_end(tmp_path):
    counter = [0]

    def work():
        for _ in range(20):
            with locked(tmp_path / "out"):
                before = counter[0]
                os.listdir(tmp_path)
                counter[0] = before + 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counter == [100]
    assert os.listdir(tmp_path) == []


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from lineart.artifacts.locks import locked
from lineart.artifacts.place import Place
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
root = Path(sys.argv[1])
with locked(root), Place(root) as place:
    place.write("a", (b"1",), executable=False)
print("done")
"""


def test_a_folder_that_may_not_be_written_is_told_with_the_way_out(tmp_path, tree):
    (tmp_path / "volume").mkdir()
    tmp_path.chmod(0o755)
    for name in ("volume", "new"):
        program = UNPRIVILEGED.replace("from pathlib", "from lineart.storage.errors import InvalidInput\nfrom pathlib")
        program = program.replace("with locked", "try:\n  with locked").replace("    place.write", "      place.write")
        program = program.replace('print("done")', "except InvalidInput as error:\n  print(error)")
        command = [sys.executable, "-c", program, name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        assert re.fullmatch(
            rf"{name}(/a)? may not be written \(Permission denied\); choose .* half-written\n", done.stdout
        )
    assert tree(tmp_path) == {"volume/": b""}


def test_a_folder_in_one_that_may_not_be_written_is_its_own_lock(tmp_path, tree):
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    tmp_path.chmod(0o555)
    try:
        # By a relative path, for the folders above are closed to others.
        command = [sys.executable, "-c", UNPRIVILEGED, "volume"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    finally:
        tmp_path.chmod(0o755)
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert tree(tmp_path) == {"volume/a": b"1"}


def test_a_link_at_the_locks_place_is_not_followed(tmp_path):
    root = tmp_path / "out"
    with locked(root):
        (lock,) = tmp_path.iterdir()
    Path(lock).symlink_to("planted")
    with pytest.raises(Conflict, match=r"symbolic link where the lock of .*out is to be"), locked(root):
        pass
    assert not (tmp_path / "planted").exists()
