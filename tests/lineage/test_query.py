"""Selectors asked of a store: the same answers as a model that knows the whole graph, on both databases."""

from __future__ import annotations

import random

import networkx as nx
import pytest

from lineart.artifacts.ref import fold_name
from lineart.lineage.closure import DOWN, UP, Found, reached, walk
from lineart.lineage.globs import Many, One, matcher
from lineart.lineage.graph import lineage_graph
from lineart.lineage.query import path_graph, select_versions, selected_graph
from lineart.lineage.render import lineage_document, lineage_tree, lineage_trees
from lineart.lineage.select import And, Attribute, Function, Not, Or, Steps, parse_selector
from lineart.storage.errors import InvalidInput, InvalidSelector, NotFound

PRODUCED, USED = "produced", "used"


def chosen(world, text):
    return [one.ref for one in select_versions(world.catalog, text, "p")]


def graph_of(world, text, **options):
    return selected_graph(world.catalog, text, "p", **options)


def pipeline(world):
    """raw:v0, raw:v1 → clean → data:v0 → train → model:v0 (production) → evaluate (no output); data:v0 → report:v0."""
    world.log("raw", "r0")
    world.log("raw", "r1")
    clean = world.run("raw:v0", "raw:v1", job_type="Clean", tags=["Nightly"])
    world.log("data", "d0", clean)
    train = world.run("data", job_type="train", group="två")
    world.log("model", "m0", train, aliases=("production",))
    world.run("model", job_type="evaluate")
    report = world.run("data")
    world.log("report", "x0", report)
    world.log("raw", "other", project="team/q")
    return clean, train


SETS = {
    "raw": ["raw:v0", "raw:v1"],
    "RAW": ["raw:v0", "raw:v1"],
    "raw:v*": ["raw:v0", "raw:v1"],
    "raw:v1": ["raw:v1"],
    "raw:latest": ["raw:v1"],
    "model:production": ["model:v0"],
    "R*": ["raw:v0", "raw:v1", "report:v0"],
    "r??": ["raw:v0", "raw:v1"],
    "nothing*": [],
    "*/raw": ["raw:v0", "raw:v1", "team/q/raw:v0"],
    "*/raw:v0": ["raw:v0", "team/q/raw:v0"],
    "team/*/*": ["team/q/raw:v0"],
    "+model:v0": ["data:v0", "model:v0", "raw:v0", "raw:v1"],
    "1+model:v0": ["data:v0", "model:v0"],
    "0+model:v0": ["model:v0"],
    "1000000000+model": ["data:v0", "model:v0", "raw:v0", "raw:v1"],
    "raw:v0+": ["data:v0", "model:v0", "raw:v0", "report:v0"],
    "raw:v0+1": ["data:v0", "raw:v0"],
    "1+data+1": ["data:v0", "model:v0", "raw:v0", "raw:v1", "report:v0"],
    "roots(model)": ["raw:v0", "raw:v1"],
    "roots(raw:v0)": ["raw:v0"],
    "sinks(raw:v0)": ["model:v0", "report:v0"],
    "path(raw:v1, model)": ["data:v0", "model:v0", "raw:v1"],
    "path(model, raw)": [],
    "path(raw, model or report)": ["data:v0", "model:v0", "raw:v0", "raw:v1", "report:v0"],
    "alias=production": ["model:v0"],
    "alias=Production": ["model:v0"],
    "project=p and alias=latest": ["data:v0", "model:v0", "raw:v1", "report:v0"],
    "project=team/q": ["team/q/raw:v0"],
    "job_type=clean": ["data:v0"],
    "job_type=evaluate": [],
    "group=TVÅ": ["model:v0"],
    "run_tag=nightly": ["data:v0"],
    "run_state=running": ["data:v0", "model:v0", "report:v0"],
    "run_state=crashed": [],
    "state=live and raw": ["raw:v0", "raw:v1"],
    "type=nothing": [],
    "raw and not raw:v0": ["raw:v1"],
    "not +model and project=p": ["report:v0"],
    "not raw and not data and not model": ["report:v0", "team/q/raw:v0"],
    "not (project=p or report)": ["team/q/raw:v0"],
    "raw:v0 or report": ["raw:v0", "report:v0"],
}


