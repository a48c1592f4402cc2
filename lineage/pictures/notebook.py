"""What a notebook shows of a lineage graph: a picture that stands by itself, and the tree where only text is shown.

Knows how big either may be within a notebook; must not know how a graph is laid out. Pure. The picture has no script
and no style sheet, since notebooks that are not trusted take these out, and colours of its own, since a notebook's
theme does not reach into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from ...artifacts.display import table_html
from ...storage.brief import utc
from ..printing import print_duration
from ..render import lineage_trees
from .drawing import draw, roots_of
from .svg import FONT, INK, PAPER, QUIET, draw_svg

if TYPE_CHECKING:
    import networkx as nx

    from ..runs import RunRecord

__all__ = ["MOST_NODES", "is_lineage", "notebook_html", "notebook_text", "run_html"]

MOST_NODES, MOST_EDGES = 300, 900
MOST_LINES = 100
HEIGHT = 520  # px, beyond which the picture is scrolled
WHOLE = "the graph itself has everything; `art lineage … --format html -o FILE` shows it in a browser"


def is_lineage(graph: nx.DiGraph) -> bool:
    """Whether a graph still is one of lineage: what is computed from one (a condensation, a relabelling) may not be."""
    return "roots" in graph.graph and all("kind" in data and "record" in data for _, data in graph.nodes(data=True))


def notebook_html(graph: nx.DiGraph) -> str:
    """Return HTML that shows a lineage graph within a notebook, in at most 300 boxes; it says what is left out."""
    drawing = draw(graph, nodes=MOST_NODES, edges=MOST_EDGES)
    picture = draw_svg(drawing)
    folded = len(drawing.nodes) < len(graph)
    tails = {edge.tail for edge in drawing.edges}
    ends = any(node.is_root and at not in tails for at, node in enumerate(drawing.nodes))
    way = "rtl" if ends else "ltr"  # where scrolling starts: what was asked for is in sight
    notes = [*drawing.notes, *([WHOLE] if folded else [])]
    said = "".join(f'<div style="color:{INK}">{escape(note)}</div>' for note in notes)
    wide, high = f"{picture.width:.0f}", f"{picture.height:.0f}"
    return (
        f'<div style="background:{PAPER};color:{QUIET};border:1px solid #dce1e8;border-radius:8px;padding:10px 14px;'
        f'font:12px {escape(FONT)};max-width:100%">'
        f'<div style="color:{INK};font-size:14px;font-weight:600">{escape(drawing.title)}</div>'
        f"<div>{escape(drawing.counts)}</div>{said}"
        f'<div style="overflow:auto;max-height:{HEIGHT}px;margin-top:6px;direction:{way}">'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" role="img"'
        f' style="display:block;direction:ltr;margin:0 auto 0 0"'
        f' aria-label="{escape(f"Lineage of {drawing.title}: {drawing.counts}")}" font-family="{escape(FONT)}">'
        f"{picture.markup}</svg></div></div>"
    )


def notebook_text(graph: nx.DiGraph) -> str:
    """Return the tree of a lineage graph, in at most 100 lines; the last one says how many are left out."""
    if set(roots_of(graph)) != set(graph.graph["roots"]):  # a part without its roots is no tree
        return draw(graph).counts
    *lines, footer = lineage_trees(graph).splitlines()
    left = len(lines) - MOST_LINES
    if left > 0:
        lines[MOST_LINES:] = [f"… {left:,} more lines; {WHOLE}"]
    return "\n".join([*lines, footer])


def run_html(one: RunRecord, config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """Return HTML that shows a run within a notebook: a small table; config and summary are as they are now."""
    return table_html(
        f"run {one.id}",
        [
            ("name", one.name if one.name != one.id else ""),
            ("job type", one.job_type or ""),
            ("project", one.project),
            ("state", one.state),
            ("started", f"{utc(one.created)} by {one.actor}"),
            ("took", "" if one.duration is None else print_duration(one.duration)),
            ("tags", ", ".join(one.tags)),
            ("notes", one.notes or ""),
            ("commit", "" if one.commit is None else one.commit[:12] + "+" * one.dirty),
            ("config", ", ".join(f"{key}: {value}" for key, value in config.items())),
            ("summary", ", ".join(f"{key}: {value}" for key, value in summary.items())),
        ],
    )
