"""Checking a store: clean where nothing is wrong, and every kind of damage is found and named."""

import threading

import pytest
from sqlalchemy import delete, insert, update

from lineart.artifacts.artifact import Artifact
from lineart.storage.errors import Conflict, IntegrityError, StoreUnavailable
from lineart.storage.layout import JOURNAL, MARKER, journal_key, pack_key, parse_journal_key, parse_pack_key
from lineart.storage.pack import PackBuilder, PackKind
from lineart.storage.tables import PackState
from lineart.store import create, open_settings

BIG = 3 << 20


def draft(bench, **files):
    made = Artifact("model", type="model")
    for path, content in files.items():
        made.add_bytes(content, path.replace("__", "/"))
    return made


@pytest.fixture
def store(bench, database_url, tmp_path):
    """A store of two versions: a small file, one of several chunks, and one that is in the second version only."""
    made = create(tmp_path / "bucket", None if database_url.startswith("sqlite") else database_url, project="p")
    both = {"notes.txt": b"hello", "weights__big.bin": bench.data(1, BIG)}
    made.log(draft(bench, **both), aliases=["best"])
    made.log(draft(bench, **both, more=bench.data(3)))
    assert_clean(made)
    yield made
    made.close()


def assert_clean(store):
    for read_data in (False, True):
        report = store.check(read_data=read_data)
        assert report.problems == []
        assert report.clean


def problems(store, **options):
    """What is wrong, one line each; looking changes nothing."""
    first, second = (store.check(**options) for _ in range(2))
    assert first == second
    assert not first.clean
    return "\n".join(f"{where}: {what}" for where, what in first.problems)


def pack_of(store, content_digest):
    return store.engine.chunks.locate([content_digest])[content_digest].object


def entry(store, ref, path):
    return store.artifact(ref)._held().content.entry(path)


def test_a_new_store_is_clean(tmp_path):
    with create(tmp_path / "bucket") as store:
        assert_clean(store)
        assert store.check().events == 1


def test_the_report_counts_what_was_looked_at(store):
    report = store.check(read_data=True)
    assert report.versions == 2
    assert report.events == store.engine.database.store().seq
    assert report.packs == 4
    assert report.chunks > 6
    assert report.read_bytes > BIG
    assert report.notes == []


def test_what_an_interrupted_log_left_is_a_note_and_no_problem(store, bench):
    with store.engine.session() as session:
        session.add(bench.coded(b"left over"), PackKind.DATA)
        session.flush()
    builder = PackBuilder(PackKind.DATA)
    builder.add(bench.coded(b"nobody knows me")[0])
    foreign = builder.seal()
    store.engine.backend.put(pack_key(1, foreign.id), foreign.parts)
    assert_clean(store)
    assert len(store.check().notes) == 2


def test_packs_that_are_being_written_or_removed_are_not_looked_for(store, bench):
    for state in (PackState.UPLOADING, PackState.DELETING, PackState.DEAD):
        bench.store(store.engine, [b"%d" % state])
        key = pack_of(store, bench.name(b"%d" % state))
        bench.set_state(store.engine, state, key)
        store.engine.backend.delete([key])
    assert_clean(store)


@pytest.mark.parametrize("kind", ["small", "chunk", "page", "recipe"])
def test_a_missing_pack_is_found_and_what_it_takes_with_it_is_named(store, kind):
    big = entry(store, "model:v0", "weights/big.bin")
    root = store.artifact("model:v1")._held().record.digest
    key = pack_of(
        store,
        {"small": entry(store, "model:v1", "more").digest, "page": root, "recipe": big.recipe}.get(kind)
        or entry(store, "model:v0", "notes.txt").digest,
    )
    store.engine.backend.delete([key])
    said = problems(store)
    assert f"{key}: the pack is missing" in said
    if kind == "small":
        assert "p/model:v1/more" in said
        assert "p/model:v0" not in said
    elif kind == "chunk":
        for ref in ("p/model:v0", "p/model:v1"):
            assert f"{ref}/weights/big.bin" in said
            assert f"{ref}/notes.txt" in said
        assert "p/model:v1/more" not in said
    elif kind == "page":
        assert "p/model:v1: " in said
        assert "p/model:v0" not in said
    else:
        assert "p/model:v0" in said