def test_every_form_of_a_selector_means_what_it_says(worlds):
    pipeline(worlds)
    for text, names in SETS.items():
        wanted = [one if "/" in one else f"p/{one}" for one in names]
        assert chosen(worlds, text) == wanted, text


def test_a_run_selects_what_it_produced(world):
    clean, _ = pipeline(world)
    assert chosen(world, f"run={clean}") == ["p/data:v0"]
    assert chosen(world, "run=nobody") == []


def test_tags_and_types_are_compared_as_names_are(world):
    one = world.log("raw", "r0")
    data = {"project": "p", "collection": "raw", "number": 0, "tags": ["Needs Review"]}
    world.database.write(lambda tx: tx.record("version.edited", "p/raw", data))
    assert chosen(world, 'tag="needs review"') == [one.ref]
    assert chosen(world, f"type={one.type.upper()}") == [one.ref]
    assert chosen(world, "tag=other") == []


def test_a_name_that_means_nothing_is_not_found_and_a_glob_means_no_version(world):
    pipeline(world)
    for text in ("modle", "model:v9", "model:best", "nowhere/model", "raw and modle:v1"):
        with pytest.raises(NotFound):
            chosen(world, text)
    assert chosen(world, "modle*") == []
    assert chosen(world, "model:v9*") == []


def test_a_bare_name_of_one_other_project_is_found_there(world):
    world.log("elsewhere", "1", project="q")
    assert chosen(world, "elsewhere") == chosen(world, "elsewhere:v0") == ["q/elsewhere:v0"]


def test_deleted_versions_are_selected_and_walked_past(worlds):
    pipeline(worlds)
    worlds.delete(worlds.catalog.records([3])[3])
    assert chosen(worlds, "state=deleted") == ["p/data:v0"]
    assert chosen(worlds, "roots(model)") == ["p/raw:v0", "p/raw:v1"]
    assert chosen(worlds, "+model and state=live") == ["p/model:v0", "p/raw:v0", "p/raw:v1"]


# Graphs


def edges(graph):
    return {(tail, head, data["kind"]) for tail, head, data in graph.edges(data=True)}


def test_a_plain_ref_and_its_selector_are_one_graph(worlds):
    pipeline(worlds)
    model, raw = (worlds.catalog.records([number])[number] for number in (4, 1))
    for text, selector, same in (
        ("model:v0", "+model:v0", lineage_graph(worlds.catalog, [model])),
        ("model", "+model:latest", lineage_graph(worlds.catalog, [model])),
    ):
        assert edges(graph_of(worlds, text)) == edges(graph_of(worlds, selector)) == edges(same)
        assert lineage_document(graph_of(worlds, text)) == lineage_document(graph_of(worlds, selector))
    assert lineage_document(graph_of(worlds, "raw:v0", down=True)) == lineage_document(graph_of(worlds, "raw:v0+"))
    assert lineage_document(graph_of(worlds, "model", depth=1)) == lineage_document(graph_of(worlds, "1+model:v0"))
    both = lineage_graph(worlds.catalog, [raw], up=True, down=True)
    assert edges(graph_of(worlds, "+raw:v0+")) == edges(both)


def test_down_and_depth_go_with_a_plain_ref_alone(world):
    pipeline(world)
    for options in ({"down": True}, {"depth": 1}):
        with pytest.raises(InvalidInput, match="plain ref"):
            graph_of(world, "+model", **options)
    with pytest.raises(InvalidInput, match="0 or more"):
        graph_of(world, "model", depth=-1)
    with pytest.raises(InvalidSelector):
        graph_of(world, "model:")


