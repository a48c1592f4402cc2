"""Repairing a whole store: what versions need is healed from wherever it still is, and the rest is named."""

import contextlib
import json
import random

import pytest
from sqlalchemy import text, update

from lineart.artifacts import losses
from lineart.artifacts.artifact import Artifact
from lineart.lineage.capture import Capture
from lineart.lineage.run import start_run
from lineart.settings import Settings
from lineart.storage.backends.blocks import BlockFolder
from lineart.storage.backends.cache import CachingBackend
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.chunks import ChunkStore
from lineart.storage.engine import Engine
from lineart.storage.errors import InvalidInput, NotFound, StoreUnavailable
from lineart.storage.heal import Healer
from lineart.storage.marks import Marks
from lineart.storage.pack import PackKind
from lineart.storage.tables import PackState, pack
from lineart.store import FOLDS, Store

BIG = random.Random(1).randbytes(3 << 20)
PARTS = 4  # chunks of it, and its recipe
TEXT = b"what shrinks, " * 1000


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request, tmp_path):
    return f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def store(tmp_path, database_url):
    """Two versions of a model, of which `best` is the older, in a bucket with a cache on this machine."""
    bucket = MemoryBackend("bucket")
    cached = CachingBackend(bucket, BlockFolder(tmp_path / "blocks", 1 << 30))
    engine = Engine.create(cached, database_url, actor="ann", folds=FOLDS)
    made = Store(engine, Settings("memory://bucket", None, "p", tmp_path / "downloads"))
    files = {"notes.txt": b"hello", "weights/big.bin": BIG, "same": b"same", "text": TEXT}
    log(made, "model", files, aliases=["best"])
    log(made, "model", files | {"more": b"more"})
    assert made.check(read_data=True).clean
    yield made
    made.close()


def log(store, name, files, **how):
    draft = Artifact(name, type="model")
    for path, content in files.items():
        draft.add_bytes(content, path)
    return store.log(draft, **how)


def content(store, ref="model"):
    return store.artifact(ref)._held().content


def entry(store, path, ref="model"):
    return content(store, ref).entry(path)


def location(store, digest):
    return store.engine.chunks.locate([digest])[digest]


def flip(store, at):
    raw = bytearray(store.engine.backend.get(at.object))
    raw[at.offset] ^= 4
    store.engine.backend.put(at.object, [bytes(raw)])


def read(store, ref, path):
    """Read past the copies on this machine."""
    held = content(store, ref)
    held.chunks = ChunkStore(store.engine.backend, store.engine.database)
    return held.read(path)


def repair(store, **how):
    """Repair twice: the second time there is nothing left to do."""
    found = store.repair_index(**how)
    again = store.repair_index(**how)
    assert again.healed == 0
    assert again.lost == found.lost
    assert again.index.quarantined == []
    return found


def warm(store, ref="model:v0"):
    for one in store.artifact(ref).files():
        one.read_bytes()


def test_a_whole_store_is_left_as_it_is(store):
    before = store.engine.database.store()
    found = repair(store, read_data=True)
    assert (found.whole, found.healed, found.index.added) == (True, 0, 0)
    assert store.engine.database.store() == before


@pytest.mark.parametrize(("path", "content"), [("notes.txt", b"hello"), ("text", TEXT)])
def test_a_damaged_chunk_is_healed_from_the_cache(store, path, content):
    warm(store)
    flip(store, location(store, entry(store, path).digest))
    assert not store.check(read_data=True).clean
    found = repair(store, read_data=True)
    assert (found.whole, found.healed) == (True, 1)
    assert read(store, "model:v0", path) == content
    assert store.check(read_data=True).problems == []


def test_a_pack_that_is_gone_is_healed_from_the_cache(store):
    warm(store)
    at = location(store, entry(store, "weights/big.bin").recipe)
    big = location(store, entry(store, "notes.txt").digest)
    store.engine.backend.delete([at.object, big.object])
    found = repair(store)
    assert found.whole
    assert found.healed == PARTS + 4  # the small files, and the list
    for ref in ("model:v0", "model:v1"):
        assert read(store, ref, "weights/big.bin") == BIG
    assert store.check(read_data=True).problems == []


def test_a_pack_that_was_set_aside_unread_still_heals(store):
    at = location(store, entry(store, "text").digest)
    raw = bytearray(store.engine.backend.get(at.object))
    raw[-1] ^= 1
    store.engine.backend.put(at.object, [bytes(raw)])
    aside = update(pack).where(pack.c.id == at.pack).values(state=PackState.QUARANTINED)
    store.engine.database.write(lambda tx: tx.execute(aside))
    assert repair(store).whole
    assert read(store, "model:v0", "text") == TEXT


