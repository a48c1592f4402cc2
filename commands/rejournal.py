"""The command that brings back what the journal has lost.

Knows the store; must not know what the journal's objects are.
"""

from __future__ import annotations

import typer

from ..display import count_of
from .invocation import AsJson, invocation
from .removal import Yes, require_yes

__all__ = ["repair_journal"]


def repair_journal(context: typer.Context, yes: Yes = False, as_json: AsJson = False) -> None:
    """Write events into the bucket again that it has lost and the database still has; deletes nothing."""
    call = invocation(context)
    with call.open() as store:
        task = f"write events that the journal in {store.url} lacks into it, as the database has them?"
        require_yes(call, task, yes=yes, instead="")
        events = store.repair_journal()
    if as_json:
        call.screen.document({"events": events})
    elif events:
        call.screen.line(f"wrote {count_of(events, 'event')} into the journal")
    else:
        call.screen.remark("the journal lacks nothing that the database has")
