"""What the demo's pipeline does to its files: pick sources, strip them, count n-grams. Pure but for reading files.

Knows Python sources and text; must not know Lineart at all, as the code of a user's own pipeline need not.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

__all__ = ["CharModel", "prepare", "stdlib_sources", "strip_source", "texts"]

LARGEST = 40_000  # bytes of a source file: a few giants would be most of the text
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "encodings", "__pycache__"}
_LAYOUT = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.COMMENT}


def stdlib_sources(limit: int, root: Path | None = None) -> list[tuple[str, Path]]:
    """Return (name, path) of up to `limit` modules of the standard library, spread evenly over its names.

    `root` stands in for this Python's own library. The list is empty where it was installed without sources.
    """
    root = Path(sysconfig.get_path("stdlib")) if root is None else root
    found = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if not LEFT_OUT.intersection(name.parts) and 0 < path.stat().st_size <= LARGEST:
            found.append((name.as_posix(), path))
    return [found[i * len(found) // limit] for i in range(limit)] if len(found) > limit else found


def strip_source(source: bytes) -> str:
    r"""Return Python source without comments, docstrings and empty lines.

    Raises SyntaxError, UnicodeDecodeError or tokenize.TokenError for what is not Python.

    >>> strip_source(b'"doc"\nx = 1  # one\n\ny = "kept"\n')
    'x = 1\ny = "kept"\n'
    """
    tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    lines = source.decode(tokens[0].string).removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    previous = tokens[0]
    spans = []
    for token, following in itertools.pairwise(tokens[1:]):
        stands_alone = previous.type in _LAYOUT and following.type in {tokenize.NEWLINE, tokenize.COMMENT}
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and stands_alone):
            spans.append((token.start, token.end))
        if token.type not in {tokenize.NL, tokenize.COMMENT}:
            previous = token
    for (first, left), (last, right) in reversed(spans):  # from the end, so that places before stay where they are
        lines[first - 1 : last] = [lines[first - 1][:left] + lines[last - 1][right:]]
    return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())


def prepare(raw: Path, out: Path, valid: float) -> Iterator[str]:
    """Strip every source below `raw` into `out/train` or `out/valid`; yield which, or `unreadable`.

    A file's part follows from its name alone, so a later version of it stays in the same part; but the first is always
    `valid`, so that there is one.
    """
    for number, path in enumerate(sorted(raw.rglob("*.py"))):
        name = path.relative_to(raw).as_posix()
        try:
            text = strip_source(path.read_bytes())
        except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
            yield "unreadable"
            continue
        part = "valid" if number == 0 or sha256(name.encode()).digest()[0] < 256 * valid else "train"
        target = out / part / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
        yield part


def texts(folder: Path) -> Iterator[str]:
    """Yield the text of every file below a folder, in the order of their names."""
    for path in sorted(folder.rglob("*.py")):
        yield path.read_text(encoding="utf-8")


class CharModel:
    """A character model: the chance of a character behind the few before it.

    The estimates of all orders are interpolated by Witten and Bell's method (1991): where a context was seen n times
    with t different characters behind it, the shorter context has the weight t / (n + t). `counts` maps each n-gram of
    up to `order` characters to how often it was seen.

    >>> model = CharModel.train("abcabcabc", 3)
    >>> model.complete("ab", 4)
    'cabc'
    """

    def __init__(self, order: int, counts: dict[str, int]) -> None:
        self.order = order
        self.counts = counts
        self._seen: dict[str, tuple[int, int]] = {}  # context → how often, and with how many characters behind it
        totals, kinds = Counter[str](), Counter[str]()
        for gram, count in counts.items():
            totals[gram[:-1]] += count
            kinds[gram[:-1]] += 1
        self._seen = {context: (total, kinds[context]) for context, total in totals.items()}
        self._alphabet = sorted(gram for gram in counts if len(gram) == 1)
        self._unseen = 1 / (len(self._alphabet) + 1)  # one more stands for every character that was never seen

    @classmethod
    def train(cls, text: str, order: int) -> CharModel:
        """Count the n-grams of a text."""
        counts: Counter[str] = Counter()
        for size in range(1, order + 1):
            counts.update(text[start : start + size] for start in range(len(text) - size + 1))
        return cls(order, counts)

    def probability(self, context: str, character: str) -> float:
        """Return the chance of a character; only the last `order` - 1 of the context count."""
        chance = self._unseen
        for size in range(min(self.order - 1, len(context)) + 1):
            before = context[len(context) - size :]
            seen = self._seen.get(before)
            if seen is None:
                break
            total, kinds = seen
            chance = (self.counts.get(before + character, 0) + kinds * chance) / (total + kinds)
        return chance

    def perplexity(self, text: str) -> float:
        """Return 2 to the cross entropy: between how many characters the model wavers, on average."""
        back = self.order - 1
        chances = (self.probability(text[max(0, i - back) : i], one) for i, one in enumerate(text))
        return math.exp(-sum(map(math.log, chances)) / max(1, len(text)))

    def complete(self, prompt: str, most: int = 60) -> str:
        """Return the likeliest characters behind a prompt, one after the other, up to the end of the line."""
        text = prompt
        while len(text) < len(prompt) + most:
            best = max(self._alphabet, key=lambda one: self.probability(text, one))
            if best == "\n":
                break
            text += best
        return text[len(prompt) :]

    def encode(self) -> bytes:
        """Return the model as JSON; equal models give equal bytes."""
        return json.dumps({"order": self.order, "counts": dict(sorted(self.counts.items()))}).encode()

    @classmethod
    def decode(cls, data: bytes) -> CharModel:
        """Read what `encode` gave."""
        value = json.loads(data)
        return cls(value["order"], value["counts"])