def test_the_graph_of_a_set_has_its_versions_and_what_made_them_and_says_what_it_lacks(world):
    clean, train = pipeline(world)
    graph = graph_of(world, "model or raw")
    assert set(graph) == {"p/model:v0", "p/raw:v0", "p/raw:v1", f"run:{train}"}
    assert edges(graph) == {(f"run:{train}", "p/model:v0", "produced")}
    assert [one for one, cut in graph.nodes(data="cut") if cut] == ["p/model:v0"]
    assert graph.graph["roots"] == ["p/raw:v0", "p/raw:v1", "p/model:v0"]
    text = lineage_trees(graph)
    assert "more beyond" in text
    assert "1 version has more upstream than was selected" in text
    assert not lineage_document(graph)["complete"]
    whole = graph_of(world, "+model and project=p")
    assert edges(whole) == edges(graph_of(world, "model"))
    assert whole.graph["roots"] == ["p/model:v0"]
    assert lineage_document(whole)["complete"]
    assert f"run:{clean}" in whole


def test_a_path_has_what_lies_between_and_no_other_run(worlds):
    clean, train = pipeline(worlds)
    extra = worlds.run(job_type="copy")
    worlds.log("model", "m0", extra)
    graph = path_graph(worlds.catalog, "raw:v0", "model", "p")
    assert set(graph) == {"p/raw:v0", f"run:{clean}", "p/data:v0", f"run:{train}", "p/model:v0"}
    assert nx.is_directed_acyclic_graph(graph)
    assert set(graph_of(worlds, "path(raw:v0, model)")) == set(graph)
    assert lineage_tree(graph).splitlines()[0].startswith("p/model:v0")
    assert not path_graph(worlds.catalog, "model", "raw:v0", "p")
    assert set(path_graph(worlds.catalog, "raw:v*", "type=model or model", "p")) == {*graph, "p/raw:v1"}


def test_both_ways_are_two_trees(world):
    pipeline(world)
    text = lineage_trees(graph_of(world, "1+data+1"))
    up, down = halves(text)
    assert [line.split()[-1] for line in up[1:-1]] == ["versions"]
    assert "raw:v0,v1" in up[1]
    assert [line.split()[1] for line in down[1:-1]] == ["model:v0", "report:v0"]


def halves(text):
    lines = text.splitlines()
    end = next(at for at, line in enumerate(lines) if "nodes:" in line) + 1
    return lines[:end], lines[end:]


def test_an_empty_selection_is_said_to_be_empty(world):
    pipeline(world)
    assert lineage_trees(graph_of(world, "tag=none")) == "0 nodes: 0 versions, 0 runs · nothing left out\n"


# Against a model


