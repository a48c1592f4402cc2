"""The demo is the whole product in one run: the same pipeline on every kind of bucket and database."""

from __future__ import annotations

import json
import re

import pytest

import lineart
from lineart.demo import FEWEST, Demo, run_demo
from lineart.demo_work import CharModel, prepare, stdlib_sources, strip_source, texts


def run(told, folder, files=40, **where) -> Demo:
    return run_demo(folder, files=files, tell=told.append, **where)


def check_everything(demo: Demo, told: list[str], **where) -> None:
    """What the demo returned and told is what its store holds."""
    with lineart.open(demo.url, project="demo", **where) as store:
        assert demo.clean
        assert store.check(read_data=True).clean
        assert demo.models == ("demo/model:v0", "demo/model:v1")
        assert (demo.raw, demo.dataset, demo.report) == (
            "demo/raw-sources:v0",
            "demo/dataset:v0",
            "demo/evaluation:v0",
        )
        assert store.artifact(demo.raw).file_count == demo.files

        runs = {one.id: one for one in store.runs("demo")}
        assert set(runs) == set(demo.runs)
        assert {one.state for one in runs.values()} == {"finished"}
        assert [runs[one].job_type for one in demo.runs] == ["ingest", "prep", "train", "train", "evaluate"]

        graph = store.lineage(demo.report)
        assert {name for name in graph if not name.startswith("run:")} == {
            demo.raw,
            demo.dataset,
            *demo.models,
            demo.report,
        }
        assert {name.removeprefix("run:") for name in graph if name.startswith("run:")} == set(demo.runs)

        better = demo.models[min(range(2), key=lambda index: demo.perplexities[index])]
        production = store.artifact("model:production")
        assert demo.production == production.ref == better
        assert set(production.aliases) >= {"best", "production"}
        report = json.loads(store.artifact(demo.report).read_bytes("report.json"))
        assert list(report["perplexity"].values()) == [round(one, 4) for one in demo.perplexities]

        model = (demo.fetched / "model.json").read_bytes()
        assert model == production.read_bytes("model.json")
        text = "\n".join(told)
        assert demo.completion in text
        assert demo.lineage.splitlines()[-1] in text
        for ref in set(re.findall(r"demo/[a-z-]+:v\d+", text)):
            assert store.artifact(ref).state == "live"


@pytest.mark.slow
def test_the_demo_makes_what_it_tells(tmp_path):
    told: list[str] = []
    demo = run(told, tmp_path / "demo")
    assert demo.folder == tmp_path / "demo"
    check_everything(demo, told)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["s3-moto", "s3-rclone", "gcs"])
def test_the_demo_runs_the_same_on_a_bucket_and_postgresql(kind, new_location, postgres_url, tmp_path):
    told: list[str] = []
    bucket = new_location(kind)
    where = {"database": postgres_url, "storage_options": bucket.storage_options}
    demo = run(told, tmp_path / "demo", url=bucket.url, **where)
    assert not (tmp_path / "demo" / "store").exists()
    check_everything(demo, told, **where)
    assert postgres_url not in "\n".join(told)


@pytest.mark.slow
def test_a_temporary_demo_leaves_nothing_behind():
    demo = run([], None, files=FEWEST)
    assert not demo.kept
    assert not demo.folder.exists()


@pytest.mark.slow
def test_equal_sources_give_equal_digests_in_two_stores(tmp_path):
    digests = []
    for name in "ab":
        demo = run([], tmp_path / name, files=FEWEST)
        with lineart.open(demo.url) as store:
            digests.append([store.artifact(ref).digest for ref in (demo.raw, demo.dataset, *demo.models, demo.report)])
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_a_teams_store_in_the_environment_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "team").mkdir()
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "team"))
    monkeypatch.setenv("LINEART_DATABASE", f"sqlite:///{tmp_path}/team/team.db")
    monkeypatch.setenv("LINEART_PROJECT", "digits")
    demo = run([], tmp_path / "demo", files=FEWEST)
    assert demo.clean
    assert demo.raw.startswith("demo/")
    assert not any((tmp_path / "team").iterdir())


def test_too_few_files_are_refused(tmp_path):
    with pytest.raises(lineart.storage.errors.InvalidInput, match="at least 10"):
        run([], tmp_path, files=FEWEST - 1)
    assert not any(tmp_path.iterdir())


def test_sources_are_spread_over_the_library_and_have_no_tests(tmp_path):
    for name in ("a.py", "b.py", "c.py", "d.py", "test/x.py", "site-packages/y.py", "data.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "empty.py").touch()
    assert [name for name, _ in stdlib_sources(9, tmp_path)] == ["a.py", "b.py", "c.py", "d.py"]
    assert [name for name, _ in stdlib_sources(2, tmp_path)] == ["a.py", "c.py"]


@pytest.mark.parametrize(
    ("source", "stripped"),
    [
        (b"x = 1  # one\n", "x = 1\n"),
        (b'"""doc"""  # and more\nx = 1\n', "x = 1\n"),
        (b'def f():\n    """a\n    b"""\n    return "kept"\n', 'def f():\n    return "kept"\n'),
        (b'f(\n  # no\n  "kept"\n)\n', 'f(\n  "kept"\n)\n'),
        (b'x = "# kept"\r\n# gone\r\n', 'x = "# kept"\n'),
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        (b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", "x = 'é'\n"),
    ],
)
def test_comments_and_docstrings_go_and_the_rest_stays(source, stripped):
    assert strip_source(source) == stripped


def test_what_is_no_python_is_counted_and_left_out(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.py").write_bytes(b"x = 1\n")
    (raw / "b.py").write_bytes(b"x = (\n")
    (raw / "c.py").write_bytes(b"\xff\n")
    assert list(prepare(raw, tmp_path / "out", 0.0)) == ["valid", "unreadable", "unreadable"]
    assert list(texts(tmp_path / "out")) == ["x = 1\n"]


def test_the_models_chances_sum_to_one_whatever_the_context():
    model = CharModel.train("abracadabra abracadabra", 4)
    for context in ("", "a", "abr", "zzz", "dabra a"):
        known = sum(model.probability(context, one) for one in "abrcd ")
        assert known + model.probability(context, "?") == pytest.approx(1.0)


def test_a_model_reads_back_as_it_was_written():
    model = CharModel.train("for name in names:\n" * 9, 5)
    again = CharModel.decode(model.encode())
    assert again.encode() == model.encode()
    assert again.perplexity("for name in") == model.perplexity("for name in")
    assert CharModel.train("x = 1\n" * 9, 3).complete("x ") == "= 1"
