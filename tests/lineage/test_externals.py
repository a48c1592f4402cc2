"""Places outside the store in lineage: where a trace goes on to when a version refers to what is elsewhere."""

import pytest

import lineart
from lineart.artifacts.records import ExternalRecord
from lineart.lineage.columns import ASCII
from lineart.lineage.graph import EXTERNAL, REFERS, lineage_graph
from lineart.lineage.query import path_graph, select_versions, selected_graph
from lineart.lineage.render import lineage_document, lineage_tree, lineage_trees

WEB = "s3://corpus/web/"


def refer(world, name, *urls, run=None, content="x", objects=3, size=1000):
    """Log a version with rows of references, as a commit would write them."""
    places = tuple(ExternalRecord(url, objects, size) for url in urls)
    also = world.ledger.produced(run, None, lambda: None) if run else None

    def work(tx):
        version, is_new = settle(tx, name, content, places)
        if also is not None:
            also(tx, version, is_new)
        return version

    number = world.engine.write(work)
    return world.catalog.records([number])[number]


def refer_often(world, name, count, url):
    """Log so many versions that refer to a place, in one transaction."""
    places = (ExternalRecord(url, 3, 1000),)
    numbers = world.engine.write(lambda tx: [settle(tx, name, str(n), places)[0] for n in range(count)])
    return list(world.catalog.records(numbers).values())


def settle(tx, name, content, places):
    from lineart.artifacts.collection import NewVersion, open_collection, settle_version
    from lineart.storage.digest import Digest

    collection = open_collection(tx, "p", name, None)
    new = NewVersion(bytes(Digest.of((name + content).encode())), 2048, 1, None, {}, None, places)
    return settle_version(tx, collection, new, ())


def kinds(graph):
    return {node: kind for node, kind in graph.nodes(data="kind") if kind == EXTERNAL}


def test_a_trace_goes_on_to_the_places_that_a_version_refers_to(worlds):
    raw = refer(worlds, "clean", WEB)
    run = worlds.run("clean")
    model = worlds.log("model", "m", run)
    graph = lineage_graph(worlds.catalog, [model])
    assert graph.nodes[WEB]["record"] == ExternalRecord(WEB, 3, 1000)
    edge = graph.edges[WEB, "p/clean:v0"]
    assert edge == {"kind": REFERS, "time": raw.created, "order": 0, "data": {}}
    assert list(graph.predecessors(WEB)) == []
    assert raw.refers
    assert not model.refers
    assert [event.data["references"] for event in worlds.events("version.logged") if "references" in event.data] == [
        [{"url": WEB, "objects": 3, "size": 1000}]
    ]


def test_downstream_there_are_no_places(worlds):
    raw = refer(worlds, "clean", WEB)
    run = worlds.run("clean")
    made = refer(worlds, "model", "s3://other/", run=run)
    assert kinds(lineage_graph(worlds.catalog, [raw], up=False, down=True)) == {}
    both = lineage_graph(worlds.catalog, [raw], up=True, down=True)
    assert kinds(both) == {WEB: EXTERNAL}  # what lies downstream brings none of its own
    assert kinds(lineage_graph(worlds.catalog, [made])) == {WEB: EXTERNAL, "s3://other/": EXTERNAL}


def test_what_the_newest_version_saw_of_a_place_is_its_record(worlds):
    first = refer(worlds, "clean", WEB, objects=3)
    worlds.wait(1)
    second = refer(worlds, "clean", WEB, objects=4, content="y")
    graph = lineage_graph(worlds.catalog, [second, first])
    assert graph.nodes[WEB]["record"].objects == 4
    assert sorted(graph.successors(WEB)) == ["p/clean:v0", "p/clean:v1"]


def test_a_selection_has_the_places_of_what_was_selected_and_a_path_has_none(worlds):
    refer(worlds, "clean", WEB)
    worlds.log("model", "m", worlds.run("clean"))
    assert kinds(selected_graph(worlds.catalog, "clean or model", "p")) == {WEB: EXTERNAL}
    assert kinds(path_graph(worlds.catalog, "clean", "model", "p")) == {}


def test_versions_are_selected_by_the_place_they_refer_to(worlds):
    refer(worlds, "clean", WEB)
    refer(worlds, "alone", "s3://corpus/one.txt")
    refer(worlds, "quoted", 's3://c/it\'s 100%_"x"')
    worlds.log("model", "m", worlds.run("clean"))

    def names(text):
        return [one.collection for one in select_versions(worlds.catalog, text, "p")]

    assert names(f"external={WEB}") == ["clean"]
    assert names('external="s3://corpus/"') == ["alone", "clean"]
    assert names("external=s3://corpus/one.txt") == ["alone"]
    assert names("external=s3://corpus") == []
    assert names(r'external="s3://c/it' + r"'s 100%_\"x\"" + '"') == ["quoted"]
    assert names(f'external="{WEB}"+') == ["clean", "model"]


