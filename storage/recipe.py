"""Recipes: the ordered chunks of a file that has more than one.

Knows the recipe's bytes and how recipes stack; must not know where they are kept (they are put and got by digest) nor
what a chunk holds. The encoding is normative in docs/format.md, "Chunks, recipes, packs".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from .codec import MAX_CHUNK
from .digest import SIZE as DIGEST_SIZE
from .digest import Hasher
from .errors import FormatTooNew, IntegrityError, InvalidInput

__all__ = ["MAX_ITEMS", "MAX_LEVEL", "Finder", "Item", "Place", "Recipe", "build", "decode", "encode", "walk"]

FORMAT = 1
MAX_ITEMS = 65_536
MAX_LEVEL = 3  # 65,536**4 chunks: more than any file

Item: TypeAlias = tuple[bytes, int]
"""A digest and a size in bytes: of a chunk at level 0, of all that a recipe below stands for above it."""

_encode = msgspec.msgpack.Encoder().encode
_Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)]
_Size = Annotated[int, msgspec.Meta(ge=1)]
_decode = msgspec.msgpack.Decoder(tuple[int, int, list[tuple[_Digest, _Size]]]).decode


class Recipe(NamedTuple):
    """One recipe; `level` 0 lists chunks, a higher one recipes of the level below."""

    level: int
    items: list[Item]


def encode(recipe: Recipe) -> bytes:
    """Give a recipe's only valid bytes: msgpack `[format, level, [[digest, size], …]]`, shortest integers.

    >>> len(encode(Recipe(0, [(bytes(32), 1), (bytes(32), 300)])))
    78
    """
    return _encode((FORMAT, recipe.level, recipe.items))


def decode(data: bytes) -> Recipe:
    """Read a recipe; IntegrityError for anything that `encode` would not have written, FormatTooNew for a later format.

    Memory stays within a small multiple of `data`, which is at most 4 MiB.
    """
    if len(data) > MAX_CHUNK:
        raise IntegrityError(f"a recipe of {len(data)} bytes is larger than any")
    try:
        version, level, items = _decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise IntegrityError(f"not a recipe: {error}") from error
    if version > FORMAT:
        raise FormatTooNew(f"a recipe is of format {version}; this Lineart reads up to {FORMAT}: upgrade")
    recipe = Recipe(level, items)
    if not 0 <= level <= MAX_LEVEL or not 0 < len(items) <= MAX_ITEMS:
        raise IntegrityError(f"a recipe of level {level} with {len(items)} items")
    if version != FORMAT or encode(recipe) != data:
        raise IntegrityError("a recipe is not encoded as the format says")
    return recipe


def build(chunks: Iterable[Item], put: Callable[[bytes, bytes], None], width: int = MAX_ITEMS) -> bytes:
    """Store the recipes of a file of two or more chunks, by `put(digest, bytes)`, and return the root's digest.

    Every recipe but the last of its level holds `width` items, and the top level is the first that has one recipe, so
    equal chunks give equal recipes. Holds one open recipe a level. `width` is the format's 65,536, less only in tests.
    InvalidInput for fewer than two chunks (a file of one is named by its chunk) and for one that is empty or too large.
    """
    levels: list[list[Item]] = []

    def add(level: int, item: Item) -> None:
        if level == len(levels):
            levels.append([])
        # A full recipe is closed only by the item behind it: until then it may be the root.
        if len(levels[level]) == width:
            add(level + 1, close(level))
            levels[level] = []
        levels[level].append(item)

    def close(level: int) -> Item:
        if level > MAX_LEVEL:
            raise InvalidInput(f"a file of more than {width}**{MAX_LEVEL + 1} chunks has no recipe")
        data = encode(Recipe(level, levels[level]))
        digest = Hasher(data).digest()
        put(digest, data)
        return digest, sum(size for _, size in levels[level])

    for chunk in chunks:
        if not 0 < chunk[1] <= MAX_CHUNK or len(chunk[0]) != DIGEST_SIZE:
            raise InvalidInput(f"no chunk for a recipe: digest {chunk[0].hex()}, {chunk[1]} bytes")
        add(0, chunk)
    if sum(map(len, levels)) < 2:
        raise InvalidInput("a file of fewer than two chunks has no recipe")
    level = 0
    while True:
        item = close(level)
        level += 1
        if level == len(levels):
            return item[0]
        add(level, item)


def walk(root: bytes, size: int, get: Callable[[bytes], bytes], width: int = MAX_ITEMS) -> Iterator[Item]:
    """Give the chunks of a file of `size` bytes, in order, reading its recipes as they are needed.

    `get(digest)` gives a recipe's bytes and has checked them against the digest. Recipes that a file of that size and
    `build` could not have led to are an IntegrityError, raised before any chunk of the recipe in question is given.
    At most four recipes are held, one a level; as levels only fall, a cycle cannot be followed.
    """
    yield from _walk(_Node.root(root, size, get, width), get, width)


def _walk(node: _Node, get: Callable[[bytes], bytes], width: int) -> Iterator[Item]:
    if node.level == 0:
        yield from node.items
        return
    for index in range(len(node.items)):
        yield from _walk(node.child(index, get, width), get, width)


class Place(NamedTuple):
    """A chunk of a file, and where in the file it begins."""

    digest: bytes
    begin: int
    size: int


class Finder:
    """Finds the chunk behind an offset of a file of `size` bytes, and reads only the recipes on the way to it.

    `get` and the errors are those of `walk`; a recipe is refused when it is read, so at most four are held whatever
    the size is said to be.
    """

    def __init__(self, root: bytes, size: int, get: Callable[[bytes], bytes], width: int = MAX_ITEMS) -> None:
        self._get = get
        self._width = width
        self._way = [(0, _Node.root(root, size, get, width))]  # from the root down: where each begins in the file

    def at(self, offset: int) -> Place:
        """Return the chunk that holds an offset, which is at least 0 and less than the file's size."""
        while not self._way[-1][0] <= offset < self._way[-1][0] + self._way[-1][1].size:
            self._way.pop()
        while True:
            start, node = self._way[-1]
            index = bisect_right(node.ends, offset - start)
            digest, size = node.items[index]
            begin = start + node.ends[index] - size
            if node.level == 0:
                return Place(digest, begin, size)
            self._way.append((begin, node.child(index, self._get, self._width)))


