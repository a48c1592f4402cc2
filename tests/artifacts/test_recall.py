"""A folder logged again: what is unchanged is not read, and nothing that is believed can be wrong."""

import os

import pytest
from blake3 import blake3

import lineart
from lineart.artifacts.content import Content
from lineart.artifacts.fetching import chunks_of
from lineart.artifacts.recall import Recall
from lineart.artifacts.stat_cache import Known, Origin, StatCache
from lineart.artifacts.tree import walk_tree
from lineart.lineage.run import draft_of
from lineart.storage.errors import SourceChanged

MIB = 1 << 20


def noise(size, seed=b"0"):
    return blake3(seed).digest(length=size)


@pytest.fixture
def folder(tmp_path, settle):
    """A folder of small files and one large one."""
    root = tmp_path / "data"
    (root / "deep" / "er").mkdir(parents=True)
    for number in range(20):
        (root / "deep" / f"{number:02d}").write_bytes(noise(500 + number, b"%d" % number))
    (root / "deep" / "er" / "empty").touch()
    (root / "large").write_bytes(noise(5 * MIB))
    settle()
    return root


@pytest.fixture
def store(new_store, tmp_path):
    made = new_store()
    made.stat_cache = StatCache(tmp_path / "stat")
    return made


def log(store, folder, name="data", **options):
    draft = lineart.Artifact(name, type="dataset")
    draft.add_dir(folder, **options)
    return store.log(draft)


def contents(version):
    return {entry.path: entry.read_bytes() for entry in version.files()}


