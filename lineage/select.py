"""The selector: how people write sets of versions by name, attribute and what lies up and down from them.

Knows the grammar only; must not know what exists. Text becomes a small tree of frozen values, and `str()` of a tree is
text that parses to an equal one. From weak to strong: `or`, `and`, `not`, steps (`+x`, `x+`, `2+x+1`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from ..storage.errors import InvalidName, InvalidSelector
from .columns import escape, width
from .globs import GLOB, Many, One, read_name

__all__ = ["And", "Attribute", "Function", "Many", "Not", "One", "Or", "Selector", "Steps", "parse_selector"]

LONGEST = 100_000  # characters
DEEPEST = 50  # brackets and `not` within each other: reading and asking recurse as deep
FARTHEST = 10**9  # steps
ABOUT = 60  # characters of long text that an error shows around its place

ATTRIBUTES = (
    "alias",
    "external",
    "group",
    "job_type",
    "project",
    "run",
    "run_state",
    "run_tag",
    "state",
    "tag",
    "type",
)
VALUES = {"state": ("live", "deleted", "purged"), "run_state": ("running", "finished", "failed", "crashed")}
FUNCTIONS = {"roots": 1, "sinks": 1, "path": 2}

_ZONED = r'[^\s()+,"@]*@\d{4}-\d\d-\d\d[Tt][\d:.]+\+\d\d:\d\d'  # the plus sign of a time is no step
_TOKEN = re.compile(
    rf'(?P<attribute>[A-Za-z_]+=)|(?P<quoted>"(?:[^"\\]|\\["\\])*")|(?P<sign>[()+,])|(?P<word>{_ZONED}|[^\s()+,"]+)'
)
_VALUE = re.compile(r'"(?:[^"\\]|\\["\\])*"|[^\s()+,"]+')
_SAFE = re.compile(r"[A-Za-z0-9_.:@/=-]+")
_TERM = "a name, an attribute such as type=model, `not`, `(` or roots(…), sinks(…), path(…)"


@dataclass(frozen=True, slots=True)
class Attribute:
    """Versions of which something is so; what is asked of runs (`job_type`) holds for those that produced them."""

    key: str
    value: str

    def __str__(self) -> str:
        if _SAFE.fullmatch(self.value):
            return f"{self.key}={self.value}"
        return f'{self.key}="{self.value.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"'


@dataclass(frozen=True, slots=True)
class Steps:
    """A set with what lies so many steps up and down from it; 0 is none of that side, None is all of it."""

    of: Selector
    up: int | None
    down: int | None

    def __str__(self) -> str:
        before = "" if self.up == 0 and self.down != 0 else "+" if self.up is None else f"{self.up}+"
        after = "" if self.down == 0 else "+" if self.down is None else f"+{self.down}"
        return f"{before}{_within(self.of, One, Many, Attribute, Function)}{after}"


@dataclass(frozen=True, slots=True)
class Not:
    """Every version but these."""

    of: Selector

    def __str__(self) -> str:
        return f"not {_within(self.of, One, Many, Attribute, Function, Steps, Not)}"


@dataclass(frozen=True, slots=True)
class And:
    """What is in all of several sets."""

    parts: tuple[Selector, ...]

    def __str__(self) -> str:
        return " and ".join(_within(one, One, Many, Attribute, Function, Steps, Not) for one in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """What is in any of several sets."""

    parts: tuple[Selector, ...]

    def __str__(self) -> str:
        return " or ".join(_within(one, One, Many, Attribute, Function, Steps, Not, And) for one in self.parts)


@dataclass(frozen=True, slots=True)
class Function:
    """`roots(x)`: where it comes from; `sinks(x)`: where it ends; `path(a, b)`: what lies between."""

    name: str
    arguments: tuple[Selector, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.arguments))})"


Selector = One | Many | Attribute | Steps | Not | And | Or | Function


def _within(one: Selector, *bare: type) -> str:
    return str(one) if isinstance(one, bare) else f"({one})"


def parse_selector(text: str) -> Selector:
    """Read a selector as people type it; InvalidSelector shows the place and says what was expected there.

    >>> parse_selector("+model:v7 and type=dataset")  # doctest: +ELLIPSIS
    And(parts=(Steps(of=One(ref=Ref(project=None, name='model', version=7...)), up=None, down=0), Attribute(...)))
    >>> str(parse_selector('(2+data:v*) and tag = "x"'))  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    InvalidSelector: expected `and`, `or` or the end, not `tag`...
    """
    if len(text) > LONGEST:
        raise InvalidSelector(f"a selector of {len(text):,} characters; at most {LONGEST:,} are read", LONGEST)
    return _Parser(text).parse()


class _Token(NamedTuple):
    kind: str  # word, attribute, a sign, end
    text: str
    start: int
    value: str = ""  # of an attribute


class _Parser:
    """Reads from left to right, one token ahead; `_level` counts what is open, so that no text exhausts the stack."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._at = 0
        self._level = 0

    def parse(self) -> Selector:
        found = self._either()
        if self._next.kind != "end":
            self._expected("`and`, `or` or the end")
        return found

    # Tokens

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while at < len(self._text):
            if self._text[at].isspace():
                at += 1
                continue
            found = _TOKEN.match(self._text, at)
            if found is None:
                self._fail(at, 'a `"` that is not closed (within quotes, `\\"` and `\\\\` stand for `"` and `\\`)')
            kind, token = str(found.lastgroup), found[0]
            if kind == "attribute":
                tokens.append(self._attribute(found))
                at = found.end() + len(tokens[-1].value)
            else:
                tokens.append(_Token(token if kind == "sign" else kind, token, at))
                at = found.end()
        return [*tokens, _Token("end", "", len(self._text))]

    def _attribute(self, key: re.Match[str]) -> _Token:
        """Return the token of `key=value`, its value as it is written."""
        value = _VALUE.match(self._text, key.end())
        if value is None:
            quote = self._text.startswith('"', key.end())
            self._fail(key.end(), 'a `"` that is not closed' if quote else f"expected a value behind `{key[0]}`")
        return _Token("attribute", key[0][:-1], key.start(), value[0])

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, kind: str) -> bool:
        """Step past a sign, if it is next."""
        if self._next.kind != kind:
            return False
        self._at += 1
        return True

    def _take_word(self, word: str) -> bool:
        """Step past an operator, in any case, if it is next."""
        if self._next.kind != "word" or self._next.text.lower() != word:
            return False
        self._at += 1
        return True

    # Rules

    def _either(self) -> Selector:
        parts = [self._both()]
        while self._take_word("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _both(self) -> Selector:
        parts = [self._negated()]
        while self._take_word("and"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negated(self) -> Selector:
        if not self._take_word("not"):
            return self._steps()
        self._enter(self._tokens[self._at - 1])
        found = Not(self._negated())
        self._level -= 1
        return found

    def _steps(self) -> Selector:
        counts = self._next.kind == "word" and self._tokens[self._at + 1].kind == "+"
        count = self._count() if counts else None
        above = self._take("+")
        of = self._primary()
        up = count if above else 0
        if self._take("+"):
            return Steps(of, up, self._count())
        return Steps(of, up, 0) if above else of

    def _count(self) -> int | None:
        """Step past a number of steps and return it; None, where there is none."""
        word, start = self._next.text, self._next.start
        digits = word.removeprefix("-")
        if self._next.kind != "word" or not (digits.isascii() and digits.isdigit()):
            return None
        if word != digits:
            self._fail(start, "a number of steps is 0 or more")
        if len(digits) > 18 or int(digits) > FARTHEST:
            self._fail(start, f"at most {FARTHEST:,} steps; without a number it is all of them")
        self._at += 1
        return int(digits)

    def _primary(self) -> Selector:
        token = self._next
        if token.kind == "(":
            self._at += 1
            self._enter(token)
            found = self._either()
            self._leave()
            return found
        if token.kind == "attribute":
            self._at += 1
            return self._checked(token)
        if token.kind != "word" or token.text.lower() in {"and", "or", "not"}:
            self._expected(_TERM)
        self._at += 1
        if self._next.kind == "(":
            return self._function(token)
        try:
            return read_name(token.text)
        except InvalidName as error:
            self._fail(token.start, str(error))

    def _function(self, name: _Token) -> Selector:
        count = FUNCTIONS.get(name.text.lower())
        if count is None:
            self._fail(name.start, f"there is no function {name.text!r}; there are {', '.join(FUNCTIONS)}")
        self._enter(self._next)
        self._at += 1
        arguments = [self._either()]
        while len(arguments) < count:
            if not self._take(","):
                self._expected("`,` and the other end")
            arguments.append(self._either())
        self._leave()
        return Function(name.text.lower(), tuple(arguments))

    def _checked(self, token: _Token) -> Attribute:
        key, value, place = token.text.lower(), token.value, token.start + len(token.text) + 1
        if key not in ATTRIBUTES:
            self._fail(token.start, f"there is no attribute {token.text!r}; there are {', '.join(ATTRIBUTES)}")
        if value.startswith('"'):
            value = re.sub(r'\\(["\\])', r"\1", value[1:-1])
        elif GLOB.search(value):
            self._fail(place, "`*` and `?` go with names and version numbers; in quotes they stand for themselves")
        if key in VALUES and value.lower() not in VALUES[key]:
            self._fail(place, f"expected {', '.join(VALUES[key])}")
        return Attribute(key, value)

    # Bounds and errors

    def _enter(self, token: _Token) -> None:
        self._level += 1
        if self._level > DEEPEST:
            self._fail(token.start, f"more than {DEEPEST} brackets and `not` within each other")

    def _leave(self) -> None:
        if not self._take(")"):
            self._expected("`and`, `or` or `)`")
        self._level -= 1

    def _expected(self, what: str) -> NoReturn:
        token = self._next
        length = len(token.text) + (1 + len(token.value) if token.kind == "attribute" else 0)
        shown = self._text[token.start : token.start + min(length, ABOUT)]
        self._fail(token.start, f"expected {what}" + (f", not `{escape(shown)}`" if shown else ""))

    def _fail(self, position: int, what: str) -> NoReturn:
        start = max(0, position - ABOUT)
        before, after = self._text[start:position], self._text[position : position + ABOUT]
        lead = ("…" if start else "") + escape(before)
        tail = escape(after) + ("…" if position + ABOUT < len(self._text) else "")
        raise InvalidSelector(f"{what}\n  {lead}{tail}\n  {' ' * width(lead)}^", position)
