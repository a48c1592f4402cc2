from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lineart
from lineart.storage.digest import Digest
from lineart.storage.errors import Conflict, Frozen, InvalidInput, InvalidName, NotLogged

FILES = {f"d{number % 3}/f{number}": str(number).encode() for number in range(12)}


def test_a_logged_artifact_says_what_it_is(store, make):
    before = datetime.now(UTC)
    draft = make(files={"a": b"123", "b/c": b"4"}, description="words", metadata={"k": 1})
    logged = store.log(draft, aliases=["clean"], tags=["gold", "needs review"])
    assert logged is draft
    assert (logged.name, logged.collection, logged.version, logged.type) == ("data:v0", "data", "v0", "dataset")
    assert (logged.ref, logged.project, logged.state) == ("p/data:v0", "p", "live")
    assert (logged.size, logged.file_count) == (4, 2)
    assert (logged.description, logged.metadata) == ("words", {"k": 1})
    assert (logged.aliases, logged.tags) == (["clean", "latest"], ["gold", "needs review"])
    assert before.replace(microsecond=0) <= logged.created_at <= datetime.now(UTC)
    assert isinstance(logged.digest, Digest)
    assert str(logged.digest).startswith("b3:")
    assert "data:v0" in repr(logged)
    again = store.artifact("data:v0")
    assert again.record == logged.record
    assert logged.wait() is logged


def test_a_draft_has_no_version_yet(make):
    draft = make()
    assert draft.state == "draft"
    assert draft.name == "data"
    assert "draft" in repr(draft)
    for ask in (
        lambda: draft.version,
        lambda: draft.digest,
        lambda: draft.size,
        draft.download,
        draft.checkout,
        draft.verify,
        draft.save,
        draft.new_draft,
        draft.wait,
        lambda: list(draft.files()),
        lambda: draft["a"],
        lambda: draft.open("a"),
        lambda: draft.diff(draft),
        draft.upstream,
        draft.logged_by,
    ):
        with pytest.raises(NotLogged, match="log it first"):
            ask()


def test_logging_twice_is_refused(store, log):
    with pytest.raises(Frozen):
        store.log(log())


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(sorted(FILES)))
def test_equal_content_is_the_same_version_whatever_the_order_of_adding(store, make, order):
    logged = store.log(make(files={path: FILES[path] for path in order}))
    assert logged.version == "v0"
    assert logged.digest == store.artifact("data").digest


def test_equal_content_is_the_same_version_however_it_was_added(store, make, tmp_path):
    for path, data in FILES.items():
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(data)
    digests = set()
    first = store.log(make(files=FILES))
    digests.add(first.digest)
    by_folder = lineart.Artifact("by-folder")
    by_folder.add_dir(tmp_path / "in")
    digests.add(store.log(by_folder).digest)
    by_file = lineart.Artifact("by-file")
    for path in sorted(FILES, key=lambda path: Random(path).random()):
        if len(path) % 2:
            by_file.add_file(tmp_path / "in" / path, name=path)
        else:
            with by_file.new_file(path, "wb") as file:
                file.write(FILES[path])
    digests.add(store.log(by_file).digest)
    edited = store.log(make("edited", {**FILES, "d0/f0": b"other", "more": b""})).new_draft()
    edited.remove("more")
    edited.add_bytes(FILES["d0/f0"], "d0/f0")
    digests.add(store.log(edited).digest)
    assert len(digests) == 1


def test_the_executable_bit_is_content_and_times_are_not(store, tmp_path):
    path = tmp_path / "run"
    versions = []
    for mode, content in ((0o644, b"x"), (0o600, b"x"), (0o755, b"x"), (0o700, b"x")):
        path.write_bytes(content)
        path.chmod(mode)
        draft = lineart.Artifact("tool")
        draft.add_file(path)
        versions.append(store.log(draft).version)
    assert versions == ["v0", "v0", "v1", "v1"]


def test_logging_unchanged_content_moves_latest_and_adds_aliases_and_tags(store, log):
    log(files={"a": b"1"}, aliases=["first"], tags=["x"])
    log(files={"a": b"2"})
    again = log(files={"a": b"1"}, aliases=["again"], tags=["y"])
    assert again.version == "v0"
    assert again.aliases == ["again", "first", "latest"]
    assert again.tags == ["x", "y"]
    assert store.artifact("data:v1").aliases == []
    assert [one.number for one in store.versions("data")] == [0, 1]


def test_the_same_content_in_another_collection_is_another_version(store, log):
    one, two = log("one"), log("two")
    assert one.digest == two.digest
    assert (one.ref, two.ref) == ("p/one:v0", "p/two:v0")
    assert log("one", project="q").ref == "q/one:v0"


def test_save_keeps_what_was_changed(store, log):
    logged = log(metadata={"a": 1}, tags=["x", "y"], aliases=["one"])
    logged.metadata["b"] = 2
    logged.description = "new"
    logged.tags.remove("x")
    logged.tags.append("z")
    logged.aliases.append("two")
    logged.aliases.remove("one")
    logged.save()
    again = store.artifact("data:v0")
    for one in (logged, again):
        assert one.metadata == {"a": 1, "b": 2}
        assert one.description == "new"
        assert one.tags == ["y", "z"]
        assert one.aliases == ["latest", "two"]


