"""Deleting versions, bringing them back, and what a collection makes of a store."""

from datetime import timedelta

import pytest
from blake3 import blake3
from sqlalchemy import text

from lineart.artifacts.roots import StoreRoots
from lineart.lineage.capture import Capture, Captured
from lineart.lineage.run import start_run
from lineart.storage.errors import Conflict, IntegrityError, InvalidInput, NotFound
from lineart.storage.gc import Marked
from lineart.storage.marks import Marks

NOW = timedelta(0)


def packs(store):
    return {one.key for one in store.engine.backend.list("") if one.key.startswith(("packs/", "meta/"))}


def age(store, days):
    """Let every deletion lie back so many days."""
    change = text("UPDATE version SET deleted = deleted - :span")
    store.engine.database.write(lambda tx: tx.execute(change, {"span": days * 24 * 3600 * 1_000_000}))


def last_events(store, name, count):
    return [(one.kind, one.data.get("alias"), one.reason) for one in store.history(name)[-count:]]


def run(store, project="p", **options):
    return start_run(store, project, capture=Capture.none(), interval=None, **options)


def test_a_deleted_version_is_a_tombstone_whose_number_is_not_used_again(store, log):
    log("model", {"a": b"1"})
    second = log("model", {"a": b"2"})
    second.delete(reason="wrong labels")
    assert (second.state, [one.state for one in store.versions("model")]) == ("deleted", ["live", "deleted"])
    assert second.record.deleted is not None
    again = log("model", {"a": b"2"})
    assert (again.version, again.state) == ("v2", "live")
    events = [one for one in store.history("model") if one.kind == "version.deleted"]
    assert [(one.data["number"], one.reason, one.actor) for one in events] == [(1, "wrong labels", "ana@here")]


def test_what_a_deleted_version_held_is_not_read_until_it_is_restored(store, log, tmp_path):
    one = log("model", {"a": b"1"})
    held = store.artifact("model:v0")
    one.delete()
    for act in (
        lambda: one.download(tmp_path / "out"),
        lambda: one.read_bytes("a"),
        lambda: list(one.files()),
        one.new_draft,
        lambda: store.artifact("model:v0").open("a"),
    ):
        with pytest.raises(NotFound, match="art restore p/model:v0"):
            act()
    assert held.read_bytes("a") == b"1"  # who had it before goes on
    one.restore()
    assert (one.state, one.read_bytes("a"), one.record.deleted) == ("live", b"1", None)


def test_a_run_cannot_use_what_is_deleted(store, log):
    log("model", {"a": b"1"}).delete()
    with run(store) as training, pytest.raises(NotFound, match="art restore p/model:v0"):
        training.use_artifact("model:v0")


def test_an_alias_keeps_a_version_unless_it_is_forced(store, log):
    log("model", {"a": b"1"}, aliases=["best", "production"])
    log("model", {"a": b"2"})
    with pytest.raises(
        Conflict, match="p/model:v0 is needed: it is best and production; force deletes it all the same"
    ):
        store.delete("model:v0")
    assert store.artifact("model:best").state == "live"
    store.delete("model:v0", force=True, reason="leaked")
    assert last_events(store, "model", 3) == [
        ("alias.removed", "best", "leaked"),
        ("alias.removed", "production", "leaked"),
        ("version.deleted", None, "leaked"),
    ]
    assert store.restore("model:v0").aliases == ()


def test_what_was_made_from_a_version_keeps_it_unless_it_goes_too(store, log):
    log("data", {"a": b"1"})
    with run(store) as training:
        training.use_artifact("data:v0")
        training.log_artifact(_draft("model", {"w": b"2"}))
    with pytest.raises(Conflict, match="p/data:v0 is needed: p/model:v0 was made from it"):
        store.delete("data:v0")
    store.delete("data:v0", "model:v0")
    assert [store.artifact(one).state for one in ("data:v0", "model:v0")] == ["deleted", "deleted"]
    store.restore("data:v0")
    store.delete("data:v0")  # what was made from it is deleted
    graph = store.lineage("model:v0")
    assert "p/data:v0" in graph
    store.restore("data:v0")
    store.restore("model:v0")
    store.delete("data:v0", force=True)


def _draft(name, files):
    from lineart.artifacts.artifact import Artifact

    draft = Artifact(name)
    for path, content in files.items():
        draft.add_bytes(content, path)
    return draft


def test_several_versions_go_all_or_none(store, log):
    log("model", {"a": b"1"}, aliases=["best"])
    log("model", {"a": b"2"})
    with pytest.raises(Conflict):
        store.delete("model:v1", "model:v0")
    assert [one.state for one in store.versions("model")] == ["live", "live"]


