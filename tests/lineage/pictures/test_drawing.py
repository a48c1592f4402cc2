"""What boxes say, and what is folded or left out where there are too many."""

from __future__ import annotations

import doctest

import pytest

import lineart.lineage.pictures.drawing as drawing_module
from lineart.lineage.pictures.drawing import REST, draw


def box(drawing, title):
    (found,) = [node for node in drawing.nodes if node.title == title]
    return found


def test_boxes_say_what_the_tree_says(digits):
    drawing = draw(digits)
    model = box(drawing, "model:v7")
    assert (model.lines, model.chips, model.is_root) == (("1.2 GiB · 1 file",), ("best", "production"), True)
    assert box(drawing, "train").lines == ("r8k2 · a1b2c3d+ · 6h12m",)
    assert box(drawing, "tokenizer:v1").lines == ("4.0 KiB · 1 file", "newer: v2")
    assert box(drawing, "s3://corpus/web/").lines == ("4,112 objects · 1.0 TiB",)
    assert sum(node.is_root for node in drawing.nodes) == 1
    assert drawing.counts == "28 nodes: 20 versions, 7 runs, 1 external"
    assert drawing.notes == ()
    assert len(drawing.edges) == digits.number_of_edges()


def test_a_deleted_version_is_a_box_that_says_so(digits):
    old = box(draw(digits), "dataset:v2")
    assert (old.is_gone, old.badge, old.lines) == (True, "deleted", ())
    assert not box(draw(digits), "dataset:v3").badge


def test_a_newer_version_in_the_picture_goes_without_saying(make):
    old, new = make.v("a:v0", 1, newer=1), make.v("a:v1", 1)
    make.r("r", [old], [new])
    assert box(draw(make.rooted(new)), "a:v0").lines == ("1 B · 1 file",)


def test_a_name_of_another_project_is_whole(make):
    model, other = make.v("model:v0", 1), make.v("wiki:v0", 1, project="team/shared")
    make.r("r", [other], [model])
    assert {"model:v0", "team/shared/wiki:v0"} <= {node.title for node in draw(make.rooted(model)).nodes}


def test_an_arrow_knows_the_alias_that_was_used(make):
    a, b = make.v("a:v0", 1), make.v("b:v0", 1)
    make.r("r", [a], [b])
    make.graph.edges[a, "run:r"]["data"] = {"aliases": ["best", "gold"]}
    assert [edge.note for edge in draw(make.rooted(b)).edges] == ["as best, gold", ""]


def test_more_aliases_than_a_box_has_room_for_are_counted(make):
    one = make.v("a:v0", 1, [f"alias{n}" for n in range(10)])
    assert draw(make.rooted(one)).nodes[0].chips == (*(f"alias{n}" for n in range(6)), "4 more")


def test_an_empty_graph_is_an_empty_drawing(make):
    drawing = draw(make.rooted())
    assert (drawing.nodes, drawing.edges, drawing.counts, drawing.title) == ((), (), "0 nodes", "Lineage")


def test_what_acts_on_a_reader_is_escaped_and_what_is_long_is_cut_in_the_middle(hostile):
    for node in draw(hostile).nodes:
        for text in (node.title, *node.lines, *node.chips):
            assert len(text) <= drawing_module.LONGEST
            assert not any(char in text for char in "\n\r\x00\x1b\u2028\u202e\ud800")


def test_keys_stay_apart_where_only_what_is_escaped_tells_names_apart(make):
    model = make.v("m:v0", 1)
    make.external("s3://a\nb", model)
    make.external("s3://a\\x0ab", model)
    keys = [node.key for node in draw(make.rooted(model)).nodes]
    assert keys == ["digits/m:v0", "s3://a\\x0ab", "s3://a\\x0ab (2)"]


def test_equal_siblings_are_folded_only_beyond_the_limit(fan):
    graph = fan(100, alike=True)
    assert len(draw(graph, nodes=102).nodes) == 102
    drawing = draw(graph, nodes=101)
    assert len(drawing.nodes) == 3
    (pile,) = [node for node in drawing.nodes if len(node.members) > 1]
    assert (pile.title, pile.lines) == ("part:v0…v99", ("100 versions · 100 B",))
    assert drawing.notes == ("100 nodes with equal neighbours are folded into 1",)
    assert drawing.counts.startswith("102 nodes: 101 versions, 1 run")


def test_a_sweep_folds_runs_and_what_they_made(make):
    raw, best = make.v("raw:v0", 1), make.v("best:v0", 1)
    models = [make.v(f"model:v{n}", 1) for n in range(50)]
    for n, model in enumerate(models):
        make.r(f"t{n}", [raw], [model], "train")
    make.r("pick", models, [best], "pick")
    drawing = draw(make.rooted(best), nodes=20)
    assert sorted(node.title for node in drawing.nodes) == ["best:v0", "model:v0…v49", "pick", "raw:v0", "train"]
    assert [(edge.kind) for edge in drawing.edges].count("used") == 2
    assert len(drawing.edges) == 4


