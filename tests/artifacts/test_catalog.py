from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lineart.artifacts.collection import NewVersion, open_collection, settle_version
from lineart.artifacts.folds import FOLDS
from lineart.artifacts.ref import Ref
from lineart.artifacts.suggest import SHOWN
from lineart.storage.database import Database
from lineart.storage.digest import Digest
from lineart.storage.errors import Conflict, InvalidInput, InvalidName, NotFound
from lineart.storage.journal import Journal
from lineart.storage.transaction import STORAGE_FOLDS
from lineart.store import FOLDS as ALL_FOLDS


@pytest.fixture
def three(log):
    """Three versions of p/model, and one of p/data."""
    log()
    return [log("model", {"a": str(number).encode()}, type="model") for number in range(3)]


def moves(store, name, alias):
    return [(one.data["from"], one.data["to"], one.reason) for one in store.history(name, alias)]


# Numbers


def test_numbers_go_up_by_one_in_each_collection(store, three, log):
    assert [one.number for one in store.versions("model")] == [0, 1, 2]
    assert log("model", {"a": b"1"}, type="model").version == "v1"
    assert log("model", {"a": b"new"}, type="model").version == "v3"
    assert log("other").version == "v0"


def test_a_number_is_not_used_up_by_a_log_that_fails(store, make, three):
    class Stop(Exception):
        pass

    def also(tx, version, is_new):
        raise Stop

    with pytest.raises(Stop):
        store.log(make("model", {"a": b"never"}, type="model"), aliases=["never"], also=also)
    assert [one.number for one in store.versions("model")] == [0, 1, 2]
    assert store.log(make("model", {"a": b"new"}, type="model")).version == "v3"
    assert store.check(read_data=True).clean


def test_what_also_is_recorded_belongs_to_the_same_transaction(store, make):
    seen = []
    store.log(make(), also=lambda tx, version, is_new: seen.append((version, is_new)))
    store.log(make(), also=lambda tx, version, is_new: seen.append((version, is_new)))
    assert [is_new for _, is_new in seen] == [True, False]
    assert len({version for version, _ in seen}) == 1


# Refs


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        ("model", "v2"),
        ("model:latest", "v2"),
        ("MODEL:Latest", "v2"),
        ("p/model:v0", "v0"),
        ("P/Model:v1", "v1"),
        ("model:best", "v1"),
        ("p/model:BEST", "v1"),
    ],
)
def test_a_ref_finds_its_version(store, three, ref, version):
    store.promote("model:v1", "best")
    assert store.artifact(ref).version == version


@pytest.mark.parametrize("digits", [8, 9, 31, 63, 64])
def test_a_unique_prefix_of_the_digest_finds_its_version(store, three, digits):
    for version in three:
        ref = f"model@b3:{version.digest.hex()[:digits]}"
        assert store.artifact(ref).version == version.version


def forge(store, name, digest):
    """Give a collection a version of a certain digest."""

    def work(tx):
        collection = open_collection(tx, "p", name, None)
        return settle_version(tx, collection, NewVersion(digest, 0, 0, None, {}), [])

    return store.engine.write(work)


def test_a_prefix_of_two_digests_asks_for_more(store):
    one, two = bytes.fromhex("ab" * 31 + "00"), bytes.fromhex("ab" * 31 + "ff")
    forge(store, "model", one)
    forge(store, "model", two)
    with pytest.raises(Conflict, match="more digits"):
        store.resolve(f"model@b3:{'ab' * 31}")
    assert store.resolve(f"model@b3:{'ab' * 31}0").digest == one
    assert store.resolve(f"model@b3:{'ab' * 31}f").digest == two
    with pytest.raises(NotFound):
        store.resolve(f"model@b3:{'ab' * 31}1")