def test_what_is_not_what_its_digest_says_is_not_stored(store):
    digest = entry(store, "text").digest
    store.engine.database.write(lambda tx: tx.execute(text("DELETE FROM chunk WHERE digest = :d"), {"d": digest}))
    with Healer(store.engine, {}) as healer:
        assert not healer.offer(digest, b"something else", PackKind.DATA)
        assert healer.heal_from_copies([digest]) == set()
        assert healer.offer(digest, TEXT, PackKind.DATA)
    assert healer.healed == 1
    assert read(store, "model:v0", "text") == TEXT


def test_wrong_bytes_in_the_cache_heal_nothing(store, tmp_path):
    warm(store)
    at = location(store, entry(store, "notes.txt").digest)
    flip(store, at)
    for number in range(4):  # what a cache holds of the damaged object is damaged, too
        store.engine.chunks.backend.blocks.drop(at.object)
        store.engine.chunks.backend.get(at.object, number << 20, 1)
    found = repair(store, read_data=True)
    assert found.healed == 0
    assert {one.path for one in found.lost} == {"notes.txt"}


def test_without_a_cache_what_is_lost_is_named_promoted_versions_first(store):
    flip(store, location(store, entry(store, "notes.txt").digest))
    store.promote("model:v1", "production")
    log(store, "other", {"x": b"hello"})
    found = repair(store, read_data=True)
    assert [(one.version, one.path) for one in found.lost] == [
        ("p/model:v0", "notes.txt"),
        ("p/model:v1", "notes.txt"),
        ("p/other:v0", "x"),
    ]
    assert found.lost[1].aliases == ("latest", "production")
    report = store.check()
    assert report.lost == found.lost
    assert "production" in next(one.what for one in report.problems if one.where == "p/model:v1/notes.txt")


def test_files_of_a_folder_heal_what_was_lost_and_nothing_else_is_stored(store, tmp_path):
    (tmp_path / "here" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "deep" / "renamed").write_bytes(BIG)
    (tmp_path / "here" / "n").write_bytes(b"hello")
    (tmp_path / "here" / "secret").write_bytes(b"never stored" * 1000)
    (tmp_path / "here" / "large").write_bytes(random.Random(2).randbytes(3 << 20))
    at = location(store, entry(store, "notes.txt").digest)
    assert location(store, entry(store, "weights/big.bin").recipe).object != at.object
    store.engine.backend.delete([at.object])
    found = repair(store, sources=tmp_path / "here")
    assert {one.path for one in found.lost} == {"same", "text"}
    assert found.healed == PARTS
    assert read(store, "model:v1", "weights/big.bin") == BIG
    assert b"never stored" not in b"".join(
        store.engine.backend.get(one.key) for one in store.engine.backend.list("packs/")
    )


def test_a_lost_recipe_is_made_again_from_the_file(store, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "big").write_bytes(BIG)
    flip(store, location(store, entry(store, "weights/big.bin").recipe))
    found = repair(store, sources=tmp_path / "here")
    assert (found.whole, found.healed) == (True, 1)
    assert read(store, "model:v0", "weights/big.bin") == BIG


def test_a_folder_that_is_not_there_is_refused_before_anything_is_done(store, tmp_path):
    flip(store, location(store, entry(store, "notes.txt").digest))
    with pytest.raises(NotFound):
        store.repair_index(tmp_path / "absent", read_data=True)
    assert location(store, entry(store, "notes.txt").digest)


def test_a_lost_page_is_named_and_what_lies_behind_one_that_came_back_is_healed_too(store):
    warm(store)
    root, notes = content(store, "model:v0").manifest.root, entry(store, "notes.txt").digest
    flip(store, location(store, root))
    flip(store, location(store, notes))
    found = repair(store, read_data=True)
    assert (found.whole, found.healed) == (True, 2)
    for one in store.engine.backend.list(""):  # the damaged copy's good bytes are still on this machine, too
        store.engine.chunks.backend.blocks.drop(one.key)
    flip(store, location(store, root))
    found = repair(store, read_data=True)
    assert [(one.version, one.path) for one in found.lost] == [("p/model:v0", None)]
    assert "list of files" in found.lost[0].what


def test_logging_the_good_content_again_heals(store):
    flip(store, location(store, entry(store, "notes.txt").digest))
    assert not repair(store, read_data=True).whole
    log(store, "again", {"notes.txt": b"hello"})
    assert repair(store).whole
    assert read(store, "model:v0", "notes.txt") == b"hello"


def test_chunks_that_only_purged_versions_needed_are_no_loss(store):
    log(store, "scrap", {"x": b"only here"})
    flip(store, location(store, entry(store, "x", "scrap").digest))
    store.delete("scrap:v0")
    assert [one.version for one in repair(store, read_data=True).lost] == ["p/scrap:v0"]
    store.engine.database.write(lambda tx: tx.execute(text("UPDATE version SET state = 'purged' WHERE deleted > 0")))
    assert repair(store, read_data=True).whole


