"""A drawing as SVG: shapes, words and arrows, laid out from left to right.

Knows drawings and layouts; must not know graphs. Pure. Looks are given as attributes, so that the picture stands by
itself, also where style sheets and scripts are taken out (notebooks, mail); a page restyles it by its classes. Text is
drawn by whatever font is there, so widths are estimates on the safe side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from ..graph import EXTERNAL, RUN, VERSION
from .drawing import REST, Drawing, Node
from .placing import Box, Layout, Point, Size, place

__all__ = ["MARGIN", "Picture", "draw_svg"]

MARGIN = 24.0
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif"
TITLE, LINE, CHIP = 13.0, 11.5, 10.5  # px
PAD, ACCENT = 14.0, 4.0
NARROWEST, WIDEST = 112.0, 280.0
INK, QUIET, PAPER = "#1c2733", "#5b6876", "#ffffff"
_NARROW, _WIDE = frozenset("iljtfrI.,:;|!'/ ()[]{}`·-"), frozenset("mwMWQO@%—…→")


class _Look(NamedTuple):
    fill: str
    stroke: str


_LOOKS = {
    VERSION: _Look(PAPER, "#b8c4d4"),
    RUN: _Look("#f4f1ea", "#cfc6b3"),
    EXTERNAL: _Look("#ebf5f1", "#8fbcab"),
    REST: _Look("#f7f8fa", "#a9b4c0"),
}
_ROOT = _Look("#eaf1fe", "#3b6fd4")
_TROUBLE = _Look("#fdefed", "#d58d85")
_ACCENT = "#5b86d6"
_CHIPS = {"chip": ("#dfe9fb", "#1e4b9c"), "badge": ("#f9d5d0", "#9a3026"), "badge busy": ("#d6efdf", "#1d6b41")}
_LINES = {"used": "#8a97a6", "produced": "#56677a", "refers": "#6fa58f"}


class Picture(NamedTuple):
    """The markup inside an `<svg>` and what one needs to know to show it; places are px within `width` and `height`."""

    markup: str
    width: float
    height: float
    boxes: list[Box]


def draw_svg(drawing: Drawing) -> Picture:
    """Return the picture of a drawing."""
    sizes = [_size(node) for node in drawing.nodes]
    layout = place(sizes, [(edge.tail, edge.head) for edge in drawing.edges])
    boxes = [box._replace(x=box.x + MARGIN, y=box.y + MARGIN) for box in layout.boxes]
    markup = "".join((*_arrows(drawing, layout, boxes), *_nodes(drawing.nodes, boxes)))
    return Picture(markup, layout.width + 2 * MARGIN, layout.height + 2 * MARGIN, boxes)


# Sizes


def _measure(text: str, size: float) -> float:
    """Estimate how wide text is, in px."""
    units = sum(
        0.36 if char in _NARROW else 0.9 if char in _WIDE else 0.58 if char < "\u1100" else 1.0 for char in text
    )
    return (units + 0.09 * sum(char.isupper() for char in text)) * size


def _fitted(text: str, size: float, room: float) -> str:
    """Return text that fits into so many px, its middle left out if need be."""
    while _measure(text, size) > room and len(text) > 4:
        keep = max(int(len(text) * room / _measure(text, size)) - 1, 3)
        head = keep // 2
        text = f"{text[:head]}…{text[len(text) - (keep - head) :]}"
    return text


class _Chip(NamedTuple):
    text: str
    width: float
    name: str  # of its class


def _chip_rows(node: Node) -> list[list[_Chip]]:
    """Return the rows of chips: the state, where it is worth a word, then the aliases."""
    rows: list[list[_Chip]] = []
    used = 0.0
    state = "badge busy" if node.badge == "running" else "badge"
    for text, name in [*([(node.badge, state)] if node.badge else []), *((chip, "chip") for chip in node.chips)]:
        shown = _fitted(text, CHIP, WIDEST - 2 * PAD - 12)
        wide = _measure(shown, CHIP) + 12
        if not rows or used + wide > WIDEST - 2 * PAD:
            rows.append([])
            used = 0.0
        rows[-1].append(_Chip(shown, wide, name))
        used += wide + 5
    return rows


def _size(node: Node) -> Size:
    rows = _chip_rows(node)
    wide = max(
        _measure(node.title, TITLE) * 1.04,
        *(_measure(line, LINE) for line in node.lines),
        *(sum(chip.width + 5 for chip in row) for row in rows),
        0.0,
    )
    pad = PAD + (0 if node.kind == VERSION else 6)
    height = 18 + 15 * (1 + len(node.lines)) + 20 * len(rows)
    return Size(min(max(wide + 2 * pad + ACCENT + 1, NARROWEST), WIDEST), height, elastic=node.kind == VERSION)


# Boxes


def _nodes(nodes: Sequence[Node], boxes: Sequence[Box]) -> Iterator[str]:
    yield '<g class="nodes">'
    for number, (node, box) in enumerate(zip(nodes, boxes, strict=True)):
        words = [node.kind, node.state, *(["root"] if node.is_root else []), *(["gone"] if node.is_gone else [])]
        yield (
            f'<g class="node {" ".join(words)}" data-node="{number}" transform="translate({box.x:.1f} {box.y:.1f})">'
            f"<title>{escape(_spoken(node))}</title>{_shape(node, box)}{_words(node, box)}</g>"
        )
    yield "</g>"


def _spoken(node: Node) -> str:
    """Return what a box says when it is pointed at, or read aloud."""
    name = node.key if len(node.members) == 1 else node.title
    return ", ".join([name, *node.lines, *([node.badge] if node.badge else []), *node.chips])


def _shape(node: Node, box: Box) -> str:
    look = _ROOT if node.is_root else _TROUBLE if node.badge in {"failed", "crashed"} else _LOOKS[node.kind]
    wide, high = box.width, box.height
    dashes = ' stroke-dasharray="5 4"' if node.is_gone or node.kind == REST else ""
    paint = f'fill="{look.fill}" stroke="{look.stroke}" stroke-width="{2 if node.is_root else 1.2}"{dashes}'
    shadow = ""
    if len(node.members) > 1 and node.kind != REST:  # a pile
        shadow = f'<rect class="pile" x="5" y="-5" width="{wide:.1f}" height="{high:.1f}" rx="9" {paint} />'
    if node.kind == EXTERNAL:
        cut = 12
        inner = wide - cut
        points = (
            f"{cut},0 {inner:.1f},0 {wide:.1f},{high / 2:.1f} {inner:.1f},{high:.1f} {cut},{high:.1f} 0,{high / 2:.1f}"
        )
        return f'{shadow}<polygon class="shape" points="{points}" stroke-linejoin="round" {paint} />'
    round_ = min(high / 2, 26) if node.kind == RUN else 9
    shape = f'<rect class="shape" width="{wide:.1f}" height="{high:.1f}" rx="{round_:.1f}" {paint} />'
    if node.kind == VERSION and not node.is_gone:
        shape += (
            f'<rect class="accent" x="6" y="9" width="{ACCENT}" height="{high - 18:.1f}" rx="2" fill="{_ACCENT}" />'
        )
    return shadow + shape


def _words(node: Node, box: Box) -> str:
    centred = node.kind != VERSION
    room = box.width - 2 * PAD - (12 if centred else ACCENT)
    at, anchor = (box.width / 2, ' text-anchor="middle"') if centred else (PAD + ACCENT, "")
    title = escape(_fitted(node.title, TITLE, room))
    ink = QUIET if node.is_gone else INK
    y = 21.0
    bold = f'font-size="{TITLE}" font-weight="600" fill="{ink}"{anchor}'
    parts = [f'<text class="title" x="{at:.1f}" y="{y}" {bold}>{title}</text>']
    for line in node.lines:
        y += 15.5
        text = escape(_fitted(line, LINE, room))
        parts.append(f'<text class="line" x="{at:.1f}" y="{y}" font-size="{LINE}" fill="{QUIET}"{anchor}>{text}</text>')
    for row in _chip_rows(node):
        y += 20
        x = at - (sum(chip.width + 5 for chip in row) - 5) / 2 if centred else at
        for text, wide, name in row:
            fill, colour = _CHIPS[name]
            parts.append(
                f'<g class="{name}"><rect x="{x:.1f}" y="{y - 12}" width="{wide:.1f}" height="16" rx="8"'
                f' fill="{fill}" />'
                f'<text x="{x + wide / 2:.1f}" y="{y}" font-size="{CHIP}" font-weight="500" fill="{colour}"'
                f' text-anchor="middle">{escape(text)}</text></g>'
            )
            x += wide + 5
    return "".join(parts)


# Arrows


def _arrows(drawing: Drawing, layout: Layout, boxes: Sequence[Box]) -> Iterator[str]:
    yield '<g class="edges" fill="none">'
    for number, (edge, route) in enumerate(zip(drawing.edges, layout.routes, strict=True)):
        moved = [(x + MARGIN, y + MARGIN) for x, y in route] or _loop(boxes[edge.tail])
        colour = _LINES.get(edge.kind, QUIET)
        dashes = ' stroke-dasharray="2 4"' if edge.kind == "refers" else ""
        gone = " gone" if drawing.nodes[edge.tail].is_gone or drawing.nodes[edge.head].is_gone else ""
        way = _curve(moved) if route else _looped(moved)
        yield (
            f'<g class="edge {edge.kind}{gone}" data-edge="{number}"><path class="way" d="{way}" stroke="{colour}"'
            f' stroke-width="1.4"{dashes} /><path class="tip" d="{_tip(moved)}" fill="{colour}" /></g>'
        )
    yield "</g>"


def _loop(box: Box) -> list[Point]:
    """Return the ends of an arrow from a box to itself, which leaves on the right and comes back from above it."""
    right = box.x + box.width
    return [(right, box.y + box.height / 2), (right + 30, box.y - 12), (right - 18, box.y - 16), (right - 18, box.y)]


def _looped(points: Sequence[Point]) -> str:
    (x, y), (a, b), (c, d), (e, f) = points
    out = f"M{x:.1f} {y:.1f}C{a:.1f} {y:.1f} {a:.1f} {b:.1f} {(a + c) / 2:.1f} {d:.1f}"
    return f"{out}S{c:.1f} {d:.1f} {e:.1f} {f - 7:.1f}"


def _curve(points: Sequence[Point]) -> str:
    """Return a path that is level where it passes between boxes and bends only in the gaps between layers."""
    ahead = 1 if points[-1][0] >= points[-2][0] else -1
    ends = [*points[:-1], (points[-1][0] - 7 * ahead, points[-1][1])]  # the tip has the rest
    x, y = ends[0]
    parts = [f"M{x:.1f} {y:.1f}"]
    for at, (right, down) in enumerate(ends[1:]):
        if at % 2 or down == y:
            parts.append(f"L{right:.1f} {down:.1f}")
        else:
            middle = (x + right) / 2
            parts.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {down:.1f} {right:.1f} {down:.1f}")
        x, y = right, down
    return "".join(parts)


def _tip(points: Sequence[Point]) -> str:
    """Return the triangle at the end of an arrow."""
    (before, above), (x, y) = points[-2], points[-1]
    if before == x and above < y:
        return f"M{x:.1f} {y:.1f}l-4 -8h8z"
    back = -8 if x >= before else 8
    return f"M{x:.1f} {y:.1f}l{back} -4v8z"