def test_where_no_version_refers_to_anything_nothing_is_asked(world):
    from sqlalchemy import event

    model = world.log("model", "m", world.run())
    said = []
    event.listen(world.database._engine, "before_cursor_execute", lambda *a: said.append(a[2]))
    lineage_graph(world.catalog, [model])
    assert said
    assert not [one for one in said if "FROM reference WHERE version IN" in one]


def test_deleted_versions_and_many_of_them_keep_their_places(worlds):
    versions = [refer(worlds, "clean", f"s3://b/{n}/", content=str(n)) for n in range(3)]
    worlds.delete(versions[0])
    many = refer_often(worlds, "wide", 600, WEB)
    graph = lineage_graph(worlds.catalog, [*versions, *many])
    assert len(kinds(graph)) == 4
    assert graph.out_degree(WEB) == 600


def test_the_tree_shows_places_as_where_the_trace_ends(world):
    refer(world, "clean", WEB, "s3://corpus/one.txt", objects=4112, size=5 << 30)
    model = world.log("model", "m", world.run("clean", name="train"))
    lines = lineage_tree(lineage_graph(world.catalog, [model])).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["└─", "├─", "└─"]
    assert "raw" not in lines[1]
    assert lines[2].split("  ")[-1] == "raw, external, 4,112 objects"
    assert "s3://corpus/one.txt" in lines[2]
    assert f"{WEB} " in lines[3]
    assert "5.0 GiB" in lines[3]
    assert lines[-1].startswith("5 nodes: 2 versions, 1 run, 2 externals · nothing left out")


def test_a_version_that_refers_to_something_is_not_folded_with_raw_ones(world):
    refer(world, "part", WEB, content="1")
    world.log("part", "2")
    world.log("part", "3")
    model = world.log("model", "m", world.run("part:v0", "part:v1", "part:v2"))
    tree = lineage_tree(lineage_graph(world.catalog, [model]))
    assert "part:v1,v2" in tree
    assert tree.count("part:v0") == 1


def test_very_many_places_are_one_line_that_says_how_many(world):
    version = refer(world, "clean", *[f"s3://corpus/part-{n:03d}/" for n in range(200)], objects=5)
    graph = lineage_graph(world.catalog, [version])
    lines = lineage_tree(graph, style=ASCII).splitlines()
    assert len(lines) == 3
    assert "s3://corpus/.." in lines[1]
    assert lines[1].endswith("raw, external, 200 places, 1,000 objects")
    assert "200 externals" in lines[2]


@pytest.mark.parametrize("url", ["s3://b/<script>alert(1)</script>", 's3://b/"\n\x1b[2J\u202e', "s3://b/" + "x" * 900])
def test_hostile_urls_come_out_as_text(world, url):
    version = refer(world, "clean", url)
    graph = lineage_graph(world.catalog, [version])
    tree = lineage_trees(graph)
    assert "\x1b" not in tree
    assert "\u202e" not in tree
    assert len(tree.splitlines()) == 3
    (node,) = [one for one in lineage_document(graph)["nodes"] if one["kind"] == EXTERNAL]
    assert (node["node"], node["url"], node["objects"]) == (url, url, 3)


def test_the_document_has_nodes_and_edges_of_places(world):
    version = refer(world, "clean", WEB)
    document = lineage_document(lineage_graph(world.catalog, [version]))
    assert {"node": WEB, "kind": "external", "url": WEB, "objects": 3, "size": 1000} in document["nodes"]
    (edge,) = document["edges"]
    assert (edge["from"], edge["to"], edge["kind"]) == (WEB, "p/clean:v0", "refers")
    assert document["complete"]


def test_what_a_run_logs_with_a_reference_shows_both(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").write_bytes(b"1")
    with lineart.create(tmp_path / "store", project="p") as store:
        raw = lineart.Artifact("raw")
        raw.add_bytes(b"r", "r")
        store.log(raw)
        from lineart.lineage.capture import Capture
        from lineart.lineage.run import start_run

        with start_run(store, "p", capture=Capture.none(), interval=None, name="clean") as run:
            run.use_artifact("raw")
            out = lineart.Artifact("clean")
            out.add_reference(tmp_path / "data")
            run.log_artifact(out)
        graph = store.artifact("clean").upstream()
    assert min(graph.predecessors("p/clean:v0")) == f"file://{tmp_path}/data/"
    assert "p/raw:v0" in graph
