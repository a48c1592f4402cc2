"""What a download that was killed has left: the next one to the same place removes it, and nothing else."""

import fcntl
import os
import shutil
import signal

import pytest

from lineart.artifacts import unfinished
from lineart.artifacts.clearing import strays
from lineart.artifacts.locks import locked
from lineart.artifacts.place import Place, beside
from lineart.storage.errors import Conflict

SIGN = ".lineart-unfinished"
MARK = "0123456789abcdef"


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def put(root, files):
    with locked(root) as claim, Place(root, claim) as place:
        for path, parts in files.items():
            place.write(path, parts, executable=False)
        place.settle()


def killed(root, path):
    """Begin to put a file below a folder, in a process that is killed in the middle of it."""

    def parts():
        yield b"half"
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            put(root, {path: parts()})
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def left_by(machine, root, *paths):
    """Leave what a download on some machine would that was killed."""
    (root / SIGN).write_bytes(unfinished.Record(MARK, machine, ["", "deep"]).pack())
    for path in paths:
        (root / path).write_bytes(b"half")


@pytest.fixture
def out(tmp_path):
    """A folder with files of somebody's own, one of them named much like a temporary one."""
    for path in (
        "out/deep/mine",
        "out/.lineart-0123456789abcdee-0",
        f"out/.lineart-{MARK}-x",
        f"out/deep/.lineart-{MARK}",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"own")
    (tmp_path / "out" / f".lineart-{MARK}-1").mkdir()
    return tmp_path / "out"


@pytest.fixture
def later(monkeypatch):
    """A function after which it is two days later."""
    now = unfinished.time.time()

    def work():
        monkeypatch.setattr(unfinished.time, "time", lambda: now + 2 * 86_400)

    return work


@pytest.mark.parametrize("path", ["a", "deep/a"])
def test_the_next_download_removes_the_files_that_a_killed_one_had_begun(out, path):
    before = names(out)
    killed(out, path)
    assert len(names(out)) == len(before) + 2
    put(out, {})
    assert names(out) == before


def test_the_next_download_removes_the_folder_that_a_killed_one_was_building(tmp_path):
    killed(tmp_path / "out", "deep/a")
    assert len(list(tmp_path.iterdir())) == 2
    own = beside(tmp_path / "out", "89abcdef")
    own.mkdir()
    put(tmp_path / "out", {"b": (b"1",)})
    assert names(tmp_path) == [own.name, "out", "out/b"]


def test_a_folder_that_was_made_meanwhile_is_no_hindrance(tmp_path):
    killed(tmp_path / "out", "a")
    (tmp_path / "out").mkdir()
    put(tmp_path / "out", {})
    assert names(tmp_path) == ["out"]


def test_what_a_download_has_under_way_is_left_to_it_by_whatever_name_the_folder_goes(out, tmp_path, later):
    (tmp_path / "link").symlink_to(out)

    def parts():
        yield b"a"
        later()
        put(tmp_path / "link", {"b": (b"b",)})
        yield b"a"

    put(out, {"a": parts()})
    assert ((out / "a").read_bytes(), (out / "b").read_bytes()) == (b"aa", b"b")
    assert not (out / SIGN).exists()


def test_a_download_names_each_folder_once_and_leaves_no_record(out):
    before = names(out)
    with Place(out) as place:
        for path in ("a", "deep/b", "deep/c", "d"):
            place.write(path, (b"1",), executable=False)
        record = unfinished.Record.parse((out / SIGN).read_bytes())
        assert (record.machine, record.folders) == (unfinished.machine(), ["", "deep"])
    assert names(out) == sorted([*before, "a", "d", "deep/b", "deep/c"])


def test_a_file_of_a_version_that_has_the_records_name_is_put_there(out):
    put(out, {"a": (b"1",), SIGN: (b"of a version",)})
    assert (out / SIGN).read_bytes() == b"of a version"


def test_only_the_names_of_the_killed_one_go_and_only_files_and_links(out):
    before = names(out)
    left_by(unfinished.machine(), out, f".lineart-{MARK}-0", f"deep/.lineart-{MARK}-1f")
    (out / f".lineart-{MARK}-2").symlink_to("nowhere")
    put(out, {})
    assert names(out) == before


@pytest.mark.parametrize("text", ["my own", f"{MARK} \n", f"{MARK.upper()} here\n", "x" * 100])
def test_a_file_of_the_records_name_that_is_none_stays(out, text):
    (out / SIGN).write_text(text)
    put(out, {"a": (b"1",)})
    assert (out / SIGN).read_text() == text


def test_an_empty_record_goes_for_its_download_was_killed_before_it_wrote_one(out):
    (out / SIGN).touch()
    put(out, {})
    assert not (out / SIGN).exists()


