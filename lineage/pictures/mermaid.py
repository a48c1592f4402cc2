"""A lineage graph in Mermaid, for pages that draw it: GitHub, GitLab, notebooks, wikis.

Knows Mermaid's syntax and the limits that these pages set; must not know graphs. Pure. Source of the syntax and of
the limits: https://mermaid.js.org/syntax/flowchart.html and https://mermaid.js.org/config/schema-docs/config.html
(maxEdges, maxTextSize).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph import EXTERNAL, RUN, VERSION
from .drawing import REST, Drawing, Node, draw

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["MOST_CHARACTERS", "MOST_EDGES", "mermaid"]

MOST_EDGES, MOST_CHARACTERS = 500, 50_000  # beyond either Mermaid draws an error instead
_SHAPES = {VERSION: ("[", "]"), RUN: ("([", "])"), EXTERNAL: ("[(", ")]"), REST: (">", "]")}
_ARROWS = {"used": "-->", "produced": "-->", "refers": "-.->"}
_LOOKS = {
    "version": "fill:#ffffff,stroke:#8fa3bf,color:#1c2733",
    "run": "fill:#f4f1ea,stroke:#b5a98f,color:#1c2733",
    "external": "fill:#ebf5f1,stroke:#6fa58f,color:#1c2733",
    "rest": "fill:#f7f8fa,stroke:#8a97a6,color:#5b6876,stroke-dasharray:4 3",
    "gone": "fill:#ffffff,stroke:#8a97a6,color:#5b6876,stroke-dasharray:5 4",
    "root": "fill:#eaf1fe,stroke:#3b6fd4,color:#1c2733,stroke-width:2.5px",
}
_PLAIN = frozenset(" ,:/()+=…·")  # beside letters and digits, what means nothing to Mermaid within quotes
_JOINTS = frozenset("-_.")  # nor these, within a word
_JOINER = "\u2060"  # of no width
_LIGATURE = "\ufb02"  # begins what Mermaid makes of a number on its way; two letters say the same


def mermaid(graph: nx.DiGraph) -> str:
    """Return a lineage graph as a Mermaid flowchart, from left to right; ends with a newline.

    A graph of more than 500 edges or 50,000 characters is drawn with equal siblings folded, and what is furthest from
    the roots left out if need be; a comment and a box of the picture say so.
    """
    nodes = min(len(graph), MOST_CHARACTERS // 25)  # no box takes fewer characters
    while True:
        text = _written(draw(graph, nodes=nodes, edges=MOST_EDGES))
        if _units(text) <= MOST_CHARACTERS:
            return text
        nodes = max(nodes * 4 // 5, 1)


def _units(text: str) -> int:
    """Return the length as JavaScript counts it: in UTF-16 units."""
    return len(text) + sum(char > "\uffff" for char in text)


def _written(drawing: Drawing) -> str:
    lines = ["flowchart LR", f"  %% {_comment(drawing.counts)}"]
    lines += [f"  %% {_comment(note)}" for note in drawing.notes]
    lines += [_node(f"n{at}", node) for at, node in enumerate(drawing.nodes)]
    lines += [f"  n{edge.tail} {_ARROWS.get(edge.kind, '-->')} n{edge.head}" for edge in drawing.edges]
    if drawing.notes:
        lines.append(f'  note>"{_label([drawing.counts, *drawing.notes])}"]')
    classes: dict[str, list[str]] = {}
    for at, node in enumerate(drawing.nodes):
        classes.setdefault(_class(node), []).append(f"n{at}")
    if drawing.notes:
        classes.setdefault("rest", []).append("note")
    for name, members in classes.items():
        lines += [f"  classDef {name} {_LOOKS[name]}", f"  class {','.join(members)} {name}"]
    return "\n".join(lines) + "\n"


def _class(node: Node) -> str:
    return "root" if node.is_root else "gone" if node.is_gone else node.kind


def _node(name: str, node: Node) -> str:
    opening, closing = _SHAPES[node.kind]
    chips = [" ".join(f"[{chip}]" for chip in node.chips)] if node.chips else []
    badge = [node.badge] if node.badge else []
    return f'  {name}{opening}"{_label([node.title, *node.lines, *badge, *chips])}"{closing}'


def _label(lines: list[str]) -> str:
    return "<br>".join(map(_text, lines))


def _text(text: str) -> str:
    """Return one line of a label: whatever Mermaid, Markdown or HTML might act on stands as a character's number.

    >>> _text('labels-part "b" <i> 1. %%{init}%%')
    'labels-part #34;b#34; #60;i#62; 1#46; #37;#37;#123;init#125;#37;#37;'
    """
    joined = zip(text, " " + text, text[1:] + " ", strict=False)
    whole = "".join(_char(char, before.isalnum() and after.isalnum()) for char, before, after in joined)
    # Mermaid drops the last sign of what looks to it like a style with a colour: "style…:#…;".
    whole = whole.replace("style", "st#121;le").replace("classDef", "class#68;ef")
    # Formulas ($$) and icons (fa:fa-car) are looked for once numbers are characters again: a joiner parts them.
    return whole.replace("#36;#36;", f"#36;{_JOINER}#36;{_JOINER}").replace(":fa-", f":{_JOINER}fa-")


def _char(char: str, within: bool) -> str:
    inert = (
        char.isalnum() or char in _PLAIN or (within and char in _JOINTS) or (not char.isascii() and char.isprintable())
    )
    return "fl" if char == _LIGATURE else char if inert else f"#{ord(char)};"


def _comment(text: str) -> str:
    """Return text for a comment, in which `{` would begin a directive."""
    return text.replace("{", "(").replace("}", ")")
