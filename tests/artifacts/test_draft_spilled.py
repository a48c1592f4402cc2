"""A draft that does not fit in memory: it says and yields what one does that fits."""

from __future__ import annotations

import os
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lineart
from lineart.artifacts.commit import CHANGES
from lineart.artifacts.draft import Draft
from lineart.artifacts.source import BytesSource, file_source
from lineart.storage.errors import Conflict, InvalidName, LineartError, NotFound

paths = st.sampled_from(["a", "a/x", "a/x/y", "a-b", "b", "b/c", "c", "é/1"])
contents = st.sampled_from([b"1", b"2"]).map(BytesSource)


def put(draft, *names, content=b"", overwrite=False):
    for name in names:
        draft.add(name, BytesSource(content), overwrite=overwrite)


def content(draft):
    return [(path, source.data) for path, source in draft.ordered()]


@pytest.fixture
def small(tmp_path):
    """A draft that holds two sources in memory."""
    draft = Draft(limit=2, folder=str(tmp_path))
    yield draft
    assert not list(tmp_path.iterdir())
    draft.close()


class Model:
    """What a draft holds, and what is still to be complained of: a path's contents since the last that replaced."""

    def __init__(self):
        self.held: dict[str, list[BytesSource]] = {}

    def add(self, path, source, overwrite):
        known = [] if overwrite else self.held.get(path, [])
        self.held[path] = [*known, source]

    def remove(self, path):
        gone = [one for one in self.held if one == path or one.startswith(path + "/")]
        for one in gone:
            del self.held[one]
        return bool(gone)

    def fault(self):
        if any(len(set(sources)) > 1 for sources in self.held.values()):
            return Conflict
        if any(a != b and b.startswith(a + "/") for a in self.held for b in self.held):
            return InvalidName
        return None


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), paths, contents, st.booleans()),
        st.tuples(st.just("add_all"), st.dictionaries(paths, contents, max_size=6), st.booleans()),
        st.tuples(st.just("remove"), paths),
        st.tuples(st.just("read")),
    ),
    max_size=14,
)


@settings(max_examples=300, deadline=None)
@given(steps, st.integers(1, 4))
def test_whatever_is_done_to_it_a_small_draft_is_as_one_that_holds_everything(steps, limit):
    """Each step that one in memory refuses, the small one refuses at once or when it is read; else both are equal."""
    whole, small, model = Draft(), Draft(limit=limit), Model()
    for what, *given_ in steps:
        if what == "read":
            agree(whole, small, model)
            continue
        before = dict(whole.ordered())
        raised = [tried(draft, what, given_) for draft in (small, whole)]
        if raised[0] is not None:
            assert raised[1] is not None, "refused without a reason"
        if raised[1] is not None and raised[0] is None:
            # the small one took what is wrong: from here on it may only be put right, or complain
            follow(model, what, given_)
            assert model.fault() is not None
            assert tried(small, "ordered", []) in {Conflict, InvalidName}
            return
        if raised[1] is None:
            follow(model, what, given_)
        else:
            assert what != "add" or dict(whole.ordered()) == before
            if what == "add_all":
                return  # some of it was added before the one that was refused
    agree(whole, small, model)
    whole.close()
    small.close()


def follow(model, what, given_):
    if what == "add":
        model.add(*given_)
    elif what == "add_all":
        for path, source in given_[0].items():
            model.add(path, source, given_[1])
    else:
        model.remove(*given_)


def tried(draft, what, given_):
    """Do a step and return the class of what it raised."""
    try:
        if what == "add":
            draft.add(given_[0], given_[1], overwrite=given_[2])
        elif what == "add_all":
            draft.add_all(iter(given_[0].items()), overwrite=given_[1])
        elif what == "remove":
            draft.remove(given_[0])
        else:
            list(draft.ordered())
    except LineartError as error:
        return type(error)
    return None


def agree(whole, small, model):
    assert model.fault() is None
    expected = [(path, model.held[path][-1].data) for path in sorted(model.held)]
    assert content(whole) == content(small) == content(small) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(paths, contents, st.booleans()), max_size=20), st.integers(1, 5), paths)
def test_what_is_wrong_past_the_limit_is_said_when_it_is_read_until_it_is_put_right(adds, limit, removed):
    """The small draft may take what a large one refuses; what it says of it when it is read is what it deserves."""
    small, model = Draft(limit=limit), Model()
    for path, source, overwrite in adds:
        if tried(small, "add", [path, source, overwrite]) is None:
            model.add(path, source, overwrite)
    faults = {None} if model.fault() is None else {Conflict, InvalidName}
    assert tried(small, "ordered", []) in faults
    assert tried(small, "remove", [removed]) is (None if model.remove(removed) else NotFound)
    if model.fault() is None:
        agree(small, small, model)
    else:
        assert tried(small, "ordered", []) in {Conflict, InvalidName}
    small.close()