def test_siblings_that_come_from_elsewhere_are_not_folded(make):
    best, models = make.v("best:v0", 1), [make.v(f"model:v{n}", 1) for n in range(10)]
    for raw in (0, 1):
        one = make.v(f"raw{raw}:v0", 1)
        for n in range(5 * raw, 5 * raw + 5):
            make.r(f"t{n}", [one], [models[n]], "train")
    make.r("pick", models, [best], "pick")
    titles = [node.title for node in draw(make.rooted(best), nodes=20).nodes]
    assert [title for title in titles if title.startswith("model")] == ["model:v0…v4", "model:v5…v9"]
    assert titles.count("train") == 2


def test_what_was_asked_for_is_folded_with_its_like_and_still_stands_out(make):
    drawing = draw(make.rooted(*(make.v(f"c:v{n}", 1) for n in range(30))), nodes=10)
    assert [(node.title, node.is_root) for node in drawing.nodes] == [("c:v0…v29", True)]


def test_roots_named_deleted_and_cut_versions_are_not_folded_with_others(make):
    model = make.v("model:v0", 1)
    parts = [make.v(f"p:v{n}", 1) for n in range(10)]
    odd = [make.v("p:v10", 1, ["gold"]), make.v("p:v11", state="deleted"), make.v("p:v12", 1, cut=True)]
    make.r("r", [*parts, *odd], [model])
    drawing = draw(make.rooted(model, parts[0]), nodes=8)
    assert sorted(len(node.members) for node in drawing.nodes) == [1, 1, 1, 1, 1, 1, 9]


def test_what_is_furthest_is_left_out_and_said(chain):
    graph = chain(500)
    drawing = draw(graph, nodes=100)
    assert len(drawing.nodes) == 101
    (rest,) = [node for node in drawing.nodes if node.kind == REST]
    assert (rest.title, rest.lines) == ("450 versions, 450 runs", ("further upstream", "left out here"))
    assert len(rest.members) == 900
    assert "900 nodes" in drawing.notes[0]
    kept = {key for node in drawing.nodes if node.kind != REST for key in node.members}
    assert {"digits/step:v499", "run:r499", "digits/step:v450"} <= kept
    assert "digits/step:v449" not in kept
    (arrow,) = [edge for edge in drawing.edges if drawing.nodes[edge.tail].kind == REST]
    assert drawing.nodes[arrow.head].title in {"r450", "step:v450"}


def test_every_node_is_in_one_box_whatever_the_limits(chain, fan, digits):
    for graph in (chain(50), fan(60), digits):
        for nodes in (1, 2, 5, 20):
            for edges in (1, 7, 30):
                drawing = draw(graph, nodes=nodes, edges=edges)
                members = [key for node in drawing.nodes for key in node.members]
                assert sorted(members) == sorted(graph)
                assert len(drawing.edges) <= max(edges, 4)
                assert sum(node.kind != REST for node in drawing.nodes) <= nodes


def test_roots_beyond_the_limit_have_a_box_of_their_own(make):
    drawing = draw(make.rooted(*(make.v(f"c{n}:v0", 1) for n in range(30))), nodes=10)
    assert [node.lines for node in drawing.nodes if node.kind == REST] == [("more", "left out here")]


def test_what_lies_beyond_the_depth_is_said(make):
    model = make.rooted(make.v("model:v0", 1, cut=True))
    model.graph["depth"] = 0
    drawing = draw(model)
    assert drawing.nodes[0].lines == ("1 B · 1 file", "more beyond")
    assert drawing.notes == ("1 version has more beyond than depth 0 shows",)


def test_a_part_that_lost_its_roots_is_drawn(digits):
    part = digits.subgraph([node for node in digits if node != "digits/model:v7"])
    assert not any(node.is_root for node in draw(part).nodes)
    assert len(draw(part, nodes=5).nodes) <= 8


def test_the_work_grows_with_the_graph_and_no_faster(chain, lines_run):
    short, long = chain(400), None
    small = lines_run(lambda: draw(short, nodes=100))
    long = chain(800)
    assert lines_run(lambda: draw(long, nodes=100)) < 2.5 * small


@pytest.mark.slow
def test_a_very_large_graph_is_condensed(make):
    graph = make.graph
    for number in range(20_000):
        one = make.v(f"c{number % 1000}:v{number}", 1)
        make.r(f"r{number}", [f"digits/c{(number - 1) % 1000}:v{number - 1}"] if number else [], [one])
    graph.graph["roots"] = [one]
    assert len(draw(graph, nodes=3000).nodes) == 3001


def test_the_examples_run():
    assert doctest.testmod(drawing_module).failed == 0