def test_equal_content_that_was_deleted_and_logged_again_is_not_ambiguous(store):
    digest = bytes.fromhex("cd" * 32)
    forge(store, "model", digest)
    store.engine.database.write(
        lambda tx: tx.connection.exec_driver_sql("UPDATE version SET state = 'deleted', deleted = 1")
    )
    forge(store, "model", digest)
    assert store.resolve("model@b3:cdcdcdcd").number == 1
    store.engine.database.write(
        lambda tx: tx.connection.exec_driver_sql("UPDATE version SET state = 'purged' WHERE number = 1")
    )
    assert store.resolve(f"model@b3:{'cd' * 32}").number == 1


def test_an_alias_at_a_time_is_what_it_meant_then(store, three):
    store.promote("model:v0", "production")
    store.promote("model:v1", "production")
    store.remove_alias("model", "production")
    store.promote("model:v2", "production")
    times = [one.time for one in store.history("model", "production")]

    def meant(at):
        return store.resolve(Ref(None, "model", alias="production", at=at)).version

    if len(set(times)) == len(times):
        assert [meant(times[0]), meant(times[1]), meant(times[3])] == ["v0", "v1", "v2"]
        with pytest.raises(NotFound, match="at that time"):
            meant(times[2])
    with pytest.raises(NotFound, match="at that time"):
        meant(times[0] - 1)
    assert meant(times[3] + 10**6) == "v2"
    today = datetime.now(UTC).date().isoformat()
    assert store.resolve(f"model:production@{today}").version == "v2"
    assert store.resolve(f"model@{today}").version == "v2"
    with pytest.raises(NotFound, match="at that time"):
        store.resolve("model:production@2020-01-01")


def test_a_bare_name_is_found_in_exactly_one_other_project(store, log):
    log("only", project="q")
    for project in ("q", "r"):
        log("both", project=project)
    log("here", {"a": b"1"})
    log("here", {"a": b"2"}, project="q")
    assert store.resolve("only").ref == "q/only:v0"
    assert store.resolve("here").ref == "p/here:v0"
    with pytest.raises(NotFound, match=r"both is not in project p, but in q, r; write PROJECT/both"):
        store.resolve("both")
    with pytest.raises(NotFound, match="there is no project 'z'"):
        store.resolve("z/only")
    assert [one.ref for one in store.versions("only")] == ["q/only:v0"]


def test_writes_never_guess_the_project(store, log):
    log("only", project="q", aliases=["old"])
    for change in (lambda: store.promote("only:v0", "best"), lambda: store.remove_alias("only", "old")):
        with pytest.raises(NotFound, match=r"only is not in project p, but in q; write PROJECT/only"):
            change()
    store.promote("q/only:v0", "best")
    store.remove_alias("q/only", "old")
    assert store.artifact("q/only").aliases == ["best", "latest"]
    assert log("only").ref == "p/only:v0"


# What is said of what is not there


def test_an_unknown_version_says_what_there_is(store, three):
    store.promote("model:v1", "production")
    for ref, asked in (
        ("model:v9", "model:v9"),
        ("model:prod", "model:prod"),
        ("model@b3:00000000", "model@b3:00000000"),
    ):
        with pytest.raises(NotFound) as caught:
            store.artifact(ref)
        assert str(caught.value) == f"{asked} not found; model has v0 to v2 (latest → v2, production → v1)"


def test_many_aliases_are_not_all_listed_and_the_nearest_are(store, three):
    for number in range(50):
        store.promote("model:v0", f"run-{number}")
    with pytest.raises(NotFound) as caught:
        store.artifact("model:run-4x")
    message = str(caught.value)
    assert "run-4 " in message
    assert "latest → v2" in message
    assert f"and {51 - 2 * SHOWN} more" in message


def test_a_collection_without_versions_says_so(store):
    store.engine.write(lambda tx: open_collection(tx, "p", "bare", None))
    with pytest.raises(NotFound, match="bare:latest not found; bare has no versions"):
        store.artifact("bare")