def test_chunks_that_runs_name_are_healed_or_counted(store):
    capture = Capture.none()
    with start_run(store, "p", capture=capture, interval=None) as run:
        run.summary["a"] = 1
    digest = store.engine.put_blobs([b"some package==1"], lambda tx, digests: digests[0])
    data = json.dumps({"environment": {"packages": [f"b3:{digest.hex()}"]}}, separators=(",", ":"))
    store.engine.database.write(
        lambda tx: tx.execute(text("UPDATE event SET data = :d WHERE kind = 'run.started'"), {"d": data})
    )
    flip(store, location(store, digest))
    found = repair(store, read_data=True)
    assert (found.named, found.whole) == (1, False)
    assert any(one.where == "runs" for one in store.check().problems)


def test_a_share_of_the_bytes_is_read_and_the_seed_is_told(store):
    report = store.check(read_data=0.01)
    assert report.seed is not None
    assert 0 < report.read_bytes < report.pack_bytes
    same = store.check(read_data=0.01, seed=report.seed)
    assert same.read_bytes == report.read_bytes
    assert store.check(read_data=True).seed is None
    for share in (1.5, -1):
        with pytest.raises(InvalidInput):
            store.check(read_data=share)
        with pytest.raises(InvalidInput):
            store.repair_index(read_data=share)


def test_a_list_of_losses_that_is_too_long_is_cut_off_and_counted(store):
    log(store, "more", {f"{n}": b"hello" for n in range(9)})
    flip(store, location(store, entry(store, "notes.txt").digest))
    repair(store, read_data=True)
    with Marks() as seen, Marks() as lost:
        found = losses.Losses(store.engine.chunks, seen, lost, most=2)
        found.walk(store.resolve("more"))
        assert len(list(lost)) == 1
    assert (len(found.found), found.more) == (2, 7)


def test_each_page_is_read_once_whatever_the_number_of_versions(store):
    files = {f"{n:05}": b"%d" % n for n in range(5000)}
    log(store, "many", files)
    for turn in range(4):
        draft = store.artifact("many").new_draft()
        draft.add_bytes(b"turn %d" % turn, "00007", overwrite=True)
        store.log(draft)
    asked = []

    class Counting(ChunkStore):
        def get_many(self, digests):
            asked.extend(digests)
            return super().get_many(digests)

    with Marks() as seen, Marks() as lost:
        found = losses.Losses(Counting(store.engine.backend, store.engine.database), seen, lost)
        versions = store.versions("many")
        for one in versions:
            found.walk(one)
    pages = {one for version in versions for one in content(store, version.ref).manifest.pages()}
    assert found.found == []
    assert len(asked) <= len(pages) + len(versions)  # the roots are asked for their totals


def test_a_loss_in_a_page_that_versions_share_is_named_for_each(store):
    log(store, "many", {f"{n:05}": b"%d" % n for n in range(3000)})
    draft = store.artifact("many").new_draft()
    draft.add_bytes(b"changed", "00001", overwrite=True)
    store.log(draft)
    flip(store, location(store, entry(store, "02000", "many").digest))
    found = repair(store, read_data=True)
    assert [one.where for one in found.lost] == ["p/many:v1/02000", "p/many:v0/02000"] or [
        one.where for one in found.lost
    ] == ["p/many:v0/02000", "p/many:v1/02000"]


@pytest.mark.slow
@pytest.mark.parametrize("dies", [True, False])
def test_a_repair_that_stops_at_any_operation_is_finished_by_the_next(tmp_path, faults, dies):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "n").write_bytes(b"hello")

    def play(number):
        backend = faults.FaultBackend(MemoryBackend("b"))
        engine = Engine.create(backend, f"sqlite:///{tmp_path}/{number}-{dies}.db", actor="ann", folds=FOLDS)
        with Store(engine, Settings("memory://b", None, "p", tmp_path / "downloads")) as store:
            log(store, "model", {"notes.txt": b"hello", "big": BIG})
            log(store, "other", {"x": b"another"})
            flip(store, location(store, entry(store, "notes.txt").digest))
            raw = bytearray(backend.get(broken := location(store, entry(store, "x", "other").digest).object))
            raw[-1] ^= 1
            backend.put(broken, [bytes(raw)])
            start = backend.count
            if dies and number:
                backend.dead_from = start + number
            elif number:
                backend.faults = {start + number: faults.Fault.FAIL_AFTER}
            with contextlib.suppress(StoreUnavailable):
                assert store.repair_index(tmp_path / "here", read_data=True).whole
                assert not dies or not number
            backend.revive()
            count = backend.count - start
            assert store.repair_index(tmp_path / "here", read_data=True).whole, number
            assert read(store, "model:v0", "notes.txt") == b"hello"
            assert read(store, "other:v0", "x") == b"another"
            assert store.check(read_data=True).problems == []
            return count

    for number in range(1, play(0) + 1):
        play(number)
