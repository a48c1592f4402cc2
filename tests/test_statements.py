"""How many statements a question takes: as many in a store of thousands of versions as in one of three."""

from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event

import lineart
from lineart.artifacts.collection import NewVersion, move_alias, open_collection, settle_version
from lineart.artifacts.records import listed
from lineart.artifacts.ref import Ref
from lineart.commands.portrait import paint
from lineart.lineage.edges import record_product
from lineart.storage.digest import Digest
from lineart.storage.errors import NotFound

LATER = 4_000_000_000_000_000  # µs


@contextmanager
def statements():
    """Collect the statements that are sent meanwhile, with their numbers of parameters."""
    sent = []

    def keep(connection, cursor, statement, parameters, context, many):
        sent.append((statement, len(parameters)))

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", keep)


def write_versions(store, name, count):
    """Give a collection many versions in one transaction: their numbers and names, but no content."""

    def work(tx):
        row = open_collection(tx, "p", name, "model")
        for number in range(count):
            collection = row._replace(next_number=number)
            digest = number.to_bytes(2, "big") + bytes(30)
            settle_version(tx, collection, NewVersion(digest, number, 1, None, {"n": number}), [f"n{number % 5}"])
        tx.record("version.edited", f"p/{name}", {"project": "p", "collection": name, "number": 0, "tags": ["a", "b"]})

    store.engine.write(work)


def fill(store, *, versions, others, runs):
    """Make a collection whose last two versions have content, other collections, and runs that used the last one."""
    write_versions(store, "model", versions)
    for number in range(others):
        write_versions(store, f"other{number}", 1)
    store.engine.write(lambda tx: move_alias(tx, open_collection(tx, "p", "model", None), "best_1", 0, reason="good"))
    for text in (b"one", b"two"):
        draft = lineart.Artifact("model", type="model")
        draft.add_bytes(text, "weights.bin")
        last = store.log(draft, aliases=listed("best_2")).record
    for number in range(runs):
        run = store.ledger.start("p").id
        store.ledger.use(run, Ref("p", "model"), "p")
        other = store.resolve(f"other{number % others}").id
        store.engine.write(lambda tx, run=run, other=other: record_product(tx, run, other, None))
    return last


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store of five versions and one of many."""
    made = []
    for sizes in ({"versions": 3, "others": 2, "runs": 1}, {"versions": 520, "others": 12, "runs": 8}):
        made.append(lineart.create(tmp_path_factory.mktemp("stores") / "store", project="p"))
        fill(made[-1], **sizes)
    yield made
    for one in made:
        one.close()


QUESTIONS = {
    "collections": (lambda store: store.collections("p"), 3),
    "collections of all projects": (lambda store: store.collections(), 3),
    "versions": (lambda store: store.versions("model"), 4),
    "an alias": (lambda store: store.resolve("model:best_1"), 5),
    "a number": (lambda store: store.resolve("p/model:v1"), 5),
    "a digest": (lambda store: store.resolve(f"model@{Digest(bytes(32))}"), 5),
    "an alias at a time": (lambda store: store.resolve(Ref("p", "model", alias="best_1", at=LATER)), 7),
    "an alias that is not there": (lambda store: store.resolve("model:no"), 5),
    "a collection that is not there": (lambda store: store.resolve("no"), 3),
    "the type of a collection": (lambda store: store.catalog.type_of("P", "Model"), 1),
    "the history of an alias": (lambda store: store.history("model", "best_1"), 3),
    "what art show says": (lambda store: paint(store, store.resolve("model")), 23),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_takes_as_many_statements_in_a_large_store_as_in_a_small_one(stores, question):
    ask, most = QUESTIONS[question]
    counts = []
    for store in stores:
        with statements() as sent:
            try:
                ask(store)
            except NotFound:
                assert "not there" in question
        counts.append(len(sent))
    assert counts[0] == counts[1] <= most


def test_no_list_of_all_collections_is_sent_to_the_database(stores):
    with statements() as sent:
        assert len(stores[1].collections("p")) == 13
        assert len(stores[1].collections()) == 13
    assert max(count for _, count in sent) <= 2


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store(request, tmp_path):
    """A store of five versions, on each kind of database."""
    database = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with lineart.create(tmp_path / "store", database=database, project="p") as made:
        fill(made, versions=3, others=2, runs=2)
        yield made


def test_versions_of_a_collection_are_what_each_of_them_is_alone(store):
    listed_ones = store.versions("model")
    assert [one.number for one in listed_ones] == [0, 1, 2, 3, 4]
    assert listed_ones == list(store.catalog.records([one.id for one in listed_ones]).values())
    assert (listed_ones[0].aliases, listed_ones[0].tags) == (("best_1", "n0"), ("a", "b"))
    assert listed_ones[4].aliases == ("best_2", "latest")


def test_collections_are_listed_with_what_lives_in_them(store):
    found = store.collections("P")
    assert [(one.name, one.versions, one.latest) for one in found] == [
        ("model", 5, 4),
        ("other0", 1, 0),
        ("other1", 1, 0),
    ]
    assert found[0].aliases == {"best_1": 0, "best_2": 4, "latest": 4, "n0": 0, "n1": 1, "n2": 2}
    assert (found[0].size, found[0].updated) == (3, store.resolve("model").created)
    assert store.collections() == found
    assert store.collections("q") == []


def test_the_version_before_one_is_that_of_its_collection_whose_content_is_there(store):
    last = store.resolve("model")
    before = store.catalog.previous(last)
    assert before.ref == "p/model:v3"
    assert store.catalog.previous(store.resolve("model:v0")) is None
    assert store.catalog.previous(store.resolve("other1")) is None


def test_the_history_of_an_alias_is_of_no_other(store):
    store.promote("model:v1", "BEST_1", reason='says "alias":"best_2"')
    store.promote("model:v2", "bestX1")  # an underscore is no wildcard
    moves = [(one.data["alias"], one.data["from"], one.data["to"]) for one in store.history("model", "best_1")]
    assert moves == [("best_1", None, 0), ("BEST_1", 0, 1)]
    assert [one.data["to"] for one in store.catalog.moves(store.resolve("model:best_2"))] == [4]
    assert store.catalog.moves(store.resolve("other0")) == store.history("other0", "n0")
    store.remove_alias("model", "best_1")
    now = Ref("p", "model", alias="best_1", at=LATER)
    with pytest.raises(NotFound, match="at that time"):
        store.resolve(now)
    store.promote("model:v2", "best_1")
    assert store.resolve(now).version == "v2"


def test_what_was_made_of_a_version_is_told_once_and_in_order(store):
    used = store.resolve("model")
    assert [store.catalog.records([one])[one].name for one in store.ledger.products(used.id)] == [
        "other0:v0",
        "other1:v0",
    ]
    assert store.ledger.products(store.resolve("other0").id) == []


def test_the_type_of_a_collection_is_found_by_any_spelling_of_its_name(store):
    assert store.catalog.type_of("P", "MODEL") == "model"
    assert store.catalog.type_of("p", "none") is None
    assert store.catalog.type_of("q", "model") is None