def on_disk(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_logged_again_is_not_read(store, folder, opened_below):
    with opened_below(folder) as first:
        version = log(store, folder)
    assert len(first) == 22
    with opened_below(folder) as second:
        again = log(store, folder)
    assert second == []
    assert again.version == version.version
    assert contents(again) == on_disk(folder)


def test_only_what_changed_is_read_and_then_remembered(store, folder, opened_below, settle):
    log(store, folder)
    (folder / "deep" / "07").write_bytes(b"another content")
    (folder / "new").write_bytes(b"new")
    (folder / "deep" / "01").unlink()
    settle()
    with opened_below(folder) as opened:
        version = log(store, folder)
    assert opened == [f"{folder}/deep/07", f"{folder}/new"]
    assert contents(version) == on_disk(folder)
    with opened_below(folder) as opened:
        log(store, folder)
    assert opened == []


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_read(store, folder):
    path = folder / "deep" / "03"
    log(store, folder)
    before = path.stat()
    path.write_bytes(noise(503, b"other"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert contents(log(store, folder)) == on_disk(folder)
    (folder / "twin").write_bytes(noise(503, b"third"))
    os.utime(folder / "twin", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(folder / "twin", path)
    assert contents(log(store, folder)) == on_disk(folder)


def test_what_was_read_in_the_very_tick_of_its_change_is_not_remembered(folder, tmp_path):
    cache = StatCache(tmp_path / "stat")
    files = [source for _, source in walk_tree(str(folder))]
    recall = Recall(cache, {str(folder): True})
    for file in files[1:]:
        recall.learn(file, Known(bytes(32)), file.changed_at + 1)
    recall.learn(files[0], Known(bytes(32)), files[0].changed_at)
    recall.save(lambda: [("", file) for file in files], Origin("0" * 32, "p/data:v0", bytes(32)))
    assert [one is not None for one in Recall(cache, {str(folder): True}).find(files)] == [False] + [True] * 21


def test_a_change_between_add_and_log_is_an_error_whether_it_was_known_or_not(store, folder):
    log(store, folder)
    draft = lineart.Artifact("data", type="dataset")
    draft.add_dir(folder)
    (folder / "deep" / "05").write_bytes(b"changed")
    with pytest.raises(SourceChanged, match="deep/05"):
        store.log(draft)
    draft = lineart.Artifact("data", type="dataset")
    draft.add_dir(folder)
    (folder / "large").unlink()
    with pytest.raises(SourceChanged, match="large"):
        store.log(draft)


def test_what_one_call_adds_and_logs_is_what_it_was_when_it_was_added(store, folder):
    known, changed = log(store, folder), draft_of(folder, "data", "dataset")
    before = on_disk(folder)
    (folder / "deep" / "05").write_bytes(b"changed")
    (folder / "large").unlink()
    again = store.log(changed)
    assert (again.version, contents(again)) == (known.version, before)


def test_work_that_is_done_again_looks_at_what_one_call_added(store, folder, monkeypatch):
    log(store, folder)
    tries = []

    def insist(work):
        tries.append(work())
        (folder / "deep" / "05").write_bytes(b"changed")
        tries.append(work())

    monkeypatch.setattr(store.engine, "insist", insist)
    with pytest.raises(SourceChanged, match="deep/05"):
        store.log(draft_of(folder, "data", "dataset"))
    assert len(tries) == 1


def test_what_one_call_adds_and_nobody_knows_must_be_what_was_added(store, folder):
    draft = draft_of(folder, "data", "dataset")
    (folder / "deep" / "05").write_bytes(b"changed")
    with pytest.raises(SourceChanged, match="deep/05"):
        store.log(draft)


def test_content_that_the_store_lost_is_read_and_stored_again(store, folder, opened_below):
    version = log(store, folder)
    small = noise(500 + 9, b"9")
    chunks = store.engine.chunks
    for location in chunks.copies([blake3(small).digest()]):
        chunks.forget(location)
    with opened_below(folder) as opened:
        log(store, folder)
    assert opened == [f"{folder}/deep/09"]
    assert contents(store.artifact(version.ref)) == on_disk(folder)


@pytest.mark.parametrize("lost", ["piece", "recipe", "damaged recipe"])
def test_a_large_file_of_which_anything_is_lost_is_read_again(new_store, hooked, tmp_path, folder, lost, opened_below):
    store = new_store(hooked)
    store.stat_cache = StatCache(tmp_path / "stat")
    version = log(store, folder)
    entry = Content(version.record.digest, store.engine.chunks).entry("large")
    chunks = store.engine.chunks
    if lost == "damaged recipe":
        (place,) = chunks.copies([entry.recipe])
        pack = bytearray(hooked.get(place.object))
        pack[place.offset] ^= 1
        hooked.replace(place.object, bytes(pack))
    else:
        digest = entry.recipe if lost == "recipe" else next(chunks_of(entry, chunks))[0]
        for location in chunks.copies([digest]):
            chunks.forget(location)
    with opened_below(folder) as opened:
        log(store, folder)
    assert opened == [f"{folder}/large"]
    assert store.artifact(version.ref).read_bytes("large") == (folder / "large").read_bytes()


def test_another_store_is_given_what_it_does_not_have(store, new_store, folder, tmp_path, opened_below):
    log(store, folder)
    other = new_store()
    other.stat_cache = StatCache(tmp_path / "stat")
    with opened_below(folder) as opened:
        version = log(other, folder)
    assert len(opened) == 21  # all but the empty one, which has no content to be stored
    assert contents(version) == on_disk(folder)


def test_files_added_one_by_one_are_remembered_beside_each_other(store, folder, opened_below):
    def log_one(name):
        draft = lineart.Artifact(f"only-{name}", type="dataset")
        draft.add_file(folder / "deep" / name)
        store.log(draft)

    log_one("01")
    log_one("02")
    with opened_below(folder) as opened:
        log_one("01")
        log_one("02")
    assert opened == []


def test_a_folder_below_a_name_and_several_folders_are_remembered_too(store, folder, tmp_path, opened_below, settle):
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_bytes(b"x")
    settle()

    def log_both():
        draft = lineart.Artifact("both", type="dataset")
        draft.add_dir(folder, name="train")
        draft.add_dir(other, name="test")
        return store.log(draft)

    log_both()
    with opened_below(tmp_path) as opened:
        version = log_both()
    assert [one for one in opened if one.startswith((str(folder), str(other)))] == []
    assert contents(version) == {
        **{f"train/{path}": data for path, data in on_disk(folder).items()},
        "test/x": b"x",
    }


def test_the_version_that_a_folder_became_is_remembered_only_where_it_is_all_of_it(store, folder):
    version = log(store, folder)
    origin = store.stat_cache.load(str(folder)).origin
    assert (origin.store, origin.ref, origin.digest) == (store.id, version.ref, bytes(version.digest))
    log(store, folder, name="below", ignore=["large"])
    assert store.stat_cache.load(str(folder)).origin.ref == "p/below:v0"
    draft = lineart.Artifact("data", type="dataset")
    draft.add_dir(folder, name="train")
    store.log(draft)
    assert store.stat_cache.load(str(folder)).origin is None


def test_an_executable_bit_that_changed_is_noticed_without_reading_more_than_that_file(
    store, folder, opened_below, settle
):
    log(store, folder)
    (folder / "deep" / "04").chmod(0o755)
    settle()
    with opened_below(folder) as opened:
        version = log(store, folder)
    assert opened == [f"{folder}/deep/04"]
    assert version.version == "v1"


def test_a_link_in_the_folder_is_known_by_the_file_that_it_leads_to(store, folder, tmp_path, opened_below, settle):
    target = tmp_path / "target"
    target.write_bytes(b"one")
    (folder / "link").symlink_to(target)
    settle()
    log(store, folder)
    with opened_below(folder) as opened:
        log(store, folder)
    assert opened == []
    target.write_bytes(b"two")
    assert contents(log(store, folder))["link"] == b"two"
