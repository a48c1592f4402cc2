"""A draft on its way to a version: sources that change under it, and what is asked of it meanwhile."""

from __future__ import annotations

import os
import threading
import warnings

import msgspec
import pytest

import lineart
from lineart.artifacts.source import file_source
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run
from lineart.storage.errors import Conflict, Frozen, InvalidInput, SourceChanged, StoreUnavailable


def change_unseen(path, data):
    """Give a file other bytes of the same length and its old mtime, once the clock of its folder has gone on."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize("size", [1000, 3 << 20])
@pytest.mark.parametrize("way", ["file", "folder"])
def test_a_source_of_the_same_size_and_mtime_that_was_changed_is_found_out(store, tmp_path, size, way):
    path = tmp_path / "in" / "weights"
    path.parent.mkdir()
    path.write_bytes(b"A" * size)
    draft = lineart.Artifact("data", type="t")
    if way == "file":
        draft.add_file(path)
    else:
        draft.add_dir(path.parent)
    change_unseen(path, b"B" * size)
    with pytest.raises(SourceChanged, match="weights changed since it was added; nothing was logged"):
        store.log(draft)
    assert store.collections() == []
    draft.add_file(path, overwrite=True)
    assert store.log(draft).read_bytes("weights") == b"B" * size


def test_any_part_of_an_identity_tells_a_file_from_another(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a")
    source = file_source(str(path), path.stat())
    assert source.matches(path.stat())
    for name in ("size", "mtime", "changed_at", "inode", "device"):
        assert not msgspec.structs.replace(source, **{name: getattr(source, name) + 1}).matches(path.stat()), name


def test_what_is_asked_of_a_draft_while_it_is_logged_is_a_conflict(new_store, hooked, tmp_path):
    """Adding, removing, and logging it once more: all of it would be lost without a word."""
    store = new_store(hooked)
    draft = lineart.Artifact("data", type="t")
    draft.add_bytes(b"one", "a")
    (tmp_path / "f").write_bytes(b"f")
    asked = (
        lambda: draft.add_bytes(b"two", "b"),
        lambda: draft.add_file(tmp_path / "f"),
        lambda: draft.add_dir(tmp_path, ignore=["*.db*"]),
        lambda: draft.remove("a"),
        lambda: draft.new_file("c").__enter__(),
        lambda: store.log(draft),
    )
    refused = []

    def meanwhile():
        for ask in asked:
            try:
                ask()
            except Conflict as error:
                refused.append(str(error))

    def on_put(key):
        if key.startswith("packs/"):
            hooked.on_put = None
            other = threading.Thread(target=meanwhile)
            other.start()
            other.join()

    hooked.on_put = on_put
    with draft.new_file("late") as file:
        file.write("in time")
    logged = store.log(draft)
    assert len(refused) == len(asked)
    assert all("is being logged" in one for one in refused)
    assert [entry.path for entry in logged.files()] == ["a", "late"]
    with pytest.raises(Frozen, match="new_draft"):
        draft.add_bytes(b"two", "b")


def test_a_draft_whose_log_failed_takes_more_and_is_logged_again(new_store, hooked):
    store = new_store(hooked)
    draft = lineart.Artifact("data", type="t")
    draft.add_bytes(b"one", "a")

    def refuse(key):
        raise StoreUnavailable("the disk is full")

    hooked.on_put = refuse
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.log(draft)
    hooked.on_put = None
    draft.add_bytes(b"two", "b")
    draft.remove("a")
    assert [entry.path for entry in store.log(draft).files()] == ["b"]


@pytest.mark.parametrize("way", ["new", "emptied"])
def test_a_version_without_files_is_logged_with_a_warning_that_names_it_and_the_caller(store, make, log, way):
    draft = make(files={}, metadata={"rows": 0}) if way == "new" else log(files={"a": b"1"}).new_draft()
    if way == "emptied":
        draft.remove("a")
    with (
        start_run(store, "p", capture=Capture.none(), interval=None) as run,
        pytest.warns(match="without a file") as caught,
    ):
        logged = run.log_artifact(draft, aliases=["clean"])
    assert [str(one.message).partition(" ")[0] for one in caught] == [logged.ref]
    assert (caught[0].category, caught[0].filename) == (UserWarning, __file__)
    assert store.artifact("data:clean").file_count == 0


def test_a_version_with_files_is_logged_without_a_warning(store, make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.log(make(files={"empty": b""}))


@pytest.mark.parametrize("background", [False, True])
def test_a_draft_that_goes_on_from_a_version_of_another_store_is_refused_before_anything_is_uploaded(
    log, tmp_path, background
):
    draft = log("words", files={"a": b"1"}).new_draft()
    draft.add_bytes(b"2", "b")
    with lineart.create(tmp_path / "other") as other:
        run = start_run(other, "p", capture=Capture.none(), interval=None)
        with pytest.raises(InvalidInput, match=r"p/words:v0, .* is in another store: download .*add_dir") as caught:
            run.log_artifact(draft, background=background).wait()
        run.finish()
        assert type(caught.value) is InvalidInput
        assert other.collections() == []
        assert [one.key for one in other.engine.backend.list("") if one.key.startswith(("packs/", "meta/"))] == []
        assert other.check().clean