def test_latest_moves_to_the_newest_that_is_left_and_back(store, log):
    for n in range(3):
        log("model", {"a": b"%d" % n})
    store.delete("model:v2")
    assert store.resolve("model").number == 1
    store.delete("model:v1")
    assert store.resolve("model").number == 0
    store.restore("model:v1")
    assert store.resolve("model").number == 1
    store.restore("model:v2")
    assert store.resolve("model").number == 2
    store.delete("model:v0", "model:v1", "model:v2")
    with pytest.raises(NotFound):
        store.resolve("model")
    store.restore("model:v2")
    assert store.resolve("model").number == 2
    assert last_events(store, "model", 2)[1] == ("alias.set", "latest", "v2 was restored")


def test_latest_stays_with_what_was_logged_since(store, log):
    log("model", {"a": b"0"})
    log("model", {"a": b"1"})
    store.delete("model:v1")
    log("model", {"a": b"2"})
    store.restore("model:v1")
    assert store.resolve("model").number == 2
    store.delete("model:v0")  # it was latest once, long ago
    store.restore("model:v0")
    assert store.resolve("model").number == 2


def test_deleting_and_restoring_twice_records_nothing(store, log):
    log("model", {"a": b"1"})
    store.restore("model:v0")
    store.delete("model:v0")
    count = len(store.history("model"))
    assert store.delete("model:v0")[0].state == "deleted"
    assert len(store.history("model")) == count


def test_bytes_stay_for_the_grace_period_and_not_longer(store, log):
    log("model", {"a": b"1" * 1000})
    log("kept", {"a": b"2" * 1000})
    before = packs(store)
    store.delete("model:v0")
    assert store.gc().purged == []
    assert packs(store) == before
    age(store, 6)
    assert store.gc().purged == []
    age(store, 1)
    assert [one.ref for one in store.gc(dry_run=True).purged] == ["p/model:v0"]
    assert packs(store) == before
    report = store.gc()
    assert [one.ref for one in report.purged] == ["p/model:v0"]
    assert (report.packs.freed.packs, len(packs(store))) == (2, 2)
    assert store.artifact("kept:v0").read_bytes("a") == b"2" * 1000
    assert last_events(store, "model", 1) == [("version.purged", None, "its grace is over")]
    with pytest.raises(NotFound, match="its grace is over"):
        store.restore("model:v0")
    with pytest.raises(NotFound, match="its bytes are gone"):
        store.artifact("model:v0").read_bytes("a")
    with pytest.raises(InvalidInput):
        store.gc(grace=timedelta(days=-1))


def test_a_version_whose_grace_is_over_comes_back_until_a_collection_took_it(store, log):
    log("model", {"a": b"1"})
    store.delete("model:v0")
    age(store, 100)
    store.restore("model:v0")
    store.gc(grace=NOW)
    assert store.artifact("model:v0").read_bytes("a") == b"1"


def test_a_version_that_somebody_builds_on_is_not_purged(store, log):
    one = log("model", {"a": b"1"})
    with store.engine.session([one.record.digest]):
        store.delete("model:v0")
        assert store.gc(grace=NOW, dry_run=True).purged == []
        assert store.gc(grace=NOW).purged == []
        store.restore("model:v0")
    store.delete("model:v0")
    assert len(store.gc(grace=NOW).purged) == 1


def test_what_somebody_builds_on_is_kept_even_if_it_was_given_up_at_that_moment(store, log):
    one = log("model", {"a": b"1"})
    with store.engine.session([one.record.digest]):
        store.delete("model:v0")
        store.engine.database.write(lambda tx: tx.execute(text("UPDATE version SET state = 'purged'")))
        store.gc(grace=NOW)
        assert store.engine.chunks.get(blake3(b"1").digest()) == b"1"
        assert store.engine.chunks.get(one.record.digest)
    store.gc(grace=NOW)
    assert packs(store) == set()


def test_a_session_that_builds_on_what_is_gone_hinders_nobody_and_is_refused(store, log):
    one = log("model", {"a": b"1"})
    draft = one.new_draft()
    draft.add_bytes(b"2", "b")
    digest = one.record.digest
    store.delete("model:v0")
    store.gc(grace=NOW)
    with store.engine.session([digest]):
        log("other", {"a": b"3"})
        store.gc(grace=NOW)
        assert store.gc(grace=NOW, dry_run=True).packs.freed.packs == 0
    with pytest.raises((Conflict, IntegrityError)):
        store.log(draft)