@pytest.mark.parametrize("folder", ["../elsewhere", "/", "link"])
def test_a_record_leads_nowhere_else(out, tmp_path, folder):
    elsewhere = tmp_path / "elsewhere" / f".lineart-{MARK}-0"
    elsewhere.parent.mkdir()
    elsewhere.touch()
    (out / "link").symlink_to(elsewhere.parent)
    (out / SIGN).write_bytes(unfinished.Record(MARK, unfinished.machine(), [folder]).pack())
    put(out, {})
    assert elsewhere.exists()
    (out / SIGN).symlink_to(elsewhere)
    put(out, {"a": (b"1",)})
    assert (out / SIGN).is_symlink()


# Where a lock may be one machine's only


@pytest.fixture
def network(monkeypatch):
    """A network disk, as far as anybody can tell."""
    monkeypatch.setattr(unfinished, "network_filesystem", lambda path, mounts: "nfs4")


def test_what_another_machine_began_on_a_network_disk_stays_for_a_day(out, network, later):
    before = names(out)
    left_by("another", out, f".lineart-{MARK}-0", f"deep/.lineart-{MARK}-1f")
    begun = names(out)
    put(out, {"a": (b"1",)})
    assert names(out) == sorted([*begun, "a"])
    later()
    put(out, {})
    assert names(out) == sorted([*before, "a"])


def test_a_folder_that_another_machine_builds_on_a_network_disk_stays_for_a_day(tmp_path, network, later):
    root = tmp_path / "out"
    begun = beside(root, MARK[:8])
    (begun / "deep").mkdir(parents=True)
    (begun / "deep" / "a").write_bytes(b"half")
    beside(root, "lock").write_bytes(unfinished.Record(MARK, "another", []).pack())
    put(root, {})
    assert (begun / "deep" / "a").exists()
    later()
    put(root, {})
    assert names(tmp_path) == ["out"]


def test_what_this_machine_began_on_a_network_disk_goes_at_once(out, network):
    before = names(out)
    left_by(unfinished.machine(), out, f".lineart-{MARK}-0")
    put(out, {})
    assert names(out) == before


def test_what_was_begun_before_the_machine_was_started_anew_goes_at_once(out):
    before = names(out)
    left_by("another", out, f".lineart-{MARK}-0")
    put(out, {})
    assert names(out) == before


def test_on_a_disk_without_locks_what_was_begun_stays_for_a_day(out, monkeypatch, later):
    def refuse(number, how):
        raise OSError(95, "Operation not supported")

    before = names(out)
    left_by(unfinished.machine(), out, f".lineart-{MARK}-0")
    monkeypatch.setattr(fcntl, "flock", refuse)
    put(out, {})
    assert (out / f".lineart-{MARK}-0").exists()
    later()
    put(out, {})
    assert names(out) == before


# Its cost


def test_nothing_is_written_where_no_file_is(out):
    with Place(out) as place:
        assert place.find("deep/mine") is not None
        assert not (out / SIGN).exists()


def test_a_checkout_does_not_take_the_record_for_something_to_be_cleared(log, tmp_path):
    folder = log("v", {"a": b"1"}).checkout(tmp_path / "out")
    log("v", {"a": b"2"}).checkout(folder)
    killed(folder, "a")
    with Place(folder) as place:
        assert strays(place, {"a", ".lineart-checkout"}) == []
    assert names(folder) == [".lineart-checkout", "a"]


def test_records_are_of_few_bytes():
    record = unfinished.Record(MARK, "here", ["", "deep/\udce4", "x\ny"])
    assert unfinished.Record.parse(record.pack()) == record
    assert unfinished.Record.parse(record.pack()[:-1]) == record._replace(folders=["", "deep/\udce4"])
    assert unfinished.Record.parse(b"") is None


@pytest.mark.parametrize("what", ["notes", "link", "pipe"])
def test_what_is_no_lock_file_is_not_taken_for_one(tmp_path, what):
    root, lock, mine = tmp_path / "out", tmp_path / ".out.lineart-lock", tmp_path / "mine"
    mine.write_bytes(b"my work")
    if what == "link":
        os.link(mine, lock)
    elif what == "pipe":
        os.mkfifo(lock)
    else:
        shutil.copy(mine, lock)
    with pytest.raises(Conflict, match=r"is no lock file, and the lock of .*out is to be there"), locked(root):
        pass
    assert (lock.exists(), mine.read_bytes()) == (True, b"my work")


def test_a_lock_file_that_a_crash_of_the_machine_left_is_one(tmp_path):
    (tmp_path / ".out.lineart-lock").write_bytes(bytes(64))
    put(tmp_path / "out", {"a": [b"1"]})
    assert names(tmp_path) == ["out", "out/a"]


def test_a_record_of_countless_folders_is_none():
    data = unfinished.Record(MARK, "here", ["", "a", "b"]).pack()
    assert unfinished.Record.parse(data) is not None
    assert unfinished.Record.parse(data + bytes(1 << 20)) is None