def test_other_content_is_a_conflict_that_names_both_when_it_is_read(small, tmp_path_factory):
    file = tmp_path_factory.mktemp("in") / "f"
    file.write_bytes(b"other")
    put(small, "a", "b", "c")
    small.add("a", file_source(str(file), file.stat()))
    put(small, "d", "e")
    with pytest.raises(Conflict, match=r"'a' is in the draft with other content, from 0 bytes in memory and now from"):
        next(small.ordered())
    put(small, "a", content=b"third", overwrite=True)
    assert dict(content(small))["a"] == b"third"


def test_equal_content_is_none_though_it_comes_from_elsewhere(small, tmp_path_factory):
    file = tmp_path_factory.mktemp("in") / "f"
    file.write_bytes(b"")
    put(small, "a", "b", "c")
    small.add("a", file_source(str(file), file.stat()))
    put(small, "d", "e")
    assert [path for path, _ in small.ordered()] == ["a", "b", "c", "d", "e"]


def test_what_was_overwritten_in_memory_replaces_what_is_on_disk(small):
    put(small, "a", "b", "c", content=b"old")
    put(small, "a", content=b"new", overwrite=True)
    put(small, "a", content=b"new")
    put(small, "d", "e")
    assert dict(content(small))["a"] == b"new"


def test_many_that_overwrite_replace_what_is_on_disk(small):
    put(small, "x/a", "x/b", "c", content=b"old")
    small.add_all([("x/b", BytesSource(b"new"))], overwrite=True)
    small.add_all([("x/a", BytesSource(b"new")), ("x/d", BytesSource(b"new")), ("y", BytesSource(b""))], overwrite=True)
    assert content(small) == [("c", b"old"), ("x/a", b"new"), ("x/b", b"new"), ("x/d", b"new"), ("y", b"")]


def test_siblings_that_overwrite_replace_what_is_on_disk(tmp_path):
    draft = Draft(limit=4, folder=str(tmp_path))
    put(draft, "x/a", "x/b", "x/c", "x/d", "y", content=b"old")
    draft.add_all([(f"x/{name}", BytesSource(b"new")) for name in "abc"], overwrite=True)
    assert [data for _, data in content(draft)] == [b"new", b"new", b"new", b"old", b"old"]
    draft.close()


def test_what_goes_to_the_disk_at_once_replaces_what_is_in_memory(small):
    put(small, "b", content=b"old")
    small.add_all([(name, BytesSource(b"new")) for name in "cba"], overwrite=True)
    put(small, "c", content=b"newest", overwrite=True)
    assert content(small) == [("a", b"new"), ("b", b"new"), ("c", b"newest")]


def test_a_path_that_is_file_and_folder_is_refused_when_it_is_read(small):
    put(small, "a", "b", "c", "d", "a/x")
    with pytest.raises(InvalidName, match="'a' is a file and also the folder of 'a/x'"):
        next(small.ordered())
    small.remove("a/x")
    assert [path for path, _ in content(small)] == ["a", "b", "c", "d"]


def test_what_is_removed_is_gone_from_the_disk_too_and_may_come_again(small):
    put(small, "a/1", "a/2", "b", "a/3", "ab")
    small.remove("a")
    with pytest.raises(NotFound):
        small.remove("a")
    assert [path for path, _ in content(small)] == ["ab", "b"]
    put(small, "a", content=b"a file now")
    put(small, "c", "d")
    assert content(small)[0] == ("a", b"a file now")


def test_a_walk_that_fails_past_the_limit_adds_nothing(small, tmp_path):
    def failing():
        yield from ((f"{number}", BytesSource(b"")) for number in range(9))
        raise OSError("the source vanished")

    put(small, "0", content=b"kept")
    with pytest.raises(OSError, match="vanished"):
        small.add_all(failing())
    assert content(small) == [("0", b"kept")]


def test_a_walk_past_the_limit_with_a_name_outside_the_rules_adds_nothing(small):
    with pytest.raises(InvalidName):
        small.add_all((name, BytesSource(b"")) for name in ("a", "b", "c", "../d"))
    assert content(small) == []


