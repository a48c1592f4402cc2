"""What several people save of one version comes together; where it cannot, nobody's words go without a word."""

from __future__ import annotations

import threading

import pytest

import lineart
from lineart.artifacts.change import Names
from lineart.storage.database import Database
from lineart.storage.errors import Conflict, InvalidInput
from lineart.storage.journal import Journal
from lineart.store import FOLDS

MANY = 600_000  # characters: twice that is too much for one version


@pytest.fixture
def two(store, log):
    """Two objects of one version, each of which knows nothing of the other."""
    log(metadata={"a": 1, "b": 2, "deep": {"x": 1}}, description="old")
    return store.artifact("data"), store.artifact("data")


def test_metadata_of_two_that_saved_one_after_the_other_is_merged(store, two):
    ana, ben = two
    ana.metadata["reviewed_by"] = "ana"
    del ana.metadata["a"]
    ana.save()
    ben.metadata["f1"] = 0.7
    ben.metadata["b"] = True
    ben.description = "new"
    ben.save()
    assert ben.metadata == {"b": True, "deep": {"x": 1}, "reviewed_by": "ana", "f1": 0.7}
    assert ben.metadata["b"] is True
    assert store.artifact("data").metadata == ben.metadata
    ana.metadata["reviewed_by"] = "ann"  # what she saved herself is no change of somebody else's
    ana.save()
    assert store.artifact("data").metadata == {**ben.metadata, "reviewed_by": "ann"}


def test_what_two_of_them_gave_the_same_value_is_no_conflict(store, two):
    ana, ben = two
    for one in two:
        one.metadata["f1"] = 0.7
        one.metadata["deep"]["x"] = 2
        one.metadata.pop("a")
        one.description = "new"
    ana.save()
    before = len(store.history("data"))
    ben.metadata["mine"] = 1
    ben.save()
    assert ben.metadata == {"b": 2, "deep": {"x": 2}, "f1": 0.7, "mine": 1}
    assert len(store.history("data")) == before + 1
    ana.metadata["mine"] = 1
    ana.save()
    assert len(store.history("data")) == before + 1, "what is there already is recorded by no event"


def test_what_is_set_anew_to_the_value_it_had_is_no_change(two):
    ana, ben = two
    ana.metadata["a"] = 5
    ana.save()
    ben.metadata = {"a": 1, "b": 2, "deep": {"x": 1}, "mine": True}
    ben.save()
    assert ben.metadata == {"a": 5, "b": 2, "deep": {"x": 1}, "mine": True}


def test_metadata_that_is_assigned_whole_takes_away_what_it_leaves_out_and_no_more(two):
    ana, ben = two
    ana.metadata["reviewed_by"] = "ana"
    ana.save()
    ben.metadata = {"f1": 0.7}
    ben.save()
    assert ben.metadata == {"f1": 0.7, "reviewed_by": "ana"}


@pytest.mark.parametrize(
    ("theirs", "mine", "said"),
    [
        (lambda one: one.metadata.update(a=2), lambda one: one.metadata.update(a=3), "metadata 'a' is 2 there and 3"),
        (lambda one: one.metadata.update(n="x"), lambda one: one.metadata.update(n=1), "'n' is 'x' there and 1 here"),
        (lambda one: one.metadata.pop("a"), lambda one: one.metadata.update(a=3), "'a' is absent there and 3 here"),
        (lambda one: one.metadata.update(a=2), lambda one: one.metadata.pop("a"), "'a' is 2 there and absent here"),
        (lambda one: one.metadata["deep"].update(y=1), lambda one: one.metadata["deep"].update(z=1), "metadata 'deep'"),
        (
            lambda one: setattr(one, "description", "theirs"),
            lambda one: setattr(one, "description", None),
            "the description is 'theirs' there and absent here",
        ),
        (lambda one: one.metadata.update(a="x" * 9999), lambda one: one.metadata.update(a=3), "…"),
        (
            lambda one: one.metadata.update({f"k{n}": 1 for n in range(9)}),
            lambda one: one.metadata.update({f"k{n}": 2 for n in range(9)}),
            "and 6 more",
        ),
    ],
)
def test_what_both_changed_is_a_conflict_that_names_both_and_saves_nothing(store, two, theirs, mine, said):
    ana, ben = two
    theirs(ana)
    ana.save()
    before = store.history("data")
    mine(ben)
    ben.metadata["more"], ben.tags, ben.aliases = 1, ["mine"], ["latest", "mine"]
    with pytest.raises(Conflict) as caught:
        ben.save()
    assert said in str(caught.value)
    assert "p/data:v0" in str(caught.value)
    assert "nothing was saved" in str(caught.value)
    assert len(str(caught.value)) < 800
    assert store.history("data") == before
    assert ben.metadata["more"] == 1, "what was to be saved is still here"


def test_metadata_that_is_too_much_only_together_is_refused_before_anything_is_saved(store, two):
    ana, ben = two
    ana.metadata["ana"] = "x" * MANY
    ana.save()
    ben.metadata["ben"] = "x" * MANY
    with pytest.raises(InvalidInput, match="at most"):
        ben.save()
    assert "ben" not in store.artifact("data").metadata


def test_a_database_made_from_the_journal_has_what_was_merged(store, two, tmp_path):
    for number, one in enumerate(two):
        one.metadata[f"by {number}"] = number
        one.save()
    twin = Database.create_blank(f"sqlite:///{tmp_path}/again.db", store_id=store.id, actor="x", folds=FOLDS)
    Journal(store.engine.backend, twin).replay()
    found = [
        one.read(lambda c: c.exec_driver_sql("SELECT * FROM version").all()) for one in (twin, store.engine.database)
    ]
    twin.close()
    assert found[0] == found[1]
    assert '"by 0":0,"by 1":1' in str(found[0])


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_many_that_save_at_once_lose_nothing(request, tmp_path, make, database):
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    with lineart.create(tmp_path / "store", database=url) as store:
        store.log(make(metadata={"a": 1}))
        everybody = [store.artifact("data") for _ in range(8)]
        ready = threading.Barrier(len(everybody))

        def save(number, one):
            one.metadata[str(number)] = number
            ready.wait(60)
            one.save()

        threads = [threading.Thread(target=save, args=pair) for pair in enumerate(everybody)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
        assert store.artifact("data").metadata == {"a": 1, **{str(n): n for n in range(len(everybody))}}


def test_what_names_are_given_and_taken():
    assert Names.between([], []) == ((), ())
    assert Names.between(["a", "b"], ["B", "c"]) == (("c",), ("a",))
    assert Names.between(["a", "latest"], [], spare="latest") == ((), ("a",))
