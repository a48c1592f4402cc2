"""Recipes: the ordered chunks of a file that has more than one.

Knows the recipe's bytes and how recipes stack; must not know where they are kept (they are put and got by digest) nor
what a chunk holds. The encoding is normative in docs/format.md, "Chunks, recipes, packs".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from .codec import MAX_CHUNK
from .digest import SIZE as DIGEST_SIZE
from .digest import Hasher
from .errors import FormatTooNew, IntegrityError, InvalidInput

__all__ = ["MAX_ITEMS", "MAX_LEVEL", "Item", "Recipe", "build", "decode", "encode", "walk"]

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
    recipe = decode(get(root))
    if len(recipe.items) < 2:
        raise IntegrityError(f"recipe {root.hex()} is a root with one item")
    yield from _walk(root, recipe, size, get, width, last=True)


def _walk(
    digest: bytes, recipe: Recipe, size: int, get: Callable[[bytes], bytes], width: int, *, last: bool
) -> Iterator[Item]:
    level, items = recipe
    name = f"recipe {digest.hex()}"
    total = sum(item[1] for item in items)
    if total != size:
        raise IntegrityError(f"{name} stands for {total} bytes, where {size} were expected")
    if len(items) > width or (not last and len(items) < width):
        raise IntegrityError(f"{name} has {len(items)} items; only the last recipe of a level has fewer than {width}")
    if level == 0:
        if any(item[1] > MAX_CHUNK for item in items):
            raise IntegrityError(f"{name} names a chunk of more than {MAX_CHUNK} bytes")
        yield from items
        return
    final = len(items) - 1
    for index, (child, part) in enumerate(items):
        below = decode(get(child))
        if below.level != level - 1:
            raise IntegrityError(f"{name} of level {level} names one of level {below.level}")
        yield from _walk(child, below, part, get, width, last=last and index == final)