def test_equal_content_keeps_what_another_version_needs(store, log):
    log("model", {"a": b"1", "b": b"2" * 2000})
    log("other", {"b": b"2" * 2000})
    store.delete("model:v0")
    store.gc(grace=NOW)
    assert store.artifact("other:v0").read_bytes("b") == b"2" * 2000
    assert store.check(read_data=True).problems == []


def test_large_files_keep_all_their_chunks_and_recipes(store, log):
    import random

    big = random.Random(1).randbytes(3 << 20)
    log("model", {"big": big})
    log("model", {"big": big[:1000] + b"x" + big[1000:]})
    store.delete("model:v0")
    store.gc(grace=NOW)
    assert store.artifact("model:v1").read_bytes("big") == big[:1000] + b"x" + big[1000:]
    assert store.check(read_data=True).problems == []


def test_a_file_that_holds_the_bytes_of_a_page_does_not_hide_what_the_page_names(store, log):
    """Its one chunk has the digest of the page; as a file, nothing below it is followed."""
    first = log("model", {f"f{n:04}": b"%d" % n for n in range(300)})
    page = store.engine.chunks.get(first.record.digest)
    log("copy", {"page": page})
    roots = StoreRoots(store.engine)
    with Marks() as marks:
        for root in sorted(store.engine.database.read(roots.read), key=lambda one: one.digest == first.record.digest):
            roots.mark(root, marks)
        assert marks.among([blake3(b"7").digest()])


def test_texts_that_runs_name_are_kept(store, log):
    with run(store) as training:
        store.ledger.update(training.id, captured=Captured(texts={"code.diff": b"- old\n+ new\n"}))
    assert store.gc(grace=NOW).packs.freed.packs == 0
    assert store.engine.chunks.get(blake3(b"- old\n+ new\n").digest()) == b"- old\n+ new\n"


def test_nothing_is_collected_while_a_version_cannot_be_read(new_store, hooked):
    backend, store = hooked, new_store(hooked)
    for name in ("model", "other"):
        store.log(_draft(name, {"a": name.encode()}))
    store.delete("other:v0")
    (where,) = store.engine.chunks.locate([store.resolve("model:v0").digest]).values()
    raw = bytearray(backend.get(where.object))
    raw[where.offset] ^= 1
    backend.replace(where.object, bytes(raw))
    before = packs(store)
    with pytest.raises(IntegrityError, match=r"p/model:v0 cannot be read.*art check"):
        store.gc(grace=NOW)
    assert packs(store) == before
    store.delete("model:v0")
    store.gc(grace=NOW)  # what is given up need not be read
    assert len(packs(store)) < len(before)


# What is said first, and then done


def test_what_happens_while_somebody_thinks_about_it_is_heeded(store, log):
    kept, back, gone = (
        log(name, {"a": blake3(name.encode()).digest(length=5000)}) for name in ("kept", "back", "gone")
    )
    for one in (back, gone):
        one.delete()
    with Marked() as marked:
        said = store.gc(dry_run=True, grace=NOW, marked=marked)
        back.restore()
        new = log("new", {"a": b"n" * 5000, "b": blake3(b"gone").digest(length=5000)})
        done = store.gc(grace=NOW, marked=marked)
    assert [one.name for one in said.purged] == ["back:v0", "gone:v0"]
    assert [one.name for one in done.purged] == ["gone:v0"]
    assert kept.read_bytes("a") == blake3(b"kept").digest(length=5000)
    assert back.read_bytes("a") == blake3(b"back").digest(length=5000)
    assert new.read_bytes("b") == blake3(b"gone").digest(length=5000)
    assert store.check(read_data=True).clean


def test_the_pages_of_versions_are_read_once_for_what_is_said_and_done(new_store, hooked, make):
    store = new_store(hooked)
    for number in range(3):
        store.log(make("data", {f"f{at}": b"%d" % number for at in range(50)}))
    store.artifact("data:v0").delete()
    asked = []
    hooked.on_get = lambda key, data: asked.append(key) or data
    with Marked() as marked:
        store.gc(dry_run=True, grace=NOW, marked=marked)
        pages = sum(key.startswith("meta/") for key in asked)
        asked.clear()
        assert store.gc(grace=NOW, marked=marked).purged
    again = sum(key.startswith("meta/") for key in asked)
    asked.clear()
    store.gc(grace=NOW)
    assert pages > again
    assert sum(key.startswith("meta/") for key in asked) > 0
