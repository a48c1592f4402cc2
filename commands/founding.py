"""`art init`: makes a store, or takes one that exists, and writes the configuration that names it for a folder.

Knows settings and the configuration file; must not know how a command line is parsed.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from ..settings import CONFIG, FOLDER
from ..storage.backends import is_local, local_path, require_place
from ..storage.errors import Conflict, InvalidInput, NotFound
from ..store import create_settings, open_settings

if TYPE_CHECKING:
    from ..display import Screen
    from ..store import Store
    from .invocation import Invocation

__all__ = ["Founding", "found_store", "report_founding", "without_password"]

STORE = "store"


@dataclass(frozen=True, slots=True)
class Founding:
    """What `art init` did."""

    url: str
    store_id: str
    project: str
    made: bool  # else it was there
    config: Path
    wrote: bool  # else the configuration said so already
    password: bool  # one was left out of the configuration
    before: str | None  # the project that the configuration named, where it names another one now
    overruled: str | None  # the store that LINEART_STORE names in place of this one


def found_store(
    call: Invocation, url: str | None, database: str | None, *, single_machine: bool, here: Path
) -> Founding:
    """Make or open the store, then write `.lineart/config.toml` in `here`.

    A project that was given becomes that of a configuration that is there. Before anything is made, raises Conflict
    where that file names another store, and InvalidInput for a place where no store can be.
    """
    config = here / FOLDER / CONFIG
    chosen = url or call.store or str(here / FOLDER / STORE)
    require_place(chosen)
    if is_local(chosen):
        chosen = str(local_path(chosen))
    settings = call.settings(chosen, database)
    kept = None if database is None and call.database is None else settings.database
    text, password = _configuration(chosen, kept, call.project, config.parent)
    known = config.read_text(encoding="utf-8") if config.is_file() else None
    if known is not None and not _names(known, chosen, config):
        raise Conflict(f"{config} names another store; remove it first, or leave it and give --store {chosen}")
    renamed = None if known is None or call.project is None else with_project(known, call.project, config)
    store, made = _open_or_make(call, chosen, database, single_machine=single_machine)
    with store:
        before = None if renamed is None else _project_of(known or "") or "default"
        overruled = _overruling(chosen)
        found = Founding(store.url, store.id, store.project, made, config, known is None, password, before, overruled)
    if renamed is not None:
        fresh = config.with_name(f"{CONFIG}.{os.urandom(4).hex()}")
        fresh.write_text(renamed, encoding="utf-8")
        fresh.replace(config)  # there may be more in it than what is written here
    if known is None:
        config.parent.mkdir(exist_ok=True)
        config.write_text(text, encoding="utf-8")
        ignore = config.parent / ".gitignore"
        if made and is_local(store.url) and not ignore.exists():
            ignore.write_text("/store/\n", encoding="utf-8")  # a checkout is no place for the bytes of a store
    return found


def _open_or_make(call: Invocation, url: str, database: str | None, *, single_machine: bool) -> tuple[Store, bool]:
    settings = call.settings(url, database)
    try:
        return open_settings(settings), False
    except NotFound:
        pass  # the usual case: it is made
    try:
        return create_settings(settings, single_machine=single_machine), True
    except Conflict as error:
        try:  # somebody made it at the same moment, or it needs other settings to be opened, which this says
            return open_settings(settings), False
        except NotFound:  # there is still none: the database is another's
            raise Conflict(f"no store is made at {url}: {error}") from None


def _configuration(url: str, database: str | None, project: str | None, folder: Path) -> tuple[str, bool]:
    """Return the file's text, and whether a password was left out of it."""
    password = False
    if is_local(url) and Path(url).is_relative_to(folder):
        url = str(Path(url).relative_to(folder))  # so that the folder can be moved, or be a checkout
    lines = ["[store]", f"url = {_quoted(url)}"]
    if database is not None:
        clean = without_password(database)
        password = clean != database
        lines.append(f"database = {_quoted(clean)}")
    if project is not None:
        lines.append(f"project = {_quoted(project)}")
    return "\n".join(lines) + "\n", password


def _overruling(url: str) -> str | None:
    """Return the store that LINEART_STORE names, if it is another than the one at a URL."""
    from ..environment import settings_here
    from ..storage.backends.dialects import without_secrets

    found = settings_here()
    if found.source != "LINEART_STORE":
        return None
    named = str(local_path(found.url)) if is_local(found.url) else found.url.rstrip("/")
    return None if named == url.rstrip("/") else without_secrets(named)


def with_project(text: str, project: str, config: Path) -> str | None:
    """Return a configuration's text with this project, all else as it was; None where it names it already.

    Conflict where the text is written in a way in which one line does not tell.
    """
    import tomllib

    if _project_of(text) == project:
        return None
    line = f"project = {_quoted(project)}"
    old = re.search(r"^project[ \t]*=.*$", text, re.MULTILINE)
    head = re.search(r"^\[store\][^\n]*$", text, re.MULTILINE)
    if old is not None:
        new = text[: old.start()] + line + text[old.end() :]
    elif head is not None:
        new = f"{text[: head.end()]}\n{line}{text[head.end() :]}"
    else:
        new = text
    try:
        before, after = tomllib.loads(text), tomllib.loads(new)
    except ValueError:
        before, after = {}, {}
    if after != {**before, "store": {**before.get("store", {}), "project": project}}:
        raise Conflict(f"{config} names another project; write `{line}` below its [store]")
    return new


def _project_of(text: str) -> str | None:
    import tomllib

    found = tomllib.loads(text).get("store", {}).get("project")
    return found if isinstance(found, str) else None


def _names(text: str, url: str, config: Path) -> bool:
    """Whether a configuration names this store."""
    import tomllib

    try:
        known = tomllib.loads(text).get("store", {}).get("url")
    except ValueError as error:
        raise InvalidInput(f"{config} cannot be read: {error}") from None
    if known is None:
        return False
    if is_local(known):
        known = str((config.parent / Path(known.removeprefix("file://")).expanduser()).absolute())
    return bool(known == url)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # TOML's basic strings are JSON's, for what a URL can hold


def without_password(url: str) -> str:
    """Return a database URL without the password in it.

    >>> without_password("postgresql://ann:secret@db/lineart")
    'postgresql://ann@db/lineart'
    """
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user, host = parts.netloc.rsplit("@", 1)
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{host}"))


def report_founding(screen: Screen, found: Founding, *, as_json: bool) -> None:
    """Print what was done."""
    if as_json:
        screen.document(
            {
                "url": found.url,
                "id": found.store_id,
                "made": found.made,
                "config": str(found.config),
                "project": found.project,
            }
        )
    elif not screen.terminal:
        screen.tabbed([found.url, found.store_id, "made" if found.made else "there", str(found.config)])
    else:
        screen.line(f"{'made a store at' if found.made else 'the store is there:'} {found.url}")
        screen.line(f"{'it is named in' if found.wrote else 'already named in'} {found.config}")
        if found.made:
            screen.remark("next: art log PATH NAME")
    if found.before not in {None, found.project}:
        screen.note(f"the project here was {found.before} and is {found.project} from now on, by {found.config}")
    if found.overruled is not None:
        screen.note(f"LINEART_STORE names {found.overruled}, which comes before the store of this folder; unset it")
    if found.password:
        screen.note(f"the password is not kept in {found.config}: give LINEART_DATABASE, PGPASSWORD or ~/.pgpass")
