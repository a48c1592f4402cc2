"""A lineage graph in DOT, the language of Graphviz; all of it, however big.

Knows DOT's quoting; must not know graphs. Pure. Nodes keep their names, so that `gvpr` and friends can ask for them.
Source of the grammar: https://graphviz.org/doc/info/lang.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph import EXTERNAL, RUN, VERSION
from .drawing import REST, Drawing, Node, draw

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["dot"]

_SHAPES = {
    VERSION: 'shape=box style="rounded,filled" fillcolor="#ffffff" color="#8fa3bf"',
    RUN: 'shape=oval style="filled" fillcolor="#f4f1ea" color="#b5a98f"',
    EXTERNAL: 'shape=cylinder style="filled" fillcolor="#ebf5f1" color="#6fa58f"',
    REST: 'shape=note style="dashed" color="#8a97a6"',
}
_GONE = 'style="rounded,dashed" fontcolor="#5b6876"'
_ROOT = 'penwidth=2.4 color="#3b6fd4" fillcolor="#eaf1fe"'
_EDGES = {"used": 'color="#8a97a6"', "produced": 'color="#56677a"', "refers": 'color="#6fa58f" style="dotted"'}


def dot(graph: nx.DiGraph) -> str:
    """Return a lineage graph in DOT, from left to right; ends with a newline."""
    drawing = draw(graph)
    return "".join(
        (
            "digraph lineage {\n",
            f"  graph [rankdir=LR, ranksep=0.6, nodesep=0.25, label={_quote(_caption(drawing))}, labelloc=b, ",
            'fontname="Helvetica", fontsize=10, fontcolor="#5b6876"];\n',
            '  node [fontname="Helvetica", fontsize=11, fontcolor="#1c2733", margin="0.16,0.08"];\n',
            '  edge [arrowsize=0.7, fontname="Helvetica", fontsize=9];\n',
            *(_node(node) for node in drawing.nodes),
            *(
                f"  {_name(drawing.nodes[edge.tail].key)} -> {_name(drawing.nodes[edge.head].key)} "
                f"[{_EDGES.get(edge.kind, '')}{f' tooltip={_quote(edge.note)}' if edge.note else ''}];\n"
                for edge in drawing.edges
            ),
            "}\n",
        )
    )


def _caption(drawing: Drawing) -> str:
    return "\n".join((drawing.counts, *drawing.notes))


def _node(node: Node) -> str:
    label = "\n".join((node.title, *node.lines, *([node.badge] if node.badge else []), *_bracketed(node.chips)))
    looks = [_SHAPES[node.kind], *([_GONE] if node.is_gone else []), *([_ROOT] if node.is_root else [])]
    return f"  {_name(node.key)} [label={_quote(label)} tooltip={_quote(node.key)} {' '.join(looks)}];\n"


def _bracketed(chips: tuple[str, ...]) -> list[str]:
    return [" ".join(f"[{chip}]" for chip in chips)] if chips else []


def _name(text: str) -> str:
    r"""Return a node's name in quotes, in which only `\"` is an escape.

    A backslash before a quote, or the last one, would be taken with it: such are doubled, and stay so.
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _quote(text: str) -> str:
    r"""Return text as a label: quotes and backslashes escaped (`\N` would be the node's name), entities inert.

    >>> print(_quote('a "b" \\N &lt;'))
    "a \"b\" \\N &amp;lt;"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return '"' + escaped.replace("\n", "\\n") + '"'
