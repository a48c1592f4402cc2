"""Which store is meant: arguments, the environment, the nearest configuration, the user's, the default; in this order.

Knows where settings may stand; reads no environment itself (it is handed in) and opens nothing.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from .storage.backends import is_local, local_path
from .storage.errors import InvalidInput

__all__ = [
    "CACHE_SIZE",
    "CONFIG",
    "FOLDER",
    "Settings",
    "find_settings",
    "offline_settings",
    "parse_size",
    "sqlite_url",
]

FOLDER = ".lineart"
CONFIG = "config.toml"
DATABASE = "lineart.db"
CACHE_SIZE = 10 << 30  # bytes that copies of a bucket's content may take on this machine, unless it is told otherwise
_KNOWN = {"store": {"url", "database", "project", "downloads"}, "cache": {"folder", "size"}, "storage_options": None}
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_UNITS |= {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that opening a store needs. `database` is None where it follows from the store itself."""

    url: str
    database: str | None
    project: str
    downloads: Path
    storage_options: dict[str, Any] = field(default_factory=dict)
    implicit: bool = False  # nobody named this store to `open`: the first log may make it
    source: str = ""  # where the URL came from, for messages
    cache: Path | None = None  # where this machine remembers what can be had again; None for nowhere
    cache_size: int = CACHE_SIZE  # bytes of content kept there; 0 for none


def parse_size(text: str) -> int:
    """Return the bytes that a size means, as people write it; InvalidInput for anything else.

    >>> parse_size("10 GiB"), parse_size("1.5MB"), parse_size("0")
    (10737418240, 1500000, 0)
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].lower() not in _UNITS:
        raise InvalidInput(f"{text!r} is not a size: write 500 MiB, 10 GiB or 0")
    return int(Decimal(found[1]) * _UNITS[found[2].lower()])


def sqlite_url(settings: Settings, user_data: Path) -> str:
    """Return the SQLite file that goes with a store: in its folder, or for a bucket in the user's data folder."""
    if is_local(settings.url):
        return f"sqlite:///{local_path(settings.url) / DATABASE}"
    name = hashlib.sha256(settings.url.rstrip("/").encode()).hexdigest()[:16]
    return f"sqlite:///{user_data / 'databases' / name}.db"


def offline_settings(settings: Settings, user_data: Path) -> Settings:
    """Return where runs are kept while the store that settings name cannot be reached: a store of this user's own.

    A store on this machine, with its database beside it, is reached always: then that one.
    """
    if is_local(settings.url) and (settings.database is None or settings.database.startswith("sqlite:")):
        return settings
    name = hashlib.sha256(f"{settings.url.rstrip('/')}\0{settings.database or ''}".encode()).hexdigest()[:16]
    return replace(
        settings,
        url=str(user_data / "offline" / name),
        database=None,
        storage_options={},
        implicit=True,
        source="the offline mode",
    )


def find_settings(
    url: str | None,
    database: str | None,
    storage_options: Mapping[str, Any] | None,
    project: str | None,
    *,
    environ: Mapping[str, str],
    here: Path,
    user_config: Path,
    user_data: Path,
    user_cache: Path,
) -> Settings:
    """Settle which store is meant.

    Raises InvalidInput for a configuration file that cannot be read or holds what it should not.
    """
    configured, source = _configured(here, user_config)
    store = configured.get("store", {})
    cache = configured.get("cache", {})
    named = environ.get("LINEART_STORE")  # one that is empty is as good as none
    given = url
    if url is not None:
        origin, implicit = "the URL given", False
    elif named:
        url, origin, implicit = named, "LINEART_STORE", True
    elif "url" in store:
        url, origin, implicit = store["url"], source, False
    else:
        url, origin, implicit = str(user_data / "store"), "the default", True
    same = url.rstrip("/") == store.get("url", "").rstrip("/")
    # A database is shared by whoever uses one store: it must never be taken for a folder that somebody else named.
    theirs = given is None or not is_local(url) or same or url == named
    return Settings(
        url=url,
        database=database
        or (environ.get("LINEART_DATABASE") if theirs else None)
        or (store.get("database") if same else None),
        project=project or environ.get("LINEART_PROJECT") or store.get("project") or "default",
        downloads=Path(environ.get("LINEART_ARTIFACT_DIR") or store.get("downloads") or "artifacts"),
        storage_options=dict(
            storage_options
            if storage_options is not None
            else configured.get("storage_options", {})
            if same or "url" not in store
            else {}
        ),
        implicit=implicit and is_local(url),
        source=origin,
        cache=Path(environ.get("LINEART_CACHE_DIR") or cache.get("folder") or user_cache).expanduser().absolute(),
        cache_size=parse_size(environ.get("LINEART_CACHE_SIZE") or cache.get("size") or str(CACHE_SIZE)),
    )


def _configured(here: Path, user_config: Path) -> tuple[dict[str, Any], str]:
    for folder in (here, *here.parents):
        path = folder / FOLDER / CONFIG
        if path.is_file():
            return _read(path), str(path)
    path = user_config / CONFIG
    return (_read(path), str(path)) if path.is_file() else ({}, "")


def _read(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from None
    for section, values in data.items():
        if section not in _KNOWN or not isinstance(values, dict):
            raise InvalidInput(f"{path}: [{section}] is not known; there are [store], [cache] and [storage_options]")
        allowed = _KNOWN[section]
        for key, value in values.items():
            if allowed is not None and (key not in allowed or not isinstance(value, str)):
                raise InvalidInput(
                    f"{path}: {key!r} is not a setting of [{section}]; there are {', '.join(sorted(allowed))}"
                )
    url = data.get("store", {}).get("url")
    if url == "":
        raise InvalidInput(f"{path}: the url of [store] is empty")
    if url is not None and "://" not in url:  # a relative folder is relative to the file that names it
        data["store"]["url"] = _beside(path, url)
    folder = data.get("cache", {}).get("folder")
    if folder:
        data["cache"]["folder"] = _beside(path, folder)
    return data


def _beside(path: Path, folder: str) -> str:
    return str((path.parent / Path(folder).expanduser()).absolute())
