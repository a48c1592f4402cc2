"""Commands that take away, undo that, and free what nothing needs.

Parse, ask, call, print. What is taken away is said before it is, and only done where somebody says yes, or `--yes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from ..display import Cell, count_of, iso, when
from ..lineage.printing import print_size
from ..storage.errors import Conflict, InvalidInput
from .invocation import AsJson, Invocation, invocation

if TYPE_CHECKING:
    from ..artifacts.records import VersionRecord
    from ..artifacts.tombstones import Cleanup, InGrace
    from ..display import Value
    from ..storage.gc import Amount
    from ..store import Store

__all__ = ["Yes", "register", "require_yes"]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; where nobody can be asked, it is needed.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept in the history.")]
_MAKE, _KEEP = "Make and fetch versions", "Make and keep stores"
_GRACE = 7.0  # days
_LONGEST = 365_000  # days of grace: a thousand years


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("rm", rich_help_panel=_MAKE)(rm)
    app.command("restore", rich_help_panel=_MAKE)(restore)
    app.command("gc", rich_help_panel=_KEEP)(gc)


def rm(
    context: typer.Context,
    ref: Annotated[list[str], typer.Argument(metavar="REF...", help="The versions to delete, all or none.")],
    force: Annotated[
        bool, typer.Option("--force", help="Even where an alias or what was made from it needs one; aliases go.")
    ] = False,
    reason: Reason = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete versions; `art restore` brings them back for seven days at least."""
    from .views import version_json

    call = invocation(context)
    with call.open() as store:
        found = [_meant(store, one, explicit=True) for one in dict.fromkeys(ref)]
        why = store.blockers(found)
        if why and not force:
            raise Conflict(f"{'; '.join(why)}; --force deletes it all the same")
        for one in why:
            call.screen.note(one)
        size = print_size(sum(one.size for one in found))
        require_yes(call, f"delete {_named(found)}, {size}?", yes=yes, instead="")
        gone = store.delete(*found, force=force, reason=reason)
    if as_json:
        call.screen.document({}, "versions", map(version_json, gone))
        return
    _say(call, gone)
    call.screen.remark(f"for seven days at least, `art restore {gone[0].ref}` brings it back")


