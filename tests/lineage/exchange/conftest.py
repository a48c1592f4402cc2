"""Graphs made by hand, with what people may call things at worst."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import networkx as nx
import pytest

from lineart.artifacts.records import ExternalRecord, VersionRecord
from lineart.lineage.runs import RunRecord
from lineart.storage.marker import Marker

STORE = "5" * 32
HOSTILE = 'a"\'<script>&\x00\x01\x1b[31m\r\n\t\u202e\ufffe]]>\\x01 \U0001f600 {"} ' + "x" * 10_000


class GraphMaker:
    """Builds a lineage graph: versions, runs with inputs and outputs, and places outside the store."""

    def __init__(self):
        self.graph = nx.DiGraph(store=STORE, roots=[], up=True, down=False, depth=None)
        self.edges = 0

    def version(self, name, **fields):
        collection, _, number = name.partition(":v")
        known = {
            "id": len(self.graph),
            "project": "p",
            "collection": collection,
            "type": "t",
            "number": int(number),
            "digest": bytes([len(self.graph) % 256]) * 32,
            "size": 1 << 40,
            "file_count": 2,
            "state": "live",
            "created": 1_000_000,
            "deleted": None,
            "actor": "ana@here",
            "description": None,
            "metadata": {},
            "aliases": ("latest",),
            "tags": (),
        }
        record = VersionRecord(**{**known, **fields})
        self.graph.add_node(record.ref, kind="version", record=record, newer=None, cut=False)
        return record.ref

    def run(self, run, inputs, outputs, **fields):
        known = {
            "id": run,
            "project": "p",
            "name": run,
            "job_type": None,
            "group": None,
            "notes": None,
            "tags": (),
            "state": "finished",
            "created": 2_000_000,
            "heartbeat": 2_500_000,
            "ended": 3_000_000,
            "exit_code": 0,
            "actor": "ana@here",
            "config": {},
            "summary": {},
            "code": {},
            "environment": {},
        }
        record = RunRecord(**{**known, **fields})
        node = f"run:{run}"
        self.graph.add_node(node, kind="run", record=record)
        for one in inputs:
            self.edge(one, node, "used")
        for one in outputs:
            self.edge(node, one, "produced")
        return node

    def external(self, url, *versions):
        self.graph.add_node(url, kind="external", record=ExternalRecord(url, 4112, 1 << 41))
        for one in versions:
            self.edge(url, one, "refers")
        return url

    def edge(self, tail, head, kind, data=None):
        self.edges += 1
        self.graph.add_edge(tail, head, kind=kind, time=2_000_000 + self.edges, order=self.edges, data=data or {})


def world_class():
    """Return the World of tests/lineage/conftest.py, of which a fixture makes one only."""
    spec = importlib.util.spec_from_file_location("lineart_tests_world", Path(__file__).parents[1] / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.World


@pytest.fixture(name="world_class")
def world_class_fixture():
    return world_class()


@pytest.fixture
def another(tmp_path):
    """Another store beside the one that a test has, on SQLite."""
    made = world_class()(f"sqlite:///{tmp_path}/another.sqlite")
    store = "6" * 32
    made.database.write(lambda tx: tx.connection.exec_driver_sql(f"UPDATE store SET store_id = '{store}'"))
    made.database.store_id, made.engine.marker = store, Marker(store, single_machine=True)
    yield made
    made.engine.close()


@pytest.fixture
def maker():
    return GraphMaker()


@pytest.fixture
def digits():
    """Two inputs, one of them of an external place; a run that failed, one that crashed, one that goes on."""
    make = GraphMaker()
    raw, data = make.version("raw:v0"), make.version("data:v1", description="clean", tags=("gold",))
    model = make.version("model:v0", type="model", metadata={"acc": 0.97}, aliases=("best", "latest"))
    report, gone = make.version("report:v0", created=500), make.version("gone:v3", state="purged", deleted=9)
    make.external("s3://corpus/web/", raw, data)
    git = {"commit": "a" * 40, "branch": "main", "remote": "git@github.com:team/digits.git", "dirty": True}
    code = {"git": git, "command": ["python", "train.py"], "diff": ["b3:" + "d" * 64]}
    environment = {"python": "3.11.7", "implementation": "CPython", "packages": ["b3:" + "e" * 64]}
    words = {"job_type": "train", "notes": "cosine", "config": {"lr": 0.1}, "summary": {"loss": 0.2}, "tags": ("x",)}
    make.run("r1", [raw, gone], [data], state="failed", exit_code=3)
    make.run("r2", [data], [model], code=code, environment=environment, created=4_000_000, ended=9_000_000, **words)
    make.run("r3", [model], [], state="running", ended=None, exit_code=None, heartbeat=12_000_000, created=11_000_000)
    make.run("r4", [model], [], state="crashed", exit_code=None, created=11_500_000, ended=13_000_000)
    make.graph.graph["roots"] = [model]
    assert report in make.graph
    return make.graph


@pytest.fixture
def hostile():
    """Everything that people can name has the worst name; a run that logs what it used; an odd place."""
    make = GraphMaker()
    words = {"description": HOSTILE, "metadata": {HOSTILE: [HOSTILE, None, 1.5]}, "actor": HOSTILE, "type": HOSTILE}
    raw = make.version("raw:v0", **words, tags=(HOSTILE,), aliases=(HOSTILE,))
    make.external(f"s3://b/{HOSTILE}", raw)
    make.external("s3://b/\x01", raw)
    make.external("s3://b/\\x01", raw)
    code = {"git": {"commit": HOSTILE, "remote": HOSTILE, "branch": HOSTILE}, "command": [HOSTILE]}
    said = {"name": HOSTILE, "job_type": HOSTILE, "notes": HOSTILE, "group": HOSTILE, "config": {HOSTILE: HOSTILE}}
    make.run("r1.", [raw], [raw], code=code, actor=HOSTILE, **said)
    make.graph.graph["roots"] = [raw]
    return make.graph
