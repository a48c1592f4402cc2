"""Repairing an index: every kind of damage to packs and rows, below artifacts; each repair may be done again."""

import random
import threading

import pytest
from sqlalchemy import insert, select, update

from lineart.storage import packs, tables
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.engine import Engine
from lineart.storage.errors import IntegrityError, InvalidInput, StoreUnavailable
from lineart.storage.gc import Collector
from lineart.storage.layout import MARKER, pack_key, parse_pack_key
from lineart.storage.pack import PackBuilder, PackKind
from lineart.storage.packs import PackRow
from lineart.storage.reindex import Reindexer
from lineart.storage.repair import repair_database
from lineart.storage.tables import PackState
from lineart.storage.transaction import PACKS, PACKS_DELETING, PACKS_QUARANTINED
from lineart.storage.verify import share_of

CHUNK = tables.chunk


@pytest.fixture
def engine(bench, database_url):
    """A store of three packs with three chunks each, and one of pages."""
    made = bench.create(database_url)
    for seed in (0, 10, 20):
        bench.store(made, [bench.data(seed + n) for n in range(3)])
    bench.store(made, [bench.data(90)], PackKind.META)
    yield made
    made.close()


def repair(engine, **how):
    """Repair, and again: the second finds nothing to do."""
    report = Reindexer(engine).run(**how)
    again = Reindexer(engine).run(**how)
    assert (again.added, again.removed, again.adopted, again.missing, again.back) == (0, 0, [], [], [])
    assert (again.quarantined, again.damaged) == ([], [])
    return report


def rows(engine):
    return set(engine.database.read(lambda c: c.execute(select(CHUNK)).all()))


def where(engine, content, bench):
    return engine.chunks.locate([bench.name(content)])[bench.name(content)]


def readable(engine, contents, bench):
    return {one for one in contents if bench.name(one) in engine.chunks.locate([bench.name(one)])}


def all_of(bench):
    return [bench.data(seed + n) for seed in (0, 10, 20) for n in range(3)]


def require_all(engine, bench, contents):
    digests = [bench.name(one) for one in contents]
    assert engine.chunks.get_many(digests) == dict(zip(digests, contents, strict=True))


def objects(engine):
    return {one.key for one in engine.backend.list("")}


def test_a_whole_store_is_left_as_it_is(engine, bench):
    before = rows(engine), bench.states(engine), engine.database.store()
    report = repair(engine, share=1)
    assert (report.packs, report.notes) == (4, [])
    assert report.read_bytes > 9000
    assert (rows(engine), bench.states(engine), engine.database.store()) == before


def test_rows_that_were_lost_come_back(engine, bench):
    before = rows(engine)
    bench.run(engine, "DELETE FROM chunk WHERE digest = :d", d=bench.name(bench.data(11)))
    assert repair(engine).added == 1
    assert rows(engine) == before


def test_an_index_that_was_lost_whole_comes_back(engine, bench):
    before = rows(engine)
    bench.run(engine, "DELETE FROM chunk")
    assert repair(engine).added == 10
    assert rows(engine) == before


def test_packs_and_index_that_were_lost_come_back_for_the_collector_to_judge(engine, bench):
    keys = set(bench.states(engine))
    bench.run(engine, "DELETE FROM chunk")
    bench.run(engine, "DELETE FROM pack")
    assert set(repair(engine).adopted) == keys
    assert bench.states(engine) == dict.fromkeys(keys, PackState.UPLOADED)
    require_all(engine, bench, all_of(bench))


@pytest.mark.parametrize("column", ["offset", "stored", "size", "codec"])
def test_rows_that_point_wrongly_are_put_right(engine, bench, column):
    before = rows(engine)
    wrong = update(CHUNK).where(CHUNK.c.digest == bench.name(bench.data(1))).values({column: CHUNK.c[column] + 1})
    engine.database.write(lambda tx: tx.execute(wrong))
    report = repair(engine)
    assert (report.added, report.removed) == (1, 1)
    assert rows(engine) == before


def test_rows_that_point_nowhere_go(engine, bench):
    before = rows(engine)
    pack = where(engine, bench.data(1), bench).pack
    for number in (pack, 987_654):
        row = {"digest": b"\7" * 32, "pack": number, "offset": 24, "stored": 1, "size": 1, "codec": 0}
        engine.database.write(lambda tx, row=row: tx.execute(insert(CHUNK).values(row)))
    assert repair(engine).removed == 2
    assert rows(engine) == before


