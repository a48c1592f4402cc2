"""The lineage tree and document, over graphs made by hand."""

from __future__ import annotations

import doctest
import json

import networkx as nx
import pytest

import lineart.lineage.columns as columns_module
import lineart.lineage.printing as printing_module
from lineart.artifacts.records import VersionRecord
from lineart.lineage.columns import ASCII, Line, escape, lay_out, width
from lineart.lineage.printing import abbreviate, print_duration, print_size
from lineart.lineage.render import lineage_document, lineage_tree
from lineart.lineage.runs import RunRecord

GIB, MINUTE, HOUR = 1 << 30, 60_000_000, 3_600_000_000


class Maker:
    """Builds a lineage graph: `v` makes a version, `r` a run with its inputs and outputs."""

    def __init__(self, project="digits"):
        self.project = project
        self.edges = 0
        self.graph = nx.DiGraph(roots=[], up=True, down=False, depth=None)

    def v(self, name, size=0, aliases=(), state="live", newer=None, project=None, cut=False):
        collection, _, number = name.partition(":v")
        record = VersionRecord(
            id=len(self.graph),
            project=project or self.project,
            collection=collection,
            type="t",
            number=int(number),
            digest=bytes(32),
            size=size,
            file_count=1,
            state=state,
            created=0,
            deleted=None,
            actor="a",
            description=None,
            metadata={},
            aliases=(*aliases, "latest"),
            tags=(),
        )
        self.graph.add_node(record.ref, kind="version", record=record, newer=newer, cut=cut)
        return record.ref

    def r(self, run, inputs, outputs, job=None, commit=None, dirty=False, span=MINUTE, state="finished"):
        record = RunRecord(
            id=run,
            project=self.project,
            name=run,
            job_type=job,
            group=None,
            notes=None,
            tags=(),
            state=state,
            created=0,
            heartbeat=0,
            ended=None if state == "running" else span,
            exit_code=0,
            actor="a",
            config={},
            summary={},
            code={"git": {"commit": commit, "dirty": dirty}} if commit else {},
            environment={},
        )
        self.graph.add_node(f"run:{run}", kind="run", record=record)
        for one in inputs:
            self._edge(one, f"run:{run}", "used")
        for one in outputs:
            self._edge(f"run:{run}", one, "produced")

    def _edge(self, tail, head, kind):
        self.graph.add_edge(tail, head, kind=kind, time=0, order=self.edges, data={})
        self.edges += 1

    def tree(self, root, **options):
        self.graph.graph["roots"] = [root]
        return lineage_tree(self.graph, **options)


def digits():
    make = Maker()
    wiki1, wiki2 = make.v("wiki:v1", newer=2), make.v("wiki:v2", 3 * GIB)
    news = [make.v(f"news:v{n}", 1024, newer=6 if n < 6 else None) for n in range(7)]
    clean, tokenizer = make.v("clean:v4", 2 * GIB), make.v("tokenizer:v1", 4096, newer=2)
    dataset = make.v("dataset:v3", 9 * GIB, ["clean"])
    old, base = make.v("dataset:v2", state="deleted", newer=3), make.v("base:v2", int(4.1 * GIB))
    parts = [make.v(f"labels-part:v{n}", 10) for n in range(4)]
    labels, model = make.v("labels:v9", 100), make.v("model:v7", int(1.2 * GIB), ["best", "production"])
    make.r("r1a7", [wiki2, *news], [clean], "clean", "77c01aa" + "0" * 33, span=18 * MINUTE)
    make.r("r2c0", [clean], [tokenizer], "fit-bpe", "9f0e1d2" + "0" * 33, span=3 * MINUTE)
    make.r("r5q1", [tokenizer, clean], [dataset], "tokenize", "9f0e1d2" + "0" * 33, span=41 * MINUTE)
    make.r("r4p9", [wiki1], [old], "tokenize", "9f0e1d2" + "0" * 33, span=38 * MINUTE)
    make.r("r7d3", [old], [base], "pretrain", "51ee0b2" + "0" * 33, span=76 * HOUR)
    make.r("r6m4", parts, [labels], "merge", "77c01aa" + "0" * 33, span=2 * MINUTE)
    make.r("r8k2", [dataset, base, labels], [model], "train", "a1b2c3d" + "0" * 33, True, 6 * HOUR + 12 * MINUTE)
    return make, model


