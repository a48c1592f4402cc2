"""URLs of what stays elsewhere: one spelling for each place, and none that would keep a secret.

Knows the grammar of URLs only; asks nobody. Pure but for the current folder, which a relative path is relative to.
"""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from ..storage.backends import local_path
from ..storage.errors import InvalidInput
from .entry import shown

__all__ = ["check_length", "check_url", "cut_version", "name_of"]

LONGEST = 4096  # characters of a URL
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SAME = {"local": "file", "gcs": "gs", "s3a": "s3", "s3n": "s3"}
_BUCKETS = {"s3", "gs"}
_TELLING = re.compile(r"signature|token|secret|passw|credential|(api|access)[-_]?key|^sig$|^key$|^auth", re.IGNORECASE)
_VERSION = "?versionId="  # as s3fs has it behind a key


def check_url(text: str) -> str:
    """Return the URL that is kept: of a path of this machine its file URL, and one spelling of what has several.

    Raises InvalidInput for a URL that holds a password or a signature, since what is logged is kept for ever; for
    one that is too long, and for chains of file systems.

    >>> check_url("gcs://bucket/data/"), check_url("/data/a b.txt")
    ('gs://bucket/data/', 'file:///data/a%20b.txt')
    """
    found = _SCHEME.fullmatch(text)
    if found is None:
        if not text or "\0" in text or "::" in text:
            raise InvalidInput(f"{shown(text)} is neither a URL nor a path")
        return _file_url(text)
    scheme = _SAME.get(found[1].lower(), found[1].lower())
    try:
        urlsplit(text)
    except ValueError:
        raise InvalidInput(f"what stands behind {found[1]}:// is no URL of a place") from None  # it may hold a secret
    if scheme == "file":
        url = _file_url(os.fspath(local_path(text)), folder=text.endswith("/"))
    elif scheme in {"http", "https"}:
        url = _web_url(text)
    else:
        url = f"{scheme}://{found[2]}"
        if scheme in _BUCKETS and "/" not in found[2]:
            url += "/"  # a bucket is a folder
    _check(url, scheme)
    return url


def _file_url(path: str, *, folder: bool = False) -> str:
    try:
        quoted = quote(os.fsencode(os.path.abspath(path)))
    except UnicodeEncodeError:
        raise InvalidInput(f"{shown(path)} is no path of this machine") from None
    return f"file://{quoted}" + ("/" if (folder or path.endswith("/")) and not quoted.endswith("/") else "")


def _web_url(text: str) -> str:
    parts = urlsplit(text)
    telling = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if _TELLING.search(name)]
    if telling:
        raise InvalidInput(
            f"the URL holds what may be a secret ({', '.join(telling)}), and would be kept for ever; give one without, "
            "and credentials in storage_options"
        )
    return urlunsplit((parts.scheme.lower(), parts.netloc, parts.path, parts.query, ""))


def _check(url: str, scheme: str) -> None:
    user = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    if ":" in user or (user and scheme in {"http", "https"}):  # there a name alone may be a token
        raise InvalidInput(
            f"the {scheme} URL holds a password, and would be kept for ever; give one without, and credentials by the "
            "environment or in storage_options"
        )
    check_length(url)
    try:
        url.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"the URL {shown(url)} is not UTF-8") from None


def cut_version(url: str) -> tuple[str, str | None]:
    """Return the URL of an object of S3, and the version of it that was named."""
    if url.startswith("s3://") and _VERSION in url:
        url, _, version = url.rpartition(_VERSION)
        return url, version or None
    return url, None


def name_of(url: str) -> str:
    """Return the last part of a URL, as a name; of a bucket alone its name."""
    scheme = url.partition("://")[0]
    text = url if scheme in _BUCKETS else urlsplit(url)._replace(query="").geturl()
    name = text.rstrip("/").rpartition("/")[2]
    return name if scheme in _BUCKETS else unquote(name, errors="surrogateescape")


def check_length(url: str) -> None:
    """Raise InvalidInput for a URL that is longer than an entry can hold."""
    if len(url) > LONGEST:
        raise InvalidInput(f"the URL {url[:100]}… has {len(url)} characters; at most {LONGEST} are kept")