def test_a_row_of_a_damaged_copy_does_not_come_back(engine, bench):
    """A reader dropped it; were it offered again, writers would take the content for stored."""
    found = where(engine, bench.data(1), bench)
    bench.flip(engine.backend, found.object, found.offset)
    with pytest.raises(IntegrityError):
        engine.chunks.get(found.digest)
    assert repair(engine).added == 0
    assert engine.chunks.locate([found.digest]) == {}


def test_reading_the_data_finds_damaged_chunks_and_offers_them_no_more(engine, bench):
    found = where(engine, bench.data(1), bench)
    bench.flip(engine.backend, found.object, found.offset)
    assert repair(engine).damaged == []
    reindexer = Reindexer(engine)
    report = reindexer.run(share=1)
    assert [one.where for one in report.damaged] == [found.object]
    assert list(reindexer.damaged) == [found.digest]
    assert engine.chunks.locate([found.digest]) == {}
    require_all(engine, bench, set(all_of(bench)) - {bench.data(1)})
    with engine.session() as session:
        assert session.known([found.digest]) == set()


@pytest.mark.parametrize("at", [3, 12, -1, -30, -50, -70])
def test_a_pack_with_a_damaged_header_footer_or_trailer_goes_into_quarantine_and_its_chunks_are_saved(
    engine, bench, at
):
    key = where(engine, bench.data(1), bench).object
    bench.flip(engine.backend, key, at)
    there = objects(engine)
    report = repair(engine)
    assert [one.where for one in report.quarantined] == [key]
    assert report.rescued == 3
    assert bench.states(engine)[key] == PackState.QUARANTINED
    assert {one.object for one in engine.chunks.locate(map(bench.name, all_of(bench))).values()}.isdisjoint([key])
    require_all(engine, bench, all_of(bench))
    assert there <= objects(engine)
    (event,) = [one for one in engine.journal.events() if one.kind == "packs.quarantined"]
    assert event.data["packs"] == [parse_pack_key(key).id.hex()]


def test_of_a_pack_cut_short_is_saved_what_lay_before_the_cut(engine, bench):
    found = where(engine, bench.data(12), bench)
    bench.cut(engine.backend, found.object, found.offset + 5)
    assert [one.where for one in repair(engine).quarantined] == [found.object]
    lost = [one for one in all_of(bench) if not engine.chunks.locate([bench.name(one)])]
    assert lost == [bench.data(12)]


@pytest.mark.parametrize("change", [b"", b"something else", None])
def test_an_object_that_is_no_pack_or_another_goes_into_quarantine(engine, bench, change):
    key = where(engine, bench.data(1), bench).object
    other = engine.backend.get(where(engine, bench.data(11), bench).object)
    engine.backend.put(key, [other if change is None else change])
    assert [one.where for one in repair(engine).quarantined] == [key]
    require_all(engine, bench, [bench.data(11)])
    assert engine.chunks.locate([bench.name(bench.data(1))]) == {}


def test_a_pack_in_quarantine_that_reads_well_is_taken_up_again(engine, bench):
    key = where(engine, bench.data(1), bench).object
    kept = engine.backend.get(key)
    engine.backend.put(key, [b"away"])
    repair(engine)
    before = rows(engine)
    engine.backend.put(key, [kept])
    assert repair(engine).back == [key]
    assert bench.states(engine)[key] == PackState.LIVE
    assert rows(engine) == before
    require_all(engine, bench, all_of(bench))
    assert [one.kind for one in engine.journal.events() if one.subject == "packs"][-1] == "packs.released"


def test_a_pack_in_quarantine_comes_back_without_its_damaged_chunks(engine, bench):
    found = where(engine, bench.data(1), bench)
    kept = bytearray(engine.backend.get(found.object))
    engine.backend.put(found.object, [b"away"])
    repair(engine)
    kept[found.offset] ^= 1
    engine.backend.put(found.object, [bytes(kept)])
    report = Reindexer(engine).run()
    assert report.back == [found.object]
    assert len(report.damaged) == 1
    assert engine.chunks.locate([found.digest]) == {}
    require_all(engine, bench, [bench.data(0), bench.data(2)])


def test_a_pack_whose_object_is_gone_is_missing_until_it_is_back(engine, bench):
    key = where(engine, bench.data(1), bench).object
    kept = engine.backend.get(key)
    before = rows(engine)
    engine.backend.delete([key])
    assert repair(engine).missing == [key]
    assert bench.states(engine)[key] == PackState.MISSING
    assert rows(engine) == before
    engine.backend.put(key, [kept])
    assert repair(engine).back == [key]
    assert bench.states(engine)[key] == PackState.LIVE