def test_a_trace_back_to_raw_data():
    make, model = digits()
    assert make.tree(model).splitlines() == [
        "digits/model:v7          1.2 GiB  best production  ← train r8k2 · a1b2c3d+ · 6h12m",
        "├─ dataset:v3            9.0 GiB  clean            ← tokenize r5q1 · 9f0e1d2 · 41m",
        "│  ├─ tokenizer:v1       4.0 KiB  newer: v2        ← fit-bpe r2c0 · 9f0e1d2 · 3m",
        "│  │  └─ clean:v4        2.0 GiB                   ← clean r1a7 · 77c01aa · 18m",
        "│  │     ├─ wiki:v2      3.0 GiB                   raw",
        "│  │     └─ news:v0…v6   7.0 KiB                   raw, 7 versions",
        "│  └─ clean:v4                                     (above)",
        "├─ base:v2               4.1 GiB                   ← pretrain r7d3 · 51ee0b2 · 3d4h",
        "│  └─ dataset:v2                  deleted          ← tokenize r4p9 · 9f0e1d2 · 38m",
        "│     └─ wiki:v1             0 B                   raw",
        "└─ labels:v9               100 B                   ← merge r6m4 · 77c01aa · 2m",
        "   └─ labels-part:v0…v3     40 B                   raw, 4 versions",
        "27 nodes: 20 versions, 7 runs · nothing left out",
    ]


def test_what_was_made_of_a_version():
    make, _ = digits()
    root = "digits/clean:v4"
    below = make.graph.subgraph({root} | nx.descendants(make.graph, root)).copy()
    below.graph["roots"] = [root]
    assert lineage_tree(below, down=True).splitlines() == [
        "digits/clean:v4    2.0 GiB",
        "├─ tokenizer:v1    4.0 KiB  newer: v2        ← fit-bpe r2c0 · 9f0e1d2 · 3m",
        "│  └─ dataset:v3   9.0 GiB  clean            ← tokenize r5q1 · 9f0e1d2 · 41m",
        "│     └─ model:v7  1.2 GiB  best production  ← train r8k2 · a1b2c3d+ · 6h12m",
        "└─ dataset:v3                                (above)",
        "7 nodes: 4 versions, 3 runs · nothing left out",
    ]


def test_ascii_has_the_same_lines():
    make, model = digits()
    text = make.tree(model, style=ASCII)
    assert text.isascii()
    lines = text.splitlines()
    assert len(lines) == 13
    assert lines[0] == "digits/model:v7           1.2 GiB  best production  <- train r8k2, a1b2c3d+, 6h12m"
    assert lines[5] == "|  |     `- news:v0..v6   7.0 KiB                   raw, 7 versions"


def test_a_lone_version_is_raw_and_counted():
    make = Maker()
    assert make.tree(make.v("wiki:v0", 1)) == "digits/wiki:v0  1 B  raw\n1 node: 1 version, 0 runs · nothing left out\n"


def test_a_raw_version_that_a_run_made_keeps_its_run():
    make = Maker()
    wiki = make.v("wiki:v0", 1)
    make.r("r1", [], [wiki], "fetch", state="running")
    assert make.tree(wiki).splitlines()[0] == "digits/wiki:v0  1 B  raw ← fetch r1 · running"


def test_a_run_without_a_job_type_is_called_by_its_name_and_an_ended_one_by_how():
    make = Maker()
    model = make.v("model:v0", 1)
    make.r("r1", [make.v("a:v0", 1)], [model], state="failed")
    assert make.tree(model).splitlines()[0] == "digits/model:v0  1 B  ← r1 · 1m · failed"


def test_names_of_another_project_are_whole():
    make = Maker()
    model, other = make.v("model:v0", 1), make.v("wiki:v0", 1, project="team/shared")
    make.r("r1", [other], [model])
    assert "└─ team/shared/wiki:v0" in make.tree(model)