def restore(
    context: typer.Context,
    ref: Annotated[list[str], typer.Argument(metavar="REF...", help="The deleted versions: NAME:vN.")],
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Bring deleted versions back, and say which aliases they held; those stay where they are."""
    from .views import version_json

    call = invocation(context)
    with call.open() as store:
        found = [_meant(store, one) for one in dict.fromkeys(ref)]
        back = [store.restore(one, reason=reason) for one in found]
        taken = [store.aliases_taken(one) if one.state == "deleted" else {} for one in found]
    if as_json:
        both = zip(back, taken, strict=True)
        call.screen.document({}, "versions", ({**version_json(one), "aliases_taken": names} for one, names in both))
        return
    _say(call, back)
    for one, names in zip(back, taken, strict=True):
        for alias, now in names.items():
            call.screen.note(_promotion(one, alias, now))


def gc(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would go, and change nothing.")] = False,
    grace: Annotated[
        float,
        typer.Option(min=0, metavar="DAYS", help="Give up for good what was deleted longer ago."),
    ] = _GRACE,
    reason: Reason = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Free every byte that nothing needs; safe beside writers, and to interrupt."""
    from ..storage.gc import Marked

    call = invocation(context)
    span = _span(grace)
    with call.open() as store, Marked() as marked:
        if dry_run or not yes:
            if not dry_run and call.screen.ask is None:
                require_yes(call, "", yes=False, instead=", or --dry-run to see what it would do")
            with call.watched(store):
                found = store.gc(dry_run=True, grace=span, marked=marked)
            if dry_run or not _anything(found):
                _print(call, found, dry_run=True, as_json=as_json)
                return
            require_yes(call, f"{_question(found)}?", yes=False, instead="")
        with call.watched(store):
            found = store.gc(grace=span, reason=reason, marked=marked)
    _print(call, found, dry_run=False, as_json=as_json)


def _span(days: float) -> timedelta:
    """Return a time that can be gone back; InvalidInput for one before there was any store."""
    if not 0 <= days <= _LONGEST:
        raise InvalidInput(f"--grace: {days:g} days are not 0 to {_LONGEST:,}")
    return timedelta(days=days)


def _say(call: Invocation, versions: list[VersionRecord]) -> None:
    for one in versions:
        if call.screen.terminal:
            call.screen.line(f"{one.ref}  {' '.join([one.state, *one.aliases])}")
        else:
            call.screen.tabbed([one.ref, one.state])


def _promotion(version: VersionRecord, alias: str, now: str | None) -> str:
    """Say what an alias that a deletion took means now, and the command that moves it back if it still means that."""
    means = "nothing" if now is None else now
    command = f"art promote {version.ref} {alias} --expect {now or 'none'}"
    return f"{alias} meant {version.name} when it was deleted, and means {means} now; `{command}` moves it back"


def _meant(store: Store, ref: str, *, explicit: bool = False) -> VersionRecord:
    """Resolve a ref as who is about to write does: a bare name is not looked for in other projects."""
    from ..artifacts.ref import Ref

    meant = Ref.parse(ref)
    if meant.path is not None:
        raise InvalidInput(f"{ref} is a file; versions are deleted and restored whole")
    version = store.catalog.resolve(meant, store.project, guess=False)
    if explicit and meant.version is None and not (meant.alias or meant.digest):
        raise InvalidInput(f"{ref} is a collection: name the version to delete; the latest is {version.name}")
    return version


def require_yes(call: Invocation, question: str, *, yes: bool, instead: str) -> None:
    """Go on if somebody wants it; InvalidInput where there is nobody to ask; ends the command if not."""
    if yes:
        return
    answer = call.screen.confirm(question)
    if answer is None:
        raise InvalidInput(f"there is nobody to ask here: give --yes to do it{instead}")
    if not answer:
        call.screen.note("nothing was changed")
        raise typer.Exit(1)


def _named(versions: list[VersionRecord]) -> str:
    if len(versions) <= 3:
        return ", ".join(one.ref for one in versions)
    return f"{versions[0].ref} and {len(versions) - 1} more versions"


def _anything(found: Cleanup) -> bool:
    packs = found.packs
    return bool(found.purged or packs.freed.packs or packs.strays.packs or packs.leftovers or packs.merged)


def _question(found: Cleanup) -> str:
    size = found.packs.freed.size + found.packs.strays.size - found.packs.written
    text = f"free {print_size(max(size, 0))}"
    if found.purged:
        text += f", and give up {_named(found.purged)} for good"
    return text


def _print(call: Invocation, found: Cleanup, *, dry_run: bool, as_json: bool) -> None:
    packs = found.packs
    if as_json:
        call.screen.document(_document(found, dry_run=dry_run))
        return
    pairs: list[tuple[str, Value]] = [
        ("freed", _amount(packs.freed)),
        ("kept", _amount(packs.kept)),
        ("repacked", Cell(print_size(packs.written), str(packs.written))),
        ("versions gone for good", str(len(found.purged))),
    ]
    more = [
        ("needed again", packs.spared),
        ("unknown objects", packs.strays),
        ("unknown, kept for now", packs.waiting),
    ]
    pairs += [(what, _amount(amount)) for what, amount in more if amount.packs]
    counts = [
        ("unfinished files", packs.leftovers),
        ("writers that were gone", packs.sessions),
        ("journal objects merged", packs.merged),
    ]
    pairs += [(what, str(count)) for what, count in counts if count]
    call.screen.pairs([*pairs, *_waiting(found.in_grace)])
    for note in packs.notes:
        call.screen.note(note)
    if found.in_grace.versions:
        call.screen.remark("until then `art restore` brings them back; `art gc --grace 0` gives them up now, for good")
    if dry_run:
        call.screen.remark("nothing was changed; this is what `art gc` would do now")


def _waiting(found: InGrace) -> Iterator[tuple[str, Value]]:
    """Say what was deleted and keeps its bytes: who expected them to be free wants to know when they will be."""
    if found.first is not None and found.last is not None:
        many = count_of(found.versions, "version")
        yield "deleted, in grace", Cell(f"{many}, up to {print_size(found.size)}", str(found.size))
        more = "" if when(found.first) == when(found.last) else f", the last {when(found.last)}"
        yield "may go from", Cell(when(found.first) + more, str(iso(found.first)))
    if found.in_use:
        many = count_of(found.in_use, "version")
        yield "deleted, in use", Cell(f"{many}, on which a writer builds", str(found.in_use))


def _amount(amount: Amount) -> Cell:
    return Cell(f"{print_size(amount.size)} in {count_of(amount.packs, 'pack')}", str(amount.size))


def _document(found: Cleanup, *, dry_run: bool) -> dict[str, object]:
    packs, waiting = found.packs, found.in_grace
    amounts = {"freed": packs.freed, "kept": packs.kept, "spared": packs.spared}
    amounts |= {"unknown": packs.strays, "unknown_kept": packs.waiting}
    return {
        "dry_run": dry_run,
        "purged": [one.ref for one in found.purged],
        **{name: {"packs": one.packs, "size": one.size} for name, one in amounts.items()},
        "in_grace": {**waiting._asdict(), "first": iso(waiting.first), "last": iso(waiting.last)},
        "repacked": packs.written,
        "unfinished_files": packs.leftovers,
        "sessions": packs.sessions,
        "journal_objects": packs.merged,
        "notes": packs.notes,
    }