def test_an_unknown_collection_names_the_nearest(store, log):
    for name in ("dataset", "dataset-small", "model", "tokenizer", "x1", "x2", "x3"):
        log(name)
    with pytest.raises(NotFound, match=r"p/datasett not found; p has dataset, dataset-small, model.* and 2 more"):
        store.artifact("datasett")
    with pytest.raises(NotFound, match=r"there is no project 'pp'; projects here: p$"):
        store.artifact("pp/dataset")


def test_an_empty_store_says_how_to_fill_it(store):
    with pytest.raises(NotFound, match="the store is empty; `art log"):
        store.artifact("model")


# Aliases


def test_promoting_moves_an_alias_and_keeps_its_history(store, three):
    store.promote("model:v0", "best", reason="first")
    store.promote("model:v2", "best", reason="val_acc 0.97 on holdout")
    store.promote("model:v2", "best", reason="again")  # nothing moves, nothing is recorded
    store.remove_alias("model", "best", reason="recalled")
    store.promote("model:v1", "best")
    assert moves(store, "model", "best") == [
        (None, 0, "first"),
        (0, 2, "val_acc 0.97 on holdout"),
        (2, None, "recalled"),
        (None, 1, None),
    ]
    assert {one.actor for one in store.history("model")} == {"ana@here"}
    kinds = [one.kind for one in store.history("model")]
    assert kinds.count("version.logged") == 3
    assert kinds[0] == "collection.created"


def test_expect_is_compared_with_what_the_alias_means(store, three):
    store.promote("model:v0", "best", expect="none")
    with pytest.raises(Conflict, match="best is v0, not none; somebody moved it"):
        store.promote("model:v1", "best", expect="none")
    with pytest.raises(Conflict, match="best is v0, not v1"):
        store.promote("model:v2", "best", expect="v1")
    with pytest.raises(Conflict, match="other is none, not v1"):
        store.promote("model:v2", "other", expect="v1")
    store.promote("model:v2", "best", expect="v0")
    assert store.artifact("model:best").version == "v2"
    assert moves(store, "model", "best") == [(None, 0, None), (0, 2, None)]


@pytest.mark.parametrize("expect", ["", "6", "V0", "v00", "latest", "model:v0", "None"])
def test_an_expectation_that_could_never_be_met_is_refused_as_such(store, three, expect):
    with pytest.raises(InvalidInput, match="expect is a version such as 'v6'"):
        store.promote("model:v1", "best", expect=expect)


@pytest.mark.parametrize("alias", ["v1", "V12", "7", "", "a b", "a/b", "-x", ".x", "and", "ä", "x" * 129, "a:b", "a@b"])
def test_aliases_outside_the_grammar_are_refused(store, three, make, alias):
    with pytest.raises(InvalidName):
        store.promote("model:v0", alias)
    with pytest.raises(InvalidName):
        store.log(make("model", {"a": b"new"}, type="model"), aliases=[alias])
    assert len(store.versions("model")) == 3


@pytest.mark.parametrize("alias", ["v1.0", "epoch=3", "best", "a-b_c.d", "x" * 128, "1st"])
def test_aliases_within_the_grammar(store, three, alias):
    assert store.promote("model:v0", alias).aliases == [alias]
    assert store.artifact(f"model:{alias}").version == "v0"


def test_latest_cannot_be_removed_and_what_is_not_there_neither(store, three):
    with pytest.raises(InvalidInput, match="logged last"):
        store.remove_alias("model", "latest")
    with pytest.raises(NotFound):
        store.remove_alias("model", "nothing")


def test_an_alias_is_one_whatever_its_case(store, three):
    store.promote("model:v0", "Best")
    store.promote("model:v1", "BEST", expect="v0")
    assert store.artifact("model:v0").aliases == []
    assert store.artifact("model:best").aliases == ["BEST"]


