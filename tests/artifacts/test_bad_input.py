"""Whatever comes in: it is kept as it is and comes back, or it is refused in words and nothing is changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lineart
from lineart.artifacts.collection import NewVersion
from lineart.artifacts.download import platform_here
from lineart.artifacts.entry import shown
from lineart.artifacts.ref import Ref
from lineart.storage.digest import Digest
from lineart.storage.errors import (
    FormatTooNew,
    IntegrityError,
    InvalidInput,
    InvalidName,
    LineartError,
    NotFound,
    SourceChanged,
)
from lineart.storage.pack import PackKind, encode

SLOPPY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

PARTS = st.sampled_from(
    [
        "a",
        "b",
        "A",
        "..",
        ".",
        "",
        "a-b",
        "CON",
        "C:",
        "x" * 255,
        "x" * 256,
        "ä",
        "a\u0308",
        "\n",
        "\\",
        "\0",
        "\udcff",
        " ",
    ]
) | st.text(max_size=6)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@SLOPPY
@given(files=st.dictionaries(PATHS, st.binary(max_size=20), max_size=8))
def test_any_names_come_back_as_they_were_or_are_refused(store, tmp_path_factory, tree, files):
    kept = {}
    draft = lineart.Artifact("any")
    for path, data in files.items():
        try:
            draft.add_bytes(data, path)
        except InvalidName as error:
            str(error).encode()
        else:
            kept[path] = data
    version = store.log(draft)
    assert {one.path: one.read_bytes() for one in version.files()} == kept
    here = tmp_path_factory.mktemp("any")
    try:
        version.download(here / "out")
    except InvalidName:
        assert list(here.iterdir()) == []
    else:
        assert tree(here / "out") == kept
        assert os.listdir(here) == ["out"]


@SLOPPY
@given(page=st.binary(max_size=300), ref=st.sampled_from(["raw", "leaf", "inner"]))
def test_any_bytes_in_the_place_of_a_page_are_refused(store, tmp_path_factory, page, ref):
    head = {"raw": b"", "leaf": b"\x93\x01\x00", "inner": b"\x93\x01\x01"}[ref]
    data = head + page + b"\xc1"  # which no msgpack begins with
    digest = bytes(Digest.of(data))
    with store.engine.session() as session:
        if not session.known([digest]):
            session.add([encode(digest, data)], PackKind.META)
        session.flush()
        store.catalog.log("p", "forged", None, NewVersion(digest, 0, 0, None, {}), session)
    version = store.artifact("forged")
    here = tmp_path_factory.mktemp("any")
    for use in (
        lambda: version.download(here / "out"),
        lambda: list(version.files()),
        lambda: version["a"],
        lambda: version.read_bytes("a"),
        lambda: version.new_draft().remove("a"),
    ):
        with pytest.raises((IntegrityError, FormatTooNew)):
            use()
    assert list(here.iterdir()) == []


@SLOPPY
@given(text=st.text(max_size=30) | st.text("ab/:@v0123456789.-=b3", max_size=30))
def test_any_ref_is_found_or_refused_in_words(store, log, text):
    if not store.collections():
        log("ab")
    try:
        store.artifact(text)
    except (InvalidName, NotFound) as error:
        str(error).encode()


NAMES = st.text(max_size=5) | st.sampled_from(
    ["a", "A", "latest", "Latest", "v1", "1", "and", "x" * 128, "x" * 129, "a b"]
)


@SLOPPY
@given(name=NAMES, project=NAMES, kind=NAMES, alias=NAMES, tag=NAMES, description=st.text(max_size=5))
def test_any_words_are_kept_or_refused_and_the_store_stays_clean(store, name, project, kind, alias, tag, description):
    try:
        draft = lineart.Artifact(name, type=kind, description=description)
        draft.add_bytes(b"1", "a")
        version = store.log(draft, aliases=[alias], tags=[tag], project=project or "p")
    except LineartError as error:
        str(error).encode()
    else:
        again = store.artifact(version.ref)
        assert (again.type, again.description, again.tags[-1:]) == (
            version.type,
            version.description,
            version.tags[-1:],
        )
        assert store.artifact(Ref(project or "p", name, alias=alias)).version == again.version
        assert tag in again.tags


@pytest.mark.parametrize("reason", ["nul \0", "\udc80", "x" * (17 << 20)])
def test_a_reason_that_cannot_be_kept_changes_nothing(store, log, reason):
    log()
    before = len(store.history("data"))
    with pytest.raises(InvalidInput):
        store.promote("data:v0", "best", reason=reason)
    assert len(store.history("data")) == before
    store.promote("data:v0", "best", reason="ä \n \u2028 \x7f")
    assert store.history("data")[-1].reason == "ä \n \u2028 \x7f"
    assert store.check().clean


@pytest.mark.parametrize(
    "path", [path for path in ("/proc/version", "/proc/self/status", "/sys/kernel/mm") if Path(path).is_file()]
)
def test_files_that_have_more_than_they_say_are_not_logged_in_part(store, path):
    draft = lineart.Artifact("system")
    draft.add_file(path, name="x")
    with pytest.raises(SourceChanged):
        store.log(draft)


def test_twins_by_case_and_by_normal_form_are_kept_apart(log, tmp_path, tree):
    files = {"A": b"1", "a": b"2", "\u00e4": b"3", "a\u0308": b"4", "D/x": b"5", "d/x": b"6"}
    version = log(files=files)
    assert {one.path: one.read_bytes() for one in version.files()} == files
    if platform_here() == "posix":
        assert tree(version.download(tmp_path / "out")) == files


def test_messages_about_names_are_printable(log, tmp_path):
    version = log(files={"\x1b[2J\n" + "x" * 300: b""})
    with pytest.raises(InvalidName) as caught:
        version.download(tmp_path / "out")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert shown("x" * 5000).endswith("(5000 characters)")


@pytest.mark.parametrize("value", [None, 5, b"a", ["a"], Path("a")])
def test_what_is_no_text_is_no_name(make, value):
    for use in (
        lambda: lineart.Artifact(value),
        lambda: make().add_bytes(b"", value),
        lambda: make().remove(value),
    ):
        with pytest.raises((InvalidName, TypeError, AttributeError)):
            use()
