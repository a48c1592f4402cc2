r"""Lineage as GraphML (http://graphml.graphdrawing.org/specification.html), for programs that draw and measure graphs.

Knows graphs as `graph.py` makes them; must not know what reads the file. Pure. Values keep their types; nested ones are
JSON text. XML cannot hold control characters, not even escaped: they are written visibly, as `\x1b`. In nodes' ids
backslashes are doubled, so that two nodes never become one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from ..runs import iso_time

if TYPE_CHECKING:
    import networkx as nx

    from ...artifacts.records import ExternalRecord, VersionRecord
    from ..runs import RunRecord

__all__ = ["graphml", "node_id"]

Value = str | int | float | bool | None
_TYPES: dict[type, str] = {bool: "boolean", int: "long", float: "double", str: "string"}
# What XML 1.0 cannot hold (https://www.w3.org/TR/xml/#charsets), and the carriage return, which is read as a line feed.
_ILLEGAL = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
"""
_NODE: dict[str, type] = {
    "kind": str,
    "project": str,
    "name": str,
    "state": str,
    "created": str,
    "actor": str,
    # of versions
    "type": str,
    "number": int,
    "digest": str,
    "size": int,
    "file_count": int,
    "description": str,
    "metadata": str,
    "aliases": str,
    "tags": str,
    "newer": int,
    "cut": bool,
    # of runs
    "run": str,
    "job_type": str,
    "group": str,
    "notes": str,
    "ended": str,
    "duration": float,  # seconds
    "exit_code": int,
    "commit": str,
    "dirty": bool,
    "config": str,
    "summary": str,
    # of places outside the store
    "url": str,
    "objects": int,
}
_EDGE: dict[str, type] = {"kind": str, "time": str, "order": int, "data": str}
_GRAPH: dict[str, type] = {"store": str, "roots": str, "up": bool, "down": bool, "depth": int}


def graphml(graph: nx.DiGraph) -> str:
    """Return a lineage graph as GraphML, edges the way that data flows; sizes are bytes, times RFC 3339, UTC.

    A value that is not known is left out, as GraphML has it.
    """
    return "".join(_parts(graph))


def node_id(node: str) -> str:
    r"""Return the id that a node has in the file.

    >>> node_id("digits/model:v7"), node_id("s3://a\x01/b\\c")
    ('digits/model:v7', 's3://a\\x01/b\\\\c')
    """
    return _legal(node.replace("\\", "\\\\"))


def _parts(graph: nx.DiGraph) -> Iterator[str]:
    yield _HEAD
    for scope, types in (("graph", _GRAPH), ("node", _NODE), ("edge", _EDGE)):
        for name, kind in types.items():
            yield f'  <key id="{scope}.{name}" for="{scope}" attr.name="{name}" attr.type="{_TYPES[kind]}"/>\n'
    yield '  <graph edgedefault="directed">\n'
    told = {name: graph.graph.get(name) for name in _GRAPH}
    yield from _data("graph", {**told, "roots": _json(told["roots"] or [])})
    for node, data in graph.nodes(data=True):
        yield f"    <node id={_quoted(node_id(node))}>\n"
        yield from _data("node", _node_values(data))
        yield "    </node>\n"
    for tail, head, data in graph.edges(data=True):
        yield f"    <edge source={_quoted(node_id(tail))} target={_quoted(node_id(head))}>\n"
        told = {"kind": data["kind"], "time": iso_time(data["time"]), "order": data["order"]}
        yield from _data("edge", {**told, "data": _json(data["data"])})
        yield "    </edge>\n"
    yield "  </graph>\n</graphml>\n"


def _data(scope: str, values: Mapping[str, Value]) -> Iterator[str]:
    for name, value in values.items():
        if value is not None:
            text = ("true" if value else "false") if isinstance(value, bool) else str(value)
            yield f'      <data key="{scope}.{name}">{escape(_legal(text))}</data>\n'


def _node_values(data: Mapping[str, Any]) -> dict[str, Value]:
    record = data["record"]
    if data["kind"] == "version":
        return {"kind": "version", **_version(record), "newer": data["newer"], "cut": data["cut"]}
    return {"kind": "run", **_run(record)} if data["kind"] == "run" else {"kind": data["kind"], **_external(record)}


def _version(record: VersionRecord) -> dict[str, Value]:
    return {
        "project": record.project,
        "name": record.collection,
        "state": record.state,
        "created": iso_time(record.created),
        "actor": record.actor,
        "type": record.type,
        "number": record.number,
        "digest": f"b3:{record.digest.hex()}",
        "size": record.size,
        "file_count": record.file_count,
        "description": record.description,
        "metadata": _json(record.metadata),
        "aliases": _json(record.aliases),
        "tags": _json(record.tags),
    }


def _run(record: RunRecord) -> dict[str, Value]:
    return {
        "project": record.project,
        "name": record.name,
        "state": record.state,
        "created": iso_time(record.created),
        "actor": record.actor,
        "tags": _json(record.tags),
        "run": record.id,
        "job_type": record.job_type,
        "group": record.group,
        "notes": record.notes,
        "ended": iso_time(record.ended),
        "duration": None if record.duration is None else record.duration / 1e6,
        "exit_code": record.exit_code,
        "commit": record.commit,
        "dirty": record.dirty,
        "config": _json(record.config),
        "summary": _json(record.summary),
    }


def _external(record: ExternalRecord) -> dict[str, Value]:
    return {"url": record.url, "objects": record.objects, "size": record.size}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)  # all of it ASCII: nothing in it is touched by what XML cannot hold


def _quoted(text: str) -> str:
    return quoteattr(text, {"\n": "&#10;", "\t": "&#9;"})


def _legal(text: str) -> str:
    return _ILLEGAL.sub(lambda found: _written(ord(found[0])), text)


def _written(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