def test_a_pack_that_goes_while_it_is_read_is_missing_and_keeps_its_rows(engine, bench):
    found = where(engine, bench.data(1), bench)
    before = rows(engine)
    reads = []

    def go(what, key):
        if what == "get" and key == found.object:
            reads.append(key)
            if len(reads) == 3:
                engine.backend.inner.delete([key])

    engine.backend.on = go
    report = Reindexer(engine).run(share=1)
    engine.backend.on = lambda what, key: None
    assert report.missing == [found.object]
    assert report.damaged == []
    assert rows(engine) == before


def test_a_bucket_that_is_not_mounted_says_nothing_of_its_packs(engine, bench):
    before = bench.states(engine)
    kept = engine.backend.get(MARKER)
    for key in objects(engine):
        engine.backend.delete([key])
    with pytest.raises(StoreUnavailable, match="mounted"):
        Reindexer(engine).run()
    assert bench.states(engine) == before
    engine.backend.put(MARKER, [kept])


def foreign(engine, *contents, kind=PackKind.DATA):
    builder = PackBuilder(kind)
    for one in contents:
        builder.add(one)
    sealed = builder.seal()
    engine.backend.put(pack_key(kind, sealed.id), sealed.parts)
    return pack_key(kind, sealed.id)


def test_a_pack_that_nobody_knows_is_adopted_and_the_collector_may_take_it(engine, bench):
    key = foreign(engine, *bench.coded(b"nobody knows me"))
    assert repair(engine).adopted == [key]
    assert bench.states(engine)[key] == PackState.UPLOADED

    class Nothing:
        def read(self, connection):
            return set()

    assert Collector(engine, Nothing()).run().freed.packs == 5
    assert key not in objects(engine)
    assert Reindexer(engine).run().adopted == []


def test_damaged_chunks_of_an_adopted_pack_are_not_offered(engine, bench):
    key = foreign(engine, *bench.coded(b"one of them", b"the other one"))
    bench.flip(engine.backend, key, 26)
    assert repair(engine).added == 1


def test_a_foreign_object_under_packs_is_named_and_left_alone(engine, bench):
    key = pack_key(1, b"\1" * 16)
    engine.backend.put(key, [b"what is this?"])
    engine.backend.put("packs/readme.txt", [b"and this?"])
    before = bench.states(engine)
    assert [note.split()[0] for note in repair(engine).notes] == [key]
    assert bench.states(engine) == before
    assert {key, "packs/readme.txt"} <= objects(engine)


@pytest.mark.parametrize("state", [PackState.UPLOADING, PackState.DELETING, PackState.DEAD])
def test_packs_on_their_way_in_or_out_are_left_alone(engine, bench, state):
    found = where(engine, bench.data(1), bench)
    bench.set_state(engine, state, found.object)
    bench.flip(engine.backend, found.object, -1)
    bench.run(engine, "DELETE FROM chunk WHERE digest = :d", d=found.digest)
    before = rows(engine)
    repair(engine, share=1)
    assert bench.states(engine)[found.object] == state
    assert rows(engine) == before


def test_a_pack_that_was_deleted_and_whose_row_is_gone_is_not_adopted(engine, bench):
    found = where(engine, bench.data(1), bench)
    row = PackRow(found.pack, found.key, found.kind, 0, 1)
    bench.set_state(engine, PackState.CONDEMNED, found.object)
    bench.run(engine, "UPDATE pack SET stamp = 's' WHERE id = :id", id=found.pack)
    engine.write(lambda tx: packs.sweep(tx, "s", "why"))
    engine.database.write(lambda tx: packs.drop_rows(tx, row.id, [found.digest]))
    report = Reindexer(engine).run()
    assert report.adopted == []
    assert found.object not in bench.states(engine)


def test_a_pack_that_a_collector_takes_while_it_is_looked_at_is_its_own(engine, bench):
    """Its rows are not added once it is on its way out, whenever in the repair that is."""
    found = where(engine, bench.data(1), bench)
    bench.run(engine, "DELETE FROM chunk WHERE digest = :d", d=found.digest)
    engine.backend.on = lambda what, key: (
        bench.set_state(engine, PackState.DELETING, key) if (what, key) == ("get", found.object) else None
    )
    Reindexer(engine).run()
    engine.backend.on = lambda what, key: None
    assert bench.states(engine)[found.object] == PackState.DELETING
    assert found.digest not in {digest for digest, _ in bench.index(engine)}


