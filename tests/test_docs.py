"""What the docs show is what happens; what they describe is what there is."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import lineart
from lineart.storage.transaction import STORAGE_FOLDS
from lineart.store import FOLDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md")))
BUCKETS = {"docs/how-to/s3-postgresql.md": "s3-moto", "docs/how-to/gcs.md": "gcs"}
LINEAGE = [
    f"docs/how-to/{page}.md"
    for page in (
        "ask-for-lineage",
        "compare-versions",
        "explain-a-difference",
        "find-what-a-change-touches",
        "find-what-is-out-of-date",
        "make-it-again",
        "what-was-in-production",
    )
]
FIRST = ["README.md", "docs/tutorial.md"]
SECRETS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_DEFAULT_REGION": "us-east-1"}


def helper(name):
    spec = importlib.util.spec_from_file_location(f"lineart_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


documents, reference, ready_art = helper("documents"), helper("reference_pages"), helper("ready_art")


@pytest.fixture(scope="module")
def quick():
    """A folder with an `art` that need not start: see ready_art.py."""
    with tempfile.TemporaryDirectory() as folder, ready_art.running(Path(folder)):
        yield Path(folder)


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def runnable():
    """Yield the pages that ask for something and need no server."""
    for page in PAGES:
        if page not in BUCKETS and any(isinstance(one, documents.Command) for one in documents.steps(text_of(page))):
            yield page


@pytest.mark.slow
@pytest.mark.parametrize("page", list(runnable()))
def test_what_a_page_shows_is_what_comes(page, tmp_path, request):
    """The pages that are read first are done with the `art` that is installed."""
    programs = None if page in FIRST else request.getfixturevalue("quick")
    assert "\n".join(documents.Reader(tmp_path, programs=programs).follow(text_of(page))) == ""


@pytest.mark.slow
@pytest.mark.parametrize("page", BUCKETS)
def test_what_a_page_about_a_bucket_shows_is_what_comes(page, tmp_path, new_location, postgres_url, quick):
    bucket = new_location(BUCKETS[page])
    options = bucket.storage_options
    replace = {
        re.search(r'^url = "(.*)"$', text_of(page), re.MULTILINE)[1]: bucket.url,
        "postgresql://lineart@db.example/lineart": postgres_url,
        "https://s3.example": options["endpoint_url"],
    }
    reader = documents.Reader(tmp_path, replace, SECRETS, quick)
    text = text_of(page)
    if "endpoint_url =" not in text:  # of a real cloud: the emulator is named beside it
        extra = "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())
        text = text.replace('project = "digits"\n', f'project = "digits"\n\n[storage_options]\n{extra}')
    assert "\n".join(reader.follow(text)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("page", LINEAGE)
def test_what_a_page_about_lineage_shows_comes_from_postgresql_too(page, tmp_path, postgres_url, quick):
    assert "art init" in text_of(page)
    reader = documents.Reader(tmp_path, {"art init": f"art init --database '{postgres_url}'"}, programs=quick)
    assert "\n".join(reader.follow(text_of(page))) == ""


# The extractor itself


def test_pages_ask_for_files_commands_and_programs_in_order():
    page = (
        "```python\n# a/b.py\nx = 1\n```\n```console\n$ one\nout\n$ two \\\n> more\n```\n```python\nprint(1)\n```\n\n"
        "```text\n1\n```\n```sh\nnever\n```\n"
    )
    assert list(documents.steps(page)) == [
        documents.File("a/b.py", "x = 1\n"),
        documents.Command("one", "out\n"),
        documents.Command("two \\\nmore", None),
        documents.Command("print(1)\n", "1\n", python=True),
    ]


@pytest.mark.parametrize(
    ("printed", "shown", "same"),
    [
        ("run rabcdefg took 3s", "run rzzzzzzz took 14m", True),
        ("a  b\n\n", "a b", True),
        ("1 file, 8 B", "1 file, 9 B", False),
        ("one two three", "one ... three", True),
        ("one two", "one ... three", False),
        ("2026-01-02 03:04 UTC, root@vm", "2025-11-12 13:14 UTC, ana@gpu07", True),
    ],
)
def test_output_is_compared_but_for_what_differs_from_run_to_run(printed, shown, same):
    assert documents.agrees(printed, shown) == same


@pytest.mark.slow
def test_a_page_that_shows_something_else_is_found_out(tmp_path):
    reader = documents.Reader(tmp_path)
    assert len(reader.follow("```console\n$ echo one\ntwo\n$ echo one\none\n$ false\n```\n")) == 2


@pytest.mark.slow
def test_a_command_that_need_not_start_answers_as_one_that_starts(tmp_path, quick):
    asked = (
        "art init --project p && echo one > f && art log f data",
        "art ls; art ls | cat; art ls 2>&1 >&- | head -n 1",
        "for n in 1 2; do art show data:v$n 2>&1 || echo $?; done",
        "echo y | art rm data:v0; art log --help; art log nowhere; echo $?",
        "LINEART_PROJECT=q NO_COLOR= art ls --json && mkdir -p d && cd d && art run --log out=../f -- art ls",
        "art no such command",
    )
    answers = []
    for programs in (None, quick):
        reader = documents.Reader(tmp_path / str(programs is None), programs=programs)
        answers.append([reader.run(documents.Command(text, None)) for text in asked])
    really, ready = (
        [(code, re.sub("[0-9a-f]{32}", "ID", documents.plain(text))) for code, text in one] for one in answers
    )
    assert [code for code, _ in really] == [0, 0, 0, 0, 0, 2]
    assert ready == really


# Pages and code agree


@pytest.mark.parametrize("file", reference.PAGES)
def test_reference_pages_are_what_the_code_says(file):
    made = reference.PAGES[file]()
    assert (DOCS / "reference" / file).read_text(encoding="utf-8") == made, "run: python tests/reference_pages.py"


def test_every_kind_of_event_is_in_the_format_with_its_fields(tmp_path):
    table = dict(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|[^|]*\| (.*?) \|", text_of("docs/format.md"), re.MULTILINE))
    assert set(table) == {*STORAGE_FOLDS, *FOLDS}
    with lineart.create(tmp_path / "store") as store:
        from lineart.lineage.run import start_run

        with start_run(store, "p", config={"a": 1}, tags=["t"]) as run:
            draft = lineart.Artifact("a")
            draft.add_bytes(b"1", "x")
            run.log_artifact(draft, aliases=["best"], tags=["good"])
            run.use_artifact("a:best")
            run.summary["loss"] = 1.0
            run.notes = "n"
        key = ec.generate_private_key(ec.SECP256R1())
        how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        store.sign("p/a:v0", private_key=key.private_bytes(*how))
        store.remove_alias("p/a", "best", reason="why")
        store.delete("p/a:v0", force=True)
        store.restore("p/a:v0")
        (damaged,) = [one for one in (tmp_path / "store" / "packs").rglob("*") if one.is_file()]
        kept = damaged.read_bytes()
        for content in (b"no pack", kept):
            damaged.write_bytes(content)
            store.repair_index()
        store.delete("p/a:v0")
        store.gc(grace=timedelta(0))
        events = list(store.engine.journal.events())
    for event in events:
        fields = dict(re.findall(r"`([a-z_]+)(\??)`", table[event.kind]))
        assert set(event.data) <= set(fields), event.kind
        assert {name for name, optional in fields.items() if not optional} <= set(event.data), event.kind
    assert {event.kind for event in events} >= set(table) - {"run.crashed", "run.finished"}


def test_the_marker_in_the_format_is_the_marker(tmp_path):
    with lineart.create(tmp_path / "store"):
        marker = json.loads((tmp_path / "store" / "lineart.json").read_bytes())
    text = text_of("docs/format.md")
    section = text[text.index("## Marker") : text.index("## Chunks")]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(marker)
    bounds = text[text.index("### Files and cut points") : text.index("### Recipes")]
    shown = {
        name: int(value.replace(",", ""))
        for name, value in re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", bounds, re.MULTILINE)
    }
    assert shown == marker["chunking"]


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page))):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            there = (ROOT / page).parent / path if path else ROOT / page
            assert there.exists(), f"{page} links to {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", without_code(there.read_text(encoding="utf-8")), re.MULTILINE)
                assert anchor in {slug(one) for one in headings}, f"{page} links to {target}"


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_page_can_be_reached_from_the_index():
    reached, todo = set(), [DOCS / "index.md"]
    while todo:
        page = todo.pop().resolve()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)#\s]+)", without_code(page.read_text(encoding="utf-8"))):
            if "://" not in target:
                there = page.parent / target
                todo += sorted(there.glob("*.md")) if there.is_dir() else [there]
    assert {os.fspath(one) for one in DOCS.rglob("*.md")} <= {os.fspath(one) for one in reached}


def test_pages_use_the_words_of_the_glossary_for_its_own_table():
    words = re.findall(r"^\| ([a-z ]+) \|", text_of("docs/glossary.md"), re.MULTILINE)
    assert words[0] == "word"
    assert len(words) == len(set(words))


def test_prose_fits_a_line():
    for page in PAGES:
        for number, line in enumerate(without_code(text_of(page)).splitlines(), 1):
            assert len(line) <= 125 or line.startswith("|") or "](" in line, f"{page}, about line {number}"