def test_several_runs_that_made_the_same_content_are_all_followed():
    make = Maker()
    model, a, b = make.v("model:v0", 1), make.v("a:v0", 1), make.v("b:v0", 1)
    make.r("r1", [a], [model])
    make.r("r2", [a, b], [model])
    make.r("r3", [], [model])
    lines = make.tree(model).splitlines()
    assert lines[0].endswith("← r1 · 1m and 2 more runs")
    assert [line[:7] for line in lines[1:3]] == ["├─ a:v0", "└─ b:v0"]
    assert lines[-1].startswith("6 nodes: 3 versions, 3 runs")


def test_a_cycle_ends():
    make = Maker()
    a, b = make.v("a:v0", 1), make.v("b:v0", 1)
    make.r("r1", [a, b], [b])
    make.r("r2", [b], [a])
    assert [line.split()[0:2] for line in make.tree(a).splitlines()[1:3]] == [["└─", "b:v0"], ["└─", "a:v0"]]
    assert make.tree(a).splitlines()[2].endswith("(above)")
    assert make.tree(a, down=True).count("(above)") >= 1


def test_raw_siblings_fold_by_collection_and_only_if_nothing_would_be_hidden():
    make = Maker()
    model = make.v("model:v0", 1)
    inputs = [make.v(f"news:v{n}", 1) for n in (0, 1, 2, 5, 7, 8)]
    inputs += [make.v("news:v3", 1, ["gold"]), make.v("news:v4", state="deleted"), make.v("other:v0", 1)]
    make.r("r1", inputs, [model])
    lines = [" ".join(line.split()) for line in make.tree(model).splitlines()[1:-1]]
    assert lines == [
        "├─ news:v0…v2,v5,v7,v8 6 B raw, 6 versions",
        "├─ news:v3 1 B gold raw",
        "├─ news:v4 deleted raw",
        "└─ other:v0 1 B raw",
    ]


def test_a_fold_of_which_some_stand_above_is_taken_apart():
    make = Maker()
    model, clean = make.v("model:v0", 1), make.v("clean:v0", 1)
    news = [make.v(f"news:v{n}", 1) for n in range(4)]
    make.r("r1", news[:2], [clean])
    make.r("r2", [clean, *news], [model])
    lines = [" ".join(line.split()) for line in make.tree(model).splitlines()[1:-1]]
    assert lines == [
        "├─ clean:v0 1 B ← r1 · 1m",
        "│ └─ news:v0,v1 2 B raw, 2 versions",
        "├─ news:v0,v1 (above), 2 versions",
        "└─ news:v2,v3 2 B raw, 2 versions",
    ]


def test_raw_versions_of_many_runs_fold_and_count_them():
    make = Maker()
    model, news = make.v("model:v0", 1), []
    for number in range(3):
        news.append(make.v(f"news:v{number}", 1))
        make.r(f"f{number}", [], [news[-1]], "fetch")
    make.r("r1", news, [model])
    assert make.tree(model).splitlines()[1].endswith("raw, 3 versions, 3 runs")


def test_what_lies_beyond_the_depth_is_said():
    make = Maker()
    model, base = make.v("model:v0", 1), make.v("base:v0", 1, cut=True)
    make.r("r1", [base], [model])
    make.graph.graph["depth"] = 1
    lines = make.tree(model).splitlines()
    assert lines[1].endswith("more beyond")
    assert "raw" not in lines[1]
    assert lines[-1].endswith("· depth 1: 1 version has more upstream")
    assert not lineage_document(make.graph)["complete"]


def test_runs_that_made_nothing_stand_in_the_way_down():
    make = Maker()
    model = make.v("model:v0", 1)
    make.r("r1", [model], [], "eval", "abcdef012345")
    make.r("r2", [model], [make.v("report:v0", 1)], "report")
    lines = [" ".join(line.split()) for line in make.tree(model, down=True).splitlines()[1:-1]]
    assert lines == ["├─ eval r1 no output · abcdef0 · 1m", "└─ report:v0 1 B ← report r2 · 1m"]