@pytest.mark.parametrize("end", [-1, -60, 100, 10, 0])
def test_a_pack_cut_short_is_found_and_only_what_lay_behind_the_cut_is_lost(store, bench, end):
    key = pack_of(store, entry(store, "model:v0", "notes.txt").digest)
    if end:
        bench.cut(store.engine.backend, key, end)
    else:
        store.engine.backend.put(key, [b""])
    said = problems(store)
    assert f"{key}: the pack has" in said
    assert ("p/model:v0/weights/big.bin" in said) == (end >= 0)
    assert ("p/model:v0/notes.txt" in said) == (0 <= end < 29)


def test_a_pack_that_grew_is_found(store, bench):
    key = pack_of(store, entry(store, "model:v0", "notes.txt").digest)
    bench.overwrite(store.engine.backend, key, lambda raw: raw.extend(b"!"))
    said = problems(store)
    assert f"{key}: the pack has" in said
    assert "p/model" not in said


@pytest.mark.parametrize("where", [3, 12, -1, -30, -50, -70])
def test_a_flipped_bit_in_header_footer_or_trailer_is_found_without_reading_data(store, bench, where):
    key = pack_of(store, entry(store, "model:v0", "notes.txt").digest)
    bench.flip(store.engine.backend, key, where)
    assert key in problems(store)
    assert "p/model" not in problems(store)  # the bytes themselves are whole, and the index knows where they are


def test_a_flipped_bit_in_the_data_is_found_by_reading_it_and_the_path_is_named(store, bench):
    found = store.engine.chunks.locate([entry(store, "model:v1", "more").digest])
    (location,) = found.values()
    bench.flip(store.engine.backend, location.object, location.offset + 5)
    assert store.check().clean
    said = problems(store, read_data=True)
    assert location.object in said
    assert "p/model:v1/more" in said
    assert "big.bin" not in said
    assert location.digest.hex() in said


def test_a_flipped_bit_in_a_page_is_found_without_reading_data(store, bench):
    root = store.artifact("model:v1")._held().record.digest
    (location,) = store.engine.chunks.locate([root]).values()
    bench.flip(store.engine.backend, location.object, location.offset + 3)
    assert "p/model:v1: " in problems(store)
    assert "p/model:v0" not in problems(store)


def test_checking_never_changes_the_index(store, bench):
    before = bench.index(store.engine)
    for key in bench.states(store.engine):
        bench.flip(store.engine.backend, key)
    problems(store, read_data=True)
    store.engine.backend.delete(list(bench.states(store.engine)))
    problems(store, read_data=True)
    assert bench.index(store.engine) == before


def test_a_missing_index_row_is_found_and_what_needs_it_is_named(store, bench):
    digest = entry(store, "model:v1", "more").digest
    key = pack_of(store, digest)
    store.engine.database.write(lambda tx: tx.execute(delete(bench.chunk).where(bench.chunk.c.digest == digest)))
    said = problems(store)
    assert key in said
    assert digest.hex() in said
    assert "p/model:v1/more" in said
    assert "p/model:v0" not in said


@pytest.mark.parametrize("column", ["offset", "stored", "size", "codec"])
def test_a_wrong_index_row_is_found(store, bench, column):
    digest = entry(store, "model:v1", "more").digest
    wrong = {column: bench.chunk.c[column] + 1}
    change = update(bench.chunk).where(bench.chunk.c.digest == digest).values(wrong)
    store.engine.database.write(lambda tx: tx.execute(change))
    said = problems(store)
    assert "p/model:v1/more" in said
    assert pack_of(store, digest) in said
    assert digest.hex() in said


