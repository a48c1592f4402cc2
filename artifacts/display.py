"""What a notebook shows of one thing: a small table of names and values.

Knows HTML and how to be safe in it; must not know runs or lineage. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from ..storage.brief import utc

if TYPE_CHECKING:
    from .artifact import Artifact
    from .draft import Draft
    from .records import VersionRecord

__all__ = ["draft_html", "table_html", "version_html"]

LONGEST = 400  # characters of a value


def version_html(one: VersionRecord) -> str:
    """Return the table of a version."""
    return table_html(
        one.ref,
        [
            ("type", one.type),
            ("state", "" if one.state == "live" else one.state),
            ("aliases", ", ".join(one.aliases)),
            ("tags", ", ".join(one.tags)),
            ("files", f"{one.file_count:,}"),
            ("size", f"{one.size:,} bytes"),
            ("created", f"{utc(one.created)} by {one.actor}"),
            ("about", one.description or ""),
            ("metadata", ", ".join(f"{key}: {value}" for key, value in one.metadata.items())),
            ("digest", f"b3:{one.digest.hex()}"),
        ],
    )


def draft_html(one: Artifact, draft: Draft) -> str:
    """Return the table of what would be logged now."""
    files, size = draft.totals()
    return table_html(
        f"draft {one.collection}",
        [
            ("type", one.type or ""),
            ("goes on from", draft.base_ref),
            ("aliases", ", ".join(one.aliases)),
            ("tags", ", ".join(one.tags)),
            ("files added" if draft.base_ref else "files", f"{files:,}"),
            ("size", f"{size:,} bytes"),
            ("about", one.description or ""),
            ("metadata", ", ".join(f"{key}: {value}" for key, value in one.metadata.items())),
        ],
    )


def table_html(title: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Return a table with a heading; what is empty is left out, and what is long is cut and says so.

    >>> table_html("a", [("b", "<i>"), ("c", "")])
    '<table><thead><tr><th colspan="2">a</th></tr></thead><tbody><tr><td>b</td><td>&lt;i&gt;</td></tr></tbody></table>'
    """
    rows = "".join(f"<tr><td>{_safe(name)}</td><td>{_safe(_cut(value))}</td></tr>" for name, value in pairs if value)
    head = f'<thead><tr><th colspan="2">{_safe(_cut(title))}</th></tr></thead>'
    return f"<table>{head}<tbody>{rows}</tbody></table>"


def _cut(text: str) -> str:
    more = len(text) - LONGEST
    return f"{text[:LONGEST]}… {more:,} more characters" if more > 0 else text


def _safe(text: str) -> str:
    """Return text that neither a browser nor a reader of bidirectional text would act on."""
    shown = (char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return escape("".join(shown))