def test_a_folder_with_more_files_than_fit_is_added_in_order(tmp_path):
    root = tmp_path / "in"
    names = ("b", "a/2", "a/1", "a-b", "é")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    artifact = lineart.Artifact("x")
    artifact._draft = Draft(limit=2)
    artifact.add_dir(root, "top")
    artifact.add_dir(root, "top")
    assert [path for path, _ in artifact.take_draft().ordered()] == [f"top/{name}" for name in sorted(names)]
    assert artifact.take_draft().totals() == (10, 2 * sum(len(name.encode()) for name in names))
    os.mkfifo(root / "z")
    with pytest.raises(LineartError):
        artifact.add_dir(root, "again")
    assert {path.split("/")[0] for path, _ in artifact.take_draft().ordered()} == {"top"}


def test_a_spilled_draft_is_logged_and_so_is_one_on_its_version(store):
    first = lineart.Artifact("data", type="t")
    first._draft = Draft(limit=3)
    for number in range(20):
        first.add_bytes(b"%d" % number, f"{number:02d}")
    twin = lineart.Artifact("twin", type="t")
    for number in range(20):
        twin.add_bytes(b"%d" % number, f"{number:02d}")
    logged = store.log(first)
    assert logged.digest == store.log(twin).digest
    assert logged.read_bytes("07") == b"7"
    draft = logged.new_draft()
    draft._draft._limit = 2
    draft.remove("03")
    for number in range(5, 12):
        draft.add_bytes(b"new", f"{number:02d}")
    again = store.log(draft)
    assert again.file_count == 19
    assert [again.read_bytes(f"{number:02d}") for number in (4, 5, 11, 12)] == [b"4", b"new", b"new", b"12"]


@pytest.mark.slow
def test_more_changes_to_a_version_than_memory_should_hold_make_the_same_version(store):
    def fill(name):
        artifact = lineart.Artifact(name, type="t")
        artifact.take_draft().add_all((f"new/{number:06d}", BytesSource(b"")) for number in range(CHANGES + 1))
        return artifact

    def kept(artifact, names):
        for name in names:
            artifact.add_bytes(name.encode(), name)
        return artifact

    base = store.log(kept(lineart.Artifact("data", type="t"), ["a", "b/1", "b/2", "new/000007", "z"]))
    draft = base.new_draft()
    draft.remove("b")
    draft.take_draft().add_all(fill("data").take_draft().ordered())
    bigger = store.log(draft)
    assert bigger.digest == store.log(kept(fill("scratch"), ["a", "z"])).digest
    draft = bigger.new_draft()
    draft.remove("new")
    assert store.log(draft).digest == store.log(kept(lineart.Artifact("small", type="t"), ["a", "z"])).digest


def test_what_is_wrong_with_the_draft_is_said_before_anything_is_read_or_written(store):
    artifact = lineart.Artifact("data", type="t")
    artifact._draft = Draft(limit=2)
    for number in range(9):
        artifact.add_bytes(b"%d" % number, f"{number}")
    for name in ("0", "1", "z"):
        artifact.add_bytes(b"other", name)
    with pytest.raises(Conflict, match="'0' is in the draft with other content"):
        store.log(artifact)
    assert store.collections() == []
    artifact.remove("0")
    with pytest.raises(Conflict, match="'1'"):
        store.log(artifact)
    artifact.add_bytes(b"1", "1", overwrite=True)
    assert store.log(artifact).file_count == 9


def test_a_closed_draft_has_no_file_open(small):
    put(small, "a", "b", "c")
    small.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        content(small)


def test_many_threads_may_fill_it(small):
    def fill(which):
        for number in range(200):
            put(small, f"{which}/{number:03d}")

    threads = [threading.Thread(target=fill, args=(which,)) for which in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [path for path, _ in content(small)] == [f"{w}/{n:03d}" for w in range(4) for n in range(200)]


def test_a_full_disk_is_said_and_what_was_there_stays(tmp_path, small_disk):
    draft = Draft(limit=20, folder=str(tmp_path))
    noise = random.Random(1)
    said = [None]
    with small_disk(1 << 16):
        while said[-1] is None:
            said.append(tried(draft, "add", [f"{len(said) - 1:03d}", BytesSource(noise.randbytes(2000)), False]))
    assert said[-1] is Conflict
    added = [path for path, _ in draft.ordered()]
    assert added == [f"{number:03d}" for number in range(len(added))]
    assert len(added) == len(said) - 2 > 20
    with small_disk(1 << 16), pytest.raises(Conflict, match="TMPDIR"):
        draft.add_all((f"x{number:03d}", BytesSource(noise.randbytes(2000))) for number in range(100))
    assert [path for path, _ in draft.ordered()] == added
    put(draft, "more")
    assert len(content(draft)) == len(added) + 1
    draft.close()
    assert not list(tmp_path.iterdir())