class _Node:
    """One recipe in its place among those of a file; it is what `build` could have made there, or IntegrityError."""

    __slots__ = ("_last", "_name", "ends", "items", "level", "size")

    def __init__(self, digest: bytes, recipe: Recipe, size: int, width: int, *, last: bool) -> None:
        self.level, self.items = recipe
        self._name = f"recipe {digest.hex()}"
        self._last = last  # of its level
        self.ends = list(accumulate(item[1] for item in self.items))
        self.size = self.ends[-1]
        if self.size != size:
            raise IntegrityError(f"{self._name} stands for {self.size} bytes, where {size} were expected")
        count = len(self.items)
        if count > width or (not last and count < width):
            raise IntegrityError(
                f"{self._name} has {count} items; only the last recipe of a level has fewer than {width}"
            )
        if self.level == 0 and any(item[1] > MAX_CHUNK for item in self.items):
            raise IntegrityError(f"{self._name} names a chunk of more than {MAX_CHUNK} bytes")

    @classmethod
    def root(cls, digest: bytes, size: int, get: Callable[[bytes], bytes], width: int) -> _Node:
        """Read the recipe of a whole file."""
        recipe = decode(get(digest))
        if len(recipe.items) < 2:
            raise IntegrityError(f"recipe {digest.hex()} is a root with one item")
        return cls(digest, recipe, size, width, last=True)

    def child(self, index: int, get: Callable[[bytes], bytes], width: int) -> _Node:
        """Read one of the recipes below."""
        digest, size = self.items[index]
        below = decode(get(digest))
        if below.level != self.level - 1:
            raise IntegrityError(f"{self._name} of level {self.level} names one of level {below.level}")
        return _Node(digest, below, size, width, last=self._last and index == len(self.items) - 1)