def extra(bench, pack, digest=b"\x07" * 32):
    row = {"digest": digest, "pack": pack, "offset": 24, "stored": 1, "size": 1, "codec": 0}
    return lambda tx: tx.execute(insert(bench.chunk).values(row))


def test_an_extra_index_row_is_found_also_where_another_is_missing(store, bench):
    digest = entry(store, "model:v1", "more").digest
    location = store.engine.chunks.locate([digest])[digest]
    store.engine.database.write(extra(bench, location.pack))
    assert f"{location.object}: the index has 1 chunk" in problems(store)
    store.engine.database.write(lambda tx: tx.execute(delete(bench.chunk).where(bench.chunk.c.digest == digest)))
    said = problems(store)
    assert f"{location.object}: the index has 1 chunk" in said
    assert digest.hex() in said


def test_index_rows_of_packs_that_nobody_registered_are_found(store, bench):
    store.engine.database.write(extra(bench, 987_654))
    assert "index: 1 chunks" in problems(store)


def test_a_damaged_copy_is_no_problem_any_more_once_the_good_content_is_logged_again(store, bench, tmp_path):
    location = store.engine.chunks.locate([entry(store, "model:v1", "more").digest]).popitem()[1]
    bench.flip(store.engine.backend, location.object, location.offset)
    with pytest.raises(IntegrityError):
        store.artifact("model:v1").download(tmp_path / "there")
    assert "p/model:v1/more" in problems(store)
    store.log(draft(bench, more=bench.data(3)))
    store.artifact("model:v1").download(tmp_path / "there")
    assert_clean(store)
    assert any(location.object in note for note in store.check(read_data=True).notes)


def journal(store):
    return [info.key for info in store.engine.backend.list(JOURNAL)]


def test_a_missing_object_of_the_journal_is_found_wherever_it_was(store):
    keys = journal(store)
    assert len(keys) == 3
    for key in keys:
        kept = store.engine.backend.get(key)
        store.engine.backend.delete([key])
        assert "journal: " in problems(store)
        store.engine.backend.put(key, [kept])
        assert_clean(store)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"model"', b'"medal"'),
        (b'"kind":"', b'"kind":"x'),
        (b"best", b"test"),
        (b'"reason":null', b'"reason":"me"'),
        (b"}\n", b"\n"),
    ],
)
def test_an_object_of_the_journal_that_says_something_else_is_found(store, bench, old, new):
    (key,) = [key for key in journal(store) if b"best" in store.engine.backend.get(key)]
    raw = store.engine.backend.get(key)
    assert old in raw
    store.engine.backend.put(key, [raw.replace(old, new, 1)])
    assert "journal: " in problems(store)


def test_events_that_the_database_lacks_are_found(store, bench):
    last = store.engine.database.store().seq
    bench.run(store.engine, "DELETE FROM event WHERE seq = :seq", seq=last)
    assert "database: " in problems(store)
    bench.run(store.engine, "UPDATE store SET seq = seq - 1, journalled = journalled - 1")
    assert "art repair database" in problems(store)


def test_events_that_wait_for_the_journal_are_a_note(store):
    store.engine.database.write(lambda tx: tx.record("project.created", "q", {"project": "q"}))
    assert_clean(store)
    assert "not in the journal yet" in store.check().notes[0]


def test_half_a_flush_is_a_note_until_the_next_write_mends_it(store, bench):
    event = store.engine.database.write(lambda tx: tx.record("project.created", "q", {"project": "q"}))
    last = store.engine.database.store().seq
    assert event.seq is None
    store.engine.backend.put(journal_key(last, last, "0" * 16), [b'{"actor":'])
    assert_clean(store)
    assert any("mends" in note for note in store.check().notes)
    store.promote("model:v0", "test")
    assert_clean(store)
    assert store.check().notes == []