def test_save_without_a_change_records_nothing(store, log):
    logged = log(metadata={"a": [1]}, tags=["x"], aliases=["one"])
    before = len(store.history("data"))
    logged.save()
    logged.aliases.reverse()
    logged.tags *= 2
    logged.save()
    assert len(store.history("data")) == before


def test_save_sends_only_what_was_changed_here(store, log):
    log(metadata={"a": 1}, tags=["x"], aliases=["one"])
    mine, yours = store.artifact("data"), store.artifact("data")
    yours.description = "yours"
    yours.tags.append("yours")
    yours.aliases.append("yours")
    yours.save()
    mine.metadata["mine"] = True
    mine.tags.append("mine")
    mine.aliases.append("mine")
    mine.save()
    assert mine.metadata == {"a": 1, "mine": True}
    assert mine.description == "yours"
    assert mine.tags == ["mine", "x", "yours"]
    assert mine.aliases == ["latest", "mine", "one", "yours"]


def test_save_takes_no_alias_away_that_means_another_version_by_now(store, log):
    log(files={"a": b"1"}, aliases=["production"])
    mine = store.artifact("data:v0")
    log(files={"a": b"2"})
    store.promote("data:v1", "production")
    mine.aliases.remove("production")
    mine.save()
    assert store.artifact("data:production").version == "v1"


def test_save_does_not_bring_back_an_alias_that_was_moved_away(store, log):
    log(files={"a": b"1"}, aliases=["production"])
    mine = store.artifact("data:v0")
    log(files={"a": b"2"})
    store.promote("data:v1", "production")
    mine.description = "words"
    mine.save()
    assert store.artifact("data:production").version == "v1"
    assert mine.aliases == []  # latest moved on too


def test_an_alias_that_differs_by_case_alone_is_the_same(store, log):
    logged = log(aliases=["Best"])
    logged.aliases = ["best"]
    logged.save()
    assert store.artifact("data:BEST").version == "v0"
    assert logged.aliases == ["Best", "latest"]


def test_latest_is_not_taken_away_by_leaving_it_out(store, log):
    logged = log()
    logged.aliases = []
    logged.save()
    assert store.artifact("data:latest").version == "v0"


@pytest.mark.parametrize("alias", ["v3", "V3", "3", "", "a b", "a/b", "-a", "and", "x" * 129])
def test_an_alias_outside_the_grammar_changes_nothing(store, log, alias):
    logged = log()
    before = len(store.history("data"))
    logged.description = "new"
    logged.aliases.append(alias)
    with pytest.raises(InvalidName):
        logged.save()
    assert len(store.history("data")) == before


def test_a_diff_says_what_was_added_removed_changed_and_renamed(log):
    old = log(files={"same": b"0", "gone": b"1", "other": b"2", "moved/from": b"33"}, metadata={"a": 1, "b": 2})
    new = log(files={"same": b"0", "new": b"4", "other": b"5", "moved/to": b"33"}, metadata={"b": 3, "c": 4})
    change = new.diff(old)
    assert [one.path for one in change.added] == ["new"]
    assert [one.path for one in change.removed] == ["gone"]
    assert [one.path for one in change.changed] == ["other"]
    assert [(one.old.path, one.new.path) for one in change.renamed] == [("moved/from", "moved/to")]
    assert change.metadata == {"a": (1, None), "b": (2, 3), "c": (None, 4)}
    assert change
    assert not new.diff(new)


def test_a_logged_artifact_is_opened_for_reading_only(log):
    logged = log()
    for mode in ("r", "w", "wb", "ab", "r+b"):
        with pytest.raises(InvalidInput, match="as bytes"):
            logged.open("a.txt", mode)


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "-a", ".a", "1", "123", "and", "OR", "nöt", "x" * 129, "a:b", "a\0"]
)
def test_names_outside_the_grammar_are_refused_at_once(name):
    with pytest.raises(InvalidName):
        lineart.Artifact(name)
    with pytest.raises(InvalidName):
        lineart.Artifact("fine", type=name)


def test_metadata_and_description_are_checked_when_they_are_assigned(make):
    draft = make()
    with pytest.raises(InvalidInput):
        draft.metadata = {"a": 1j}
    with pytest.raises(InvalidInput):
        draft.metadata["a"] = object()
    with pytest.raises(InvalidInput):
        draft.description = b"bytes"


def test_everything_that_could_be_refused_is_before_anything_is_read(store, make, log, tmp_path):
    log("Taken", type="dataset")
    (tmp_path / "f").write_bytes(b"1")
    store.watch = lambda what: lambda files, size: pytest.fail("a file was read")

    def draft(name="data", **options):
        made = lineart.Artifact(name, **{"type": "dataset", **options})
        made.add_file(tmp_path / "f")
        return made

    for error, attempt in (
        (InvalidName, lambda: store.log(draft(), aliases=["v1"])),
        (InvalidName, lambda: store.log(draft(), tags=[" x"])),
        (InvalidName, lambda: store.log(draft(), project="a/b/c")),
        (InvalidName, lambda: store.log(draft(), project="-x")),
        (Conflict, lambda: store.log(draft("Taken", type="model"))),
        (Conflict, lambda: store.log(draft("taken"))),
        (Conflict, lambda: store.log(draft("Taken"), project="P")),
    ):
        with pytest.raises(error):
            attempt()
    assert [one.name for one in store.collections()] == ["Taken"]
