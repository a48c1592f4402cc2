"""Hides passwords, tokens and keys in what a run records of its command line, its config and its remotes.

Knows how people name secrets; must not know where the text comes from or goes to. Pure. It hides too much rather than
too little: a value is hidden by its name, whatever it looks like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["MASK", "is_secret", "mask_arguments", "mask_mapping", "mask_text"]

MASK = "***"

_WORDS = frozenset({
    *("token", "secret", "secrets", "password", "passwords", "passwd", "passphrase", "pwd", "pw", "key", "apikey"),
    *("accesskey", "secretkey", "privatekey", "credential", "credentials", "auth", "authorization", "signature", "sig"),
})  # fmt: skip
_ENDINGS = ("token", "secret", "password", "passwd", "passphrase", "apikey")
_SPLIT = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")

_USERINFO = re.compile(  # of a longer scheme the end is enough; without a bound, long words would take for ever
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30})://(?P<user>[^\s/?#@:]*)(?P<password>:[^\s/?#]*)?@"
)
_QUERY = re.compile(r"(?P<head>[?&;](?P<name>[A-Za-z0-9_.%-]+)=)[^\s&;#'\"]+")
_BEARER = re.compile(r"\b(?P<head>(?:[Bb]earer|[Bb]asic)\s+)[^\s'\"]+")
_ASSIGNED = re.compile(
    r"(?P<head>(?<![A-Za-z0-9_.-])(?:--?)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)['\"]?\s*[=:]\s*)"
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s'\",;&)}\]]+)"
)
_FOLLOWED = re.compile(
    r"(?P<head>(?<!\S)--?(?P<name>[A-Za-z][A-Za-z0-9_.-]*)\s+)(?P<value>'[^']*'|\"[^\"]*\"|[^\s-]\S*)"
)


def is_secret(name: str, value: object = None) -> bool:
    """Say whether a value of this name is to be hidden.

    A name is taken apart at everything but letters and digits, and where a capital follows a small letter. Numbers
    stay where the telling word is not the last: `num_key_value_heads=8` and `pad_token_id=0` are no secrets.

    >>> is_secret("hf_token"), is_secret("apiKey"), is_secret("max_tokens"), is_secret("tokenizer")
    (True, True, False, False)
    """
    words = [word.lower() for word in _SPLIT.split(name) if word]
    telling = [word in _WORDS or word.endswith(_ENDINGS) for word in words]
    if not any(telling):
        return False
    number = isinstance(value, bool | int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value) is not None)
    return telling[-1] or not number


def mask_text(text: str) -> str:
    """Hide credentials within free text: in URLs, behind `Bearer`, and values assigned to telling names.

    >>> mask_text("https://ana:pw@host/x?token=abc&page=2")
    'https://ana:***@host/x?token=***&page=2'
    """
    text = _USERINFO.sub(_without_password, text)
    text = _BEARER.sub(rf"\g<head>{MASK}", text)
    return _QUERY.sub(lambda found: found["head"] + MASK if is_secret(found["name"]) else found[0], text)


def _without_password(found: re.Match[str]) -> str:
    if found["password"] is not None:
        return f"{found['scheme']}://{found['user']}:{MASK}@"
    if found["scheme"].lower() in {"http", "https"} and found["user"]:
        return f"{found['scheme']}://{MASK}@"  # a lone user in front of a web host is an access token
    return found[0]


def _hide(found: re.Match[str]) -> str:
    return found["head"] + MASK if is_secret(found["name"], found["value"]) else found[0]


def _mask_words(text: str) -> str:
    """Hide secrets in an argument that is itself a command or a piece of code."""
    text = mask_text(text)
    return _FOLLOWED.sub(_hide, _ASSIGNED.sub(_hide, text)) if any(char.isspace() for char in text) else text


def mask_arguments(arguments: Sequence[str]) -> list[str]:
    """Hide the values of telling arguments: `--api-key X`, `--password=X`, `TOKEN=X`, and those inside `sh -c "…"`.

    >>> mask_arguments(["train.py", "--api-key", "abc", "--lr=0.1", "db.password=x"])
    ['train.py', '--api-key', '***', '--lr=0.1', 'db.password=***']
    """
    masked: list[str] = []
    awaited = ""  # the telling name whose value the next argument is
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if awaited and not argument.startswith("--"):
            masked.append(MASK if is_secret(awaited, argument) else mask_text(argument))
            awaited = ""
            continue
        awaited = ""
        if equals and not re.search(r"[\s/?&]", name):
            masked.append(f"{name}={MASK}" if is_secret(name, value) else f"{name}={_mask_words(value)}")
        elif any(char.isspace() for char in argument):
            masked.append(_mask_words(argument))
        else:
            masked.append(mask_text(argument))
            if argument.startswith("-") and is_secret(argument):
                awaited = argument
    return masked


def mask_mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested JSON values in which telling keys have lost their values."""
    return {
        name: MASK if value is not None and is_secret(name, value) else _mask_value(value)
        for name, value in values.items()
    }


def _mask_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return mask_mapping(value)
    if isinstance(value, list | tuple):
        return [_mask_value(one) for one in value]
    return mask_text(value) if isinstance(value, str) else value