def test_a_journal_of_two_minds_is_found(store, bench):
    (key,) = [key for key in journal(store) if b"best" in store.engine.backend.get(key)]
    name = parse_journal_key(key)
    other = store.engine.backend.get(key).replace(b'"best"', b'"test"')
    store.engine.backend.put(journal_key(name.first, name.last, bench.name(other)[:8].hex()), [other])
    assert "journal: " in problems(store)


@pytest.mark.parametrize("column", ["file_count", "size"])
def test_a_version_that_counts_otherwise_than_its_manifest_is_found(store, bench, column):
    bench.run(store.engine, f"UPDATE version SET {column} = {column} + 1 WHERE number = 1")
    assert "p/model:v1: its manifest has" in problems(store)
    assert "p/model:v0" not in problems(store)


def test_deleted_versions_are_checked_and_purged_ones_are_not(store, bench):
    digest = entry(store, "model:v1", "more").digest
    store.engine.database.write(lambda tx: tx.execute(delete(bench.chunk).where(bench.chunk.c.digest == digest)))
    bench.run(store.engine, "UPDATE version SET state = 'deleted' WHERE number = 1")
    assert "p/model:v1/more" in problems(store)
    bench.run(store.engine, "UPDATE version SET state = 'purged' WHERE number = 1")
    assert "p/model:v1" not in problems(store)


def test_a_marker_that_is_gone_damaged_or_anothers_is_found(store):
    kept = store.engine.backend.get(MARKER)
    store.engine.backend.delete([MARKER])
    assert f"{MARKER}: " in problems(store)
    store.engine.backend.put(MARKER, [b"{"])
    assert f"{MARKER}: " in problems(store)
    store.engine.backend.put(MARKER, [kept.replace(store.id.encode(), b"0" * 32)])
    assert f"{MARKER}: " in problems(store)
    store.engine.backend.put(MARKER, [kept])
    assert_clean(store)


def test_a_bucket_that_is_not_mounted_is_unavailable_and_not_lost(bench, tmp_path):
    with create(tmp_path / "bucket", f"sqlite:///{tmp_path}/elsewhere.db") as store:
        store.log(draft(bench, a=b"1"))
        (tmp_path / "bucket").rename(tmp_path / "away")
        (tmp_path / "bucket").mkdir()
        with pytest.raises(StoreUnavailable, match="mounted"):
            store.check()


def test_a_check_beside_writers_raises_no_false_alarm(store, bench, tmp_path):
    ended = threading.Event()

    def write():
        with open_settings(store.settings) as other:
            for n in range(25):
                made = Artifact("beside", type="dataset")
                made.add_bytes(bench.data(n), "a")
                other.log(made)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    reports = []
    while not ended.is_set() or not reports:
        reports.append(store.check())
    writer.join()
    assert [report.problems for report in reports if report.problems] == []
    assert_clean(store)


def test_a_check_beside_a_collector_raises_no_false_alarm(store, bench):
    """The pack is there in the rows, and by the time the bucket is listed it is gone, as its row says."""
    bench.store(store.engine, [b"to be collected"])
    key = pack_of(store, bench.name(b"to be collected"))
    backend = store.engine.backend

    class Collected(bench.Watched):
        def list(self, prefix):
            if prefix == "packs/" and (key in [info.key for info in backend.list(prefix)]):
                bench.set_state(store.engine, PackState.DELETING, key)
                backend.delete([key])
                bench.run(store.engine, "DELETE FROM chunk WHERE digest = :d", d=bench.name(b"to be collected"))
                bench.run(store.engine, "DELETE FROM pack WHERE key = :k", k=parse_pack_key(key).id)
            return super().list(prefix)

    store.engine.backend = Collected(backend)
    try:
        assert_clean(store)
    finally:
        store.engine.backend = backend


def test_a_refused_log_leaves_the_store_clean(store, bench):
    wrong = Artifact("model", type="dataset")
    wrong.add_bytes(b"x", "x")
    with pytest.raises(Conflict):
        store.log(wrong)
    assert_clean(store)