def test_a_damaged_pack_that_a_collector_takes_meanwhile_is_its_own(engine, bench):
    key = where(engine, bench.data(1), bench).object
    bench.flip(engine.backend, key, -1)
    engine.backend.on = lambda what, read: (
        bench.set_state(engine, PackState.DELETING, key) if (what, read) == ("get", key) else None
    )
    report = Reindexer(engine).run()
    engine.backend.on = lambda what, read: None
    assert report.quarantined == []
    assert bench.states(engine)[key] == PackState.DELETING
    data = {"packs": [parse_pack_key(key).id.hex()], "size": 1}
    engine.write(lambda tx: tx.record(PACKS_QUARANTINED, PACKS, data))
    assert bench.states(engine)[key] == PackState.DELETING


def test_an_unknown_pack_that_a_collector_gives_up_meanwhile_is_not_adopted(engine, bench):
    key = foreign(engine, *bench.coded(b"nobody knows me"))
    data = {"packs": [parse_pack_key(key).id.hex()], "size": 1}
    told = []

    def give_up(what, read):
        if (what, read) == ("get", key) and not told:
            told.append(key)
            engine.database.write(lambda tx: tx.record(PACKS_DELETING, PACKS, data))

    engine.backend.on = give_up
    assert Reindexer(engine).run().adopted == []
    assert key not in bench.states(engine)


def test_a_pack_that_a_listing_does_not_show_yet_is_not_missing(engine, bench):
    hidden = where(engine, bench.data(1), bench).object
    listed = engine.backend.inner.list
    engine.backend.inner.list = lambda prefix: (one for one in listed(prefix) if one.key != hidden)
    assert repair(engine).missing == []


def test_a_bucket_that_goes_while_it_is_looked_at_says_nothing_of_its_packs(engine, bench):
    before = bench.states(engine)
    keys = objects(engine)
    engine.backend.on = lambda what, key: (
        engine.backend.inner.delete(list(keys)) if (what, key) == ("list", "meta/") else None
    )
    with pytest.raises(StoreUnavailable, match="mounted"):
        Reindexer(engine).run()
    assert bench.states(engine) == before


@pytest.mark.parametrize("fault", ["FLIP", "TRUNCATE"])
def test_bytes_that_come_wrong_once_damage_nothing(bench, faults, tmp_path, fault):
    backend = faults.FaultBackend(MemoryBackend("b"))
    engine = Engine.create(backend, f"sqlite:///{tmp_path}/store.db", actor="ann", folds={})
    bench.store(engine, [bench.data(1), bench.data(2)])
    bench.run(engine, "DELETE FROM chunk WHERE digest = :d", d=bench.name(bench.data(2)))
    start = backend.count
    Reindexer(engine).run(share=1)
    for number in range(1, backend.count - start + 3):
        bench.run(engine, "DELETE FROM chunk WHERE digest = :d", d=bench.name(bench.data(2)))
        backend.faults = {backend.count + number: faults.Fault[fault]}
        try:
            report = Reindexer(engine).run(share=1)
        except StoreUnavailable:  # a listing that broke off
            continue
        assert (report.added, report.damaged, report.quarantined) == (1, [], []), number
    engine.close()


def test_a_rebuilt_database_knows_what_is_in_quarantine(engine, bench, tmp_path):
    key = where(engine, bench.data(1), bench).object
    kept = engine.backend.get(key)
    engine.backend.put(key, [b"away"])
    repair(engine)
    engine.backend.put(key, [kept])
    url = f"sqlite:///{tmp_path}/rebuilt.db"
    repair_database(engine.backend, url, actor="bo", folds={})
    again = bench.open_(url, engine.backend)
    assert bench.states(again)[key] == PackState.QUARANTINED
    assert repair(again).back == [key]
    again.close()


def damage(engine, bench, kinds):
    """Damage a store in several ways at once, each in another pack."""
    backend = engine.backend
    keys = sorted({where(engine, one, bench).object for one in all_of(bench)})
    if "rows" in kinds:
        bench.run(engine, "DELETE FROM chunk WHERE digest = :d", d=bench.name(bench.data(90)))
    if "wrong" in kinds:
        bench.run(engine, 'UPDATE chunk SET "offset" = 7 WHERE digest = :d', d=bench.name(bench.data(0)))
    if "footer" in kinds:
        bench.flip(backend, keys[0], -1)
    if "gone" in kinds:
        backend.delete([keys[1]])
    if "cut" in kinds:
        bench.cut(backend, keys[2], -200)
    if "chunk" in kinds:
        bench.flip(backend, keys[2], 30)
    if "unknown" in kinds:
        foreign(engine, *bench.coded(b"nobody knows me"))


