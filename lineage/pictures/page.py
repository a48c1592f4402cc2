"""A lineage graph as one HTML file that needs nothing else: a picture to move about in, to search and to fold.

Knows the parts of the page (page.html, page.css, page.js, beside this module) and how data travels in it; must not know
graphs. The file asks no network for anything, and says so to the browser: its policy allows its own style and script,
by their digests, and nothing more, so that no name in it can run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from .drawing import REST, Drawing, draw
from .facts import facts, members, words
from .svg import Picture, draw_svg

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["MOST_EDGES", "MOST_NODES", "page"]

MOST_NODES, MOST_EDGES = 3000, 12_000  # above, a browser is slow to answer
_INERT = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"})  # what is not ASCII is escaped anyway


def page(graph: nx.DiGraph) -> str:
    """Return a lineage graph as a page of HTML; ends with a newline.

    A graph of more than 3,000 nodes or 12,000 edges is drawn with equal siblings folded, and what is furthest from the
    roots left out if need be; the page says so.
    """
    drawing = draw(graph, nodes=MOST_NODES, edges=MOST_EDGES)
    picture = draw_svg(drawing)
    style, script = _part("page.css"), _part("page.js")
    notes = "".join(f"<li>{escape(note)}</li>" for note in drawing.notes)
    return Template(_part("page.html")).substitute(
        policy=f"default-src 'none'; style-src {_allowed(style)}; script-src {_allowed(script)}; "
        "base-uri 'none'; form-action 'none'",
        title=escape(drawing.title),
        counts=escape(drawing.counts),
        notes=f'<ul class="notes" aria-label="What is not shown">{notes}</ul>' if notes else "",
        style=style,
        script=script,
        picture=picture.markup,
        width=f"{picture.width:.0f}",
        height=f"{picture.height:.0f}",
        data=embed(_data(graph, drawing, picture)),
    )


def embed(value: Any) -> str:
    r"""Return JSON that can stand within a `<script>`: nothing in it ends the element, and no line ends in a string.

    >>> print(embed("</script>"))
    "\u003c/script\u003e"
    """
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).translate(_INERT)


@cache
def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _allowed(text: str) -> str:
    """Return what a policy calls an element of this text by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data(graph: nx.DiGraph, drawing: Drawing, picture: Picture) -> dict[str, Any]:
    nodes = []
    for node, box in zip(drawing.nodes, picture.boxes, strict=True):
        records = [(graph.nodes[key]["kind"], graph.nodes[key]["record"]) for key in node.members]
        known = facts(*records[0]) if len(node.members) == 1 else [members(list(node.members))]
        nodes.append(
            {
                "key": node.key,
                "title": node.title,
                "kind": node.kind
                if len(node.members) == 1 or node.kind == REST
                else f"{len(node.members):,} {node.kind}s",
                "root": node.is_root,
                "words": "" if node.kind == REST else "\n".join(words(*one) for one in records),
                "facts": known,
                "box": [round(part, 1) for part in box],
            }
        )
    return {"nodes": nodes, "edges": [[edge.tail, edge.head, edge.note] for edge in drawing.edges]}