def test_control_characters_do_not_reach_the_terminal():
    make = Maker()
    model = make.v("model:v0", 1, ["\x1b[31mred\u202e"])
    make.r("r1", [make.v("a\x07\n:v0", 1)], [model], "jo\rb\u2028")
    text = make.tree(model)
    assert not any(char in text for char in "\x1b\x07\r\u202e\u2028")
    assert "\\x1b[31mred\\u202e" in text
    assert len(text.splitlines()) == 3
    assert escape("naïve 中", ascii_only=True) == "na\\xefve \\u4e2d"
    assert escape("naïve 中") == "naïve 中"


def chain(length):
    make = Maker()
    for number in range(length):
        node = make.v(f"step:v{number}", 1)
        make.r(f"r{number}", [f"digits/step:v{number - 1}"] if number else [], [node])
    return make, node


@pytest.mark.slow
def test_a_chain_of_five_thousand_is_shown_whole_in_lines_that_can_be_read():
    make, last = chain(5000)
    text = make.tree(last)
    lines = text.splitlines()
    assert max(map(len, lines)) < 220
    assert sum("← r" in line for line in lines) == 5000
    assert sum("goes on below" in line for line in lines) == sum("(from above)" in line for line in lines) > 100
    assert lines[-1] == "10,000 nodes: 5,000 versions, 5,000 runs · nothing left out"
    assert len(make.tree("digits/step:v0", down=True).splitlines()) > 5000


def test_a_fan_of_ten_thousand_is_shown_whole():
    make = Maker()
    model = make.v("model:v0", 1)
    make.r(
        "r1",
        [make.v(f"c{number}:v0", 1) for number in range(5000)] + [make.v(f"d:v{n}", 1) for n in range(5000)],
        [model],
    )
    lines = make.tree(model).splitlines()
    assert len(lines) == 1 + 5000 + 1 + 1
    assert lines[-2].split() == ["└─", "d:v0…v4999", "4.9", "KiB", "raw,", "5000", "versions"]


def test_a_document_holds_everything_as_json():
    make, model = digits()
    make.tree(model)
    document = json.loads(json.dumps(lineage_document(make.graph)))
    assert document["schema"] == 1
    assert document["roots"] == [model]
    assert document["complete"]
    assert len(document["nodes"]) == 27
    (node,) = [one for one in document["nodes"] if one["node"] == "digits/tokenizer:v1"]
    assert (node["kind"], node["size"], node["newer"], node["created"]) == (
        "version",
        4096,
        "v2",
        "1970-01-01T00:00:00Z",
    )
    (run,) = [one for one in document["nodes"] if one["node"] == "run:r8k2"]
    assert (run["kind"], run["job_type"]) == ("run", "train")
    assert document["edges"][0] == {
        "from": "digits/wiki:v2",
        "to": "run:r1a7",
        "kind": "used",
        "time": "1970-01-01T00:00:00Z",
    }


def test_wide_characters_count_double_and_long_names_push_only_their_own_line():
    assert width("中a") == 3
    text = lay_out([Line(0, "中", "1 B"), Line(0, "abc", "10 B"), Line(0, "x" * 100, "5 B")])
    assert text.splitlines() == ["中    1 B", "abc  10 B", "x" * 100 + "   5 B"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1024, "1.0 KiB"),
        (1048575, "1.0 MiB"),
        (1536, "1.5 KiB"),
        (1 << 60, "1.0 EiB"),
        (1 << 70, "1024.0 EiB"),
    ],
)
def test_sizes(size, text):
    assert print_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (90, "1m30s"),
        (2490, "41m"),
        (7200, "2h"),
        (22320, "6h12m"),
        (273600, "3d4h"),
        (-5, "0s"),
    ],
)
def test_durations(seconds, text):
    assert print_duration(int(seconds * 1e6)) == text


def test_numbers_are_abbreviated():
    assert abbreviate([3]) == "v3"
    assert abbreviate([8, 7, 7]) == "v7,v8"
    assert abbreviate([0, 1, 2, 9], ASCII) == "v0..v2,v9"


@pytest.mark.parametrize("module", [columns_module, printing_module])
def test_the_examples_run(module):
    assert doctest.testmod(module).failed == 0