class Model:
    """Everything that a small random store holds, and what selectors mean on it, found without our code."""

    def __init__(self, world, seed):
        dice = random.Random(seed)
        self.graph = nx.DiGraph()
        self.states = {}
        versions = []
        for number in range(dice.randrange(4, 12)):
            record = world.log(dice.choice("abc"), f"{seed}.{number}")
            versions.append(record)
            self.graph.add_node(record.ref)
        for _ in range(dice.randrange(2, 10)):
            used = dice.sample(versions, dice.randrange(0, 4))
            made = dice.sample(versions, dice.randrange(0, 4))
            run = world.run(*(one.ref for one in used))
            for one in made:
                content = next(n for n, known in enumerate(versions) if known.ref == one.ref)
                again = world.log(one.collection, f"{seed}.{content}", run)
                assert again.ref == one.ref
            self.graph.add_node(run)
            self.graph.add_edges_from((one.ref, run) for one in used)
            self.graph.add_edges_from((run, one.ref) for one in made)
        gone = dice.choice(versions)
        world.delete(gone)
        self.states = {one.ref: "deleted" if one is gone else "live" for one in versions}

    def versions(self, nodes):
        return {one for one in nodes if one in self.states}

    def reach(self, starts, depth, graph):
        """Levels of a breadth-first search; a step is two edges."""
        far = nx.multi_source_dijkstra_path_length(graph, starts) if starts else {}
        return self.versions(one for one, length in far.items() if depth is None or length <= 2 * depth)

    def ends(self, starts, graph):
        found = self.reach(starts, None, graph)
        return {one for one in found if not {v for r in graph.successors(one) for v in graph.successors(r)} - {one}}

    def ask(self, tree):
        up, down = self.graph.reverse(copy=False), self.graph
        match tree:
            case One(ref):
                return {f"p/{ref.name}:v{ref.version}"} & set(self.states)
            case Many(_, name):
                fits = matcher(name)
                return {one for one in self.states if fits.fullmatch(fold_name(one.split("/")[1].split(":")[0]))}
            case Attribute("state", value):
                return {one for one, state in self.states.items() if state == value}
            case Steps(of, above, below):
                return self.reach(self.ask(of), above, up) | self.reach(self.ask(of), below, down)
            case Not(of):
                return set(self.states) - self.ask(of)
            case And(parts):
                return set.intersection(*map(self.ask, parts))
            case Or(parts):
                return set.union(*map(self.ask, parts))
            case Function("path", (a, b)):
                return self.reach(self.ask(a), None, down) & self.reach(self.ask(b), None, up)
            case Function("roots", (of,)):
                return self.ends(self.ask(of), up)
            case Function("sinks", (of,)):
                return self.ends(self.ask(of), down)


def random_tree(dice, level=3):
    kind = dice.randrange(9) if level else dice.randrange(2)
    inner = [random_tree(dice, level - 1) for _ in range(2)] if kind > 1 else []
    if kind < 2:
        return dice.choice([Many(None, "a*"), Many(None, "b*"), Many(None, "?"), Attribute("state", "deleted")])
    if kind < 5:
        return Steps(inner[0], *dice.choices([None, 0, 1, 2, 10**9], k=2))
    if kind == 5:
        return Not(inner[0])
    if kind == 6:
        return dice.choice([And, Or])(tuple(inner))
    return Function("path", tuple(inner)) if kind == 7 else Function(dice.choice(["roots", "sinks"]), tuple(inner[:1]))


def agree(world, seed, count):
    model, dice = Model(world, seed), random.Random(seed)
    for _ in range(count):
        tree = random_tree(dice)
        assert set(chosen(world, str(tree))) == model.ask(parse_selector(str(tree))), (seed, str(tree))
        graph = graph_of(world, str(tree))
        lineage_trees(graph)
        assert {one for one, kind in graph.nodes(data="kind") if kind == "version"} == model.ask(tree), (
            seed,
            str(tree),
        )
        assert set(graph.edges) <= {
            (f"run:{a}" if a not in model.states else a, f"run:{b}" if b not in model.states else b)
            for a, b in model.graph.edges
        }


@pytest.mark.parametrize("seed", range(4))
def test_random_stores_answer_as_the_model_does(worlds, seed):
    agree(worlds, seed, 25)


@pytest.mark.parametrize("seed", range(6, 9))
def test_what_is_asked_for_at_once_is_what_is_found_step_by_step(worlds, seed):
    Model(worlds, seed)
    starts = [one.id for one in select_versions(worlds.catalog, "b* or ?:v1", "p")] or [1]

    def found(way, depth, patience):
        one = Found()
        worlds.database.read(lambda connection: walk(connection, one, starts, depth, way, patience=patience))
        return list(one.versions), list(one.runs), list(one.edges), one.cut

    def only(way, depth, patience):
        return worlds.database.read(lambda connection: reached(connection, starts, depth, way, patience=patience))

    for way in (UP, DOWN):
        for depth in (None, 0, 1, 2, 3):
            assert found(way, depth, 0) == found(way, depth, 1) == found(way, depth, 1000)
            for patience in (0, 1, 1000):
                assert only(way, depth, patience) == set(found(way, depth, 1000)[0])