_USUAL = (
    PackState.LIVE,
    PackState.UPLOADED,
    PackState.UPLOADING,
)  # the last, of a repair that stopped


def outcome(engine, bench):
    lost = {one for one in all_of(bench) if not engine.chunks.locate([bench.name(one)])}
    aside = {key: state for key, state in bench.states(engine).items() if state not in _USUAL}
    return lost, aside


@pytest.mark.parametrize("dies", [True, False])
def test_a_repair_that_stops_at_any_operation_is_finished_by_the_next(bench, faults, tmp_path, dies):
    stopped = []

    def play(number):
        backend = faults.FaultBackend(MemoryBackend("b"))
        engine = Engine.create(backend, f"sqlite:///{tmp_path}/{dies}-{number}.db", actor="ann", folds={})
        for seed in (0, 10, 20):
            bench.store(engine, [bench.data(seed + n) for n in range(3)])
        bench.store(engine, [bench.data(90)], PackKind.META)
        damage(engine, bench, ["rows", "footer", "gone", "unknown"])
        start = backend.count
        if number:
            at = start + number
            if dies:
                backend.dead_from = at
            else:
                backend.faults = {at: faults.Fault.FAIL_AFTER}
            try:  # the order of packs is random: the last operations of one play are not there in another
                Reindexer(engine).run(share=1)
            except StoreUnavailable:
                stopped.append(number)
            backend.revive()
        Reindexer(engine).run(share=1)
        count = backend.count - start
        lost, aside = outcome(engine, bench)
        assert len(lost) == 3, number
        assert sorted(aside.values()) == [PackState.MISSING, PackState.QUARANTINED], number
        engine.close()
        return count

    every = play(0)
    for number in range(1, every + 1):
        play(number)
    assert len(stopped) > every // 2


def test_a_repair_beside_writers_and_collectors_loses_nothing(engine, bench, database_url):
    """Writers log what others have and what is new; what they were told of can be read, whatever is repaired."""
    ended = threading.Event()
    failures, told = [], []

    class Keep:
        def read(self, connection):
            return {bench.name(one) for one in [*told, *all_of(bench)]} | {bench.name(bench.data(90))}

        def mark(self, root, marks):
            marks.add([root])

    def write():
        try:
            other = bench.open_(database_url, engine.backend)
            for n in range(15):
                content = bench.data(1000 + n)
                told.append(content)
                bench.store(other, [content])
            other.close()
        except BaseException as error:
            failures.append(error)
        ended.set()

    def collect():
        try:
            other = bench.open_(database_url, engine.backend)
            while not ended.is_set():
                Collector(other, Keep()).run()
            other.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for one in (write, collect)]
    for one in threads:
        one.start()
    while not ended.is_set():
        report = Reindexer(engine).run(share=1)
        assert (report.quarantined, report.damaged, report.missing) == ([], [], [])
    for one in threads:
        one.join()
    assert failures == []
    require_all(engine, bench, [*told, *all_of(bench)])
    repair(engine)
    require_all(engine, bench, [*told, *all_of(bench)])


# A share of the bytes


def packs_of(*sizes):
    return [PackRow(n, random.Random(n).randbytes(16), 1, 2, size) for n, size in enumerate(sizes)]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 1])
def test_consecutive_seeds_read_everything(share):
    every = packs_of(*range(1, 40))
    rounds = -(-1 // share)
    read = [share_of(every, share, seed) for seed in range(int(rounds) + 1)]
    assert {one.id for part in read for one in part} == {one.id for one in every}
    total = sum(one.size for one in every)
    for part in read:
        size = sum(one.size for one in part)
        assert size >= share * total - 1e-6
        assert size <= share * total + 2 * 39


def test_a_share_is_the_same_for_the_same_seed_in_any_order():
    every = packs_of(*[5] * 30)
    assert share_of(every, 0.2, 3) == share_of(every[::-1], 0.2, 3) != share_of(every, 0.2, 4)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(InvalidInput):
        share_of(packs_of(1), share)