def test_a_deleted_version_takes_no_alias(store, three):
    store.engine.database.write(
        lambda tx: tx.connection.exec_driver_sql("UPDATE version SET state = 'deleted', deleted = 1 WHERE number = 0")
    )
    with pytest.raises(Conflict, match="deleted"):
        store.promote("model:v0", "best")


# Collections, projects


def test_names_that_differ_only_by_case_conflict(store, log, three):
    with pytest.raises(Conflict, match="p/MODEL and p/model differ only by case"):
        log("MODEL", type="model")
    with pytest.raises(Conflict, match="'P' and 'p' differ only by case"):
        log("another", project="P")
    assert store.projects() == ["p"]


def test_a_collection_has_one_type(store, log, three):
    with pytest.raises(Conflict, match="holds versions of type 'model', not 'dataset'"):
        log("model", {"x": b""}, type="dataset")
    assert log("model", {"x": b""}, type=None).type == "model"


@pytest.mark.parametrize("project", ["", "a/b/c", "/a", "a/", "-a", "a b", "1", "and", "x" * 129])
def test_projects_outside_the_grammar_are_refused(store, make, project):
    if project:
        with pytest.raises(InvalidName):
            store.log(make(), project=project)
    assert store.projects() == []


def test_collections_say_what_a_list_shows(store, three, log):
    log("other", project="team/q")
    store.promote("model:v0", "best")
    model = next(one for one in store.collections("p") if one.name == "model")
    assert (model.versions, model.latest, model.type, model.size) == (3, 2, "model", 1)
    assert model.aliases == {"best": 0, "latest": 2}
    assert [(one.project, one.name) for one in store.collections()] == [
        ("p", "data"),
        ("p", "model"),
        ("team/q", "other"),
    ]
    assert store.projects() == ["p", "team/q"]
    assert store.collections("nothing") == []


def test_many_versions_are_read_in_few_statements(store):
    for number in range(30):
        forge(store, "model", bytes([number]) * 32)
    records = store.versions("model")
    assert [one.number for one in records] == list(range(30))
    assert list(store.catalog.records([one.id for one in reversed(records)])) == [one.id for one in reversed(records)]
    assert store.catalog.records([10**9]) == {}


# The journal


def test_a_database_made_from_the_journal_says_the_same(store, three, log, tmp_path):
    store.promote("model:v0", "Best", reason="why")
    store.promote("model:v1", "best")
    store.remove_alias("model", "best")
    edited = store.artifact("model:v1")
    edited.description, edited.metadata, edited.tags = "ä\n", {"x": [1.5, None]}, ["one tag"]
    edited.aliases = ["kept"]
    edited.save()
    log("model", {"a": b"0"}, type="model", aliases=["again"])
    url = f"sqlite:///{tmp_path}/again.db"
    twin = Database.create_blank(url, store_id=store.id, actor="x", folds=ALL_FOLDS)
    Journal(store.engine.backend, twin).replay()

    def state(database):
        names = ("project", "collection", "version", "alias", "tag", "event")
        return database.read(
            lambda c: {name: sorted(map(str, c.exec_driver_sql(f"SELECT * FROM {name}").all())) for name in names}
        )

    assert state(twin) == state(store.engine.database)
    twin.close()


def test_every_event_of_artifacts_has_a_fold(store, three, log):
    log("model", {"a": b"1"}, type="model", tags=["t"])
    store.promote("model:v0", "x")
    store.remove_alias("model", "x")
    store.delete("model:v0")
    store.restore("model:v0")
    store.delete("model:v0")
    store.gc(grace=timedelta(0))
    kinds = {one.kind for one in store.engine.journal.events()} - {*STORAGE_FOLDS}
    assert kinds == set(FOLDS)


def test_digests_are_printed_in_the_journal_as_people_read_them(store, log):
    logged = log()
    (event,) = [one for one in store.engine.journal.events() if one.kind == "version.logged"]
    assert event.data["digest"] == str(logged.digest) == str(Digest(logged.record.digest))
