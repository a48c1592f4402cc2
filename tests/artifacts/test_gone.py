"""What was deleted for a reason is not fetched, used or logged again without a word of it."""

import logging

import pytest
from sqlalchemy import Engine, event

import lineart
from lineart.artifacts.gone import SHOWN, find_buried
from lineart.artifacts.suggest import near_aliases
from lineart.lineage.run import start_run
from lineart.storage.errors import NotFound


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store(request, tmp_path):
    database = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    with lineart.create(tmp_path / "store", database, project="p") as store:
        yield store


def log(store, content, name="data"):
    draft = lineart.Artifact(name, type="dataset")
    draft.add_bytes(content, "f")
    return store.log(draft)


def buried(store, reason="bad labels"):
    """Log a version that is deleted for a reason behind one that stays."""
    log(store, b"good")
    version = log(store, b"bad")
    store.delete(version.record, reason=reason)
    return store.artifact(version.ref)


def test_who_wants_what_is_deleted_is_told_by_whom_and_why(store):
    version = buried(store)
    told = rf'p/data:v1 is deleted \({store.engine.actor}, [-0-9: ]+ UTC: "bad labels"\); `art restore p/data:v1`'
    with pytest.raises(NotFound, match=told):
        version.read_bytes("f")
    with pytest.raises(NotFound, match=told), start_run(store, "p") as run:
        run.use_artifact("data:v1")


def test_of_a_deletion_without_a_reason_it_is_told_who_and_when(store):
    with pytest.raises(NotFound, match=rf"is deleted \({store.engine.actor}, [-0-9: ]+ UTC\); "):
        buried(store, reason=None).read_bytes("f")


def test_a_reason_as_long_as_a_book_is_shown_in_part_and_found_in_the_history(store):
    with pytest.raises(NotFound) as failed:
        buried(store, reason="x" * 10_000).read_bytes("f")
    assert len(str(failed.value)) < 2 * SHOWN
    assert "`art history p/data:v1` has all of it" in str(failed.value)


def test_the_last_deletion_counts_and_a_purge_does_not_hide_it(store):
    from datetime import timedelta

    version = buried(store, "the first")
    store.restore(version.record)
    store.delete(store.resolve("data:v1"), reason="the second")
    store.gc(grace=timedelta(0))
    with pytest.raises(NotFound, match=r'p/data:v1 was deleted \(.* UTC: "the second"\) and its bytes are gone'):
        store.artifact("data:v1").read_bytes("f")


def test_who_logs_deleted_content_again_is_warned(store, caplog):
    buried(store)
    with caplog.at_level(logging.WARNING, "lineart"):
        log(store, b"bad", "other")
        log(store, b"good")
        assert not caplog.messages, "another collection, and content that is there"
        assert log(store, b"bad").version == "v2"
        (said,) = caplog.messages
        log(store, b"bad")
    assert said.startswith(f"p/data:v2 has the content of v1, which was deleted ({store.engine.actor}, ")
    assert said.endswith(' UTC: "bad labels")')
    assert len(caplog.messages) == 1, "it is a version again"


def test_an_alias_is_near_to_others_of_its_collection_that_have_the_same_digits(store):
    first = log(store, b"1")
    for alias in ("production", "epoch-8", "best"):
        store.promote(first.ref, alias)
    store.promote(log(store, b"2", "other").ref, "Prodction")
    second = log(store, b"3")

    def near(alias):
        return store.engine.database.read(lambda connection: near_aliases(connection, second.record.id, alias))

    assert near("PRODCTION") == [("production", 0)]
    assert (near("production"), near("epoch-9"), near("lates")) == ([], [], [])


def test_deleted_content_is_looked_up_by_content_and_not_version_by_version(tmp_path):
    with lineart.create(tmp_path / "store", project="p") as store:
        version = log(store, b"1").record.id
        sent = []

        def keep(connection, cursor, statement, parameters, context, many):
            sent.append((statement, parameters))

        event.listen(Engine, "before_cursor_execute", keep)
        try:
            assert store.engine.database.read(lambda connection: find_buried(connection, version)) is None
        finally:
            event.remove(Engine, "before_cursor_execute", keep)
        ((statement, parameters),) = [one for one in sent if one[0].startswith("SELECT")]
        plan = store.engine.database.read(
            lambda connection: connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        )
    assert "version_content (collection=? AND digest=?)" in str(plan)
