"""Pinned bytes of pages. If one of these fails, stored manifests can no longer be read or are stored twice."""

from __future__ import annotations

from blake3 import blake3

from lineart.artifacts.entry import Entry, External
from lineart.artifacts.manifest import Manifest, build

EMPTY = "93010090"
EMPTY_DIGEST = "440ea3e349bac27d8af6a7de6160debdbe39d55fe7598ace5239a7df8790b082"
ONE = (
    "9301009197ae646174612f30303030302e62696e0000c420ca2b3751b70bc7c1a1a256bf6b828f6bf62634c70ac8"
    "8113c91d8342f47f3404c4200a93352775c2213c5f23d38654d17933b7d575bfb38d68a602218da3b08451eec3c0"
)
ONE_DIGEST = "eebde718119da59ac3709a3da1c404ed8d24f06fdbec509aea3ebfed922ad081"
MANY_DIGEST = "2fe1995f712668b59b9ed84e09b5cdf6fd3621eee4b67d56cc3a21d530cf4129"
MANY_SIZE = 1135910138410
MANY_PAGES = 17
MANY_BYTES = "a4005b2bb1485f5e6bfb72d2c54692a35e9dbf65eeabb16e05ae8330b6b22835"


def fixed_entry(i: int) -> Entry:
    digest, recipe = blake3(b"content %d" % i).digest(), blake3(b"recipe %d" % i).digest()
    if i % 11 == 5:
        external = External(f"s3://bucket/{i}", f"etag-{i}", None if i % 2 else "v1")
        return Entry(f"data/{i:05d}.bin", 1, i, digest, None, executable=False, external=external)
    return Entry(f"data/{i:05d}.bin", 0, i * 100_000, digest, recipe if i % 10 == 0 else None, executable=i % 7 == 0)


def built(count):
    pages = {}
    root = build(map(fixed_entry, range(count)), pages.__setitem__)
    return root, pages


def test_the_empty_tree_is_pinned():
    root, pages = built(0)
    assert {k.hex(): v.hex() for k, v in pages.items()} == {EMPTY_DIGEST: EMPTY}
    assert (root.digest.hex(), root.entries, root.size) == (EMPTY_DIGEST, 0, 0)


def test_a_tree_of_one_entry_is_pinned():
    root, pages = built(1)
    assert {k.hex(): v.hex() for k, v in pages.items()} == {ONE_DIGEST: ONE}
    assert (root.digest.hex(), root.entries, root.size) == (ONE_DIGEST, 1, 0)


def test_a_tree_of_5000_entries_is_pinned():
    root, pages = built(5000)
    manifest = Manifest(root.digest, lambda digests: {d: pages[d] for d in digests})
    listed = list(manifest.pages())
    assert (root.digest.hex(), root.entries, root.size) == (MANY_DIGEST, 5000, MANY_SIZE)
    assert len(listed) == len(pages) == MANY_PAGES
    assert blake3(b"".join(pages[digest] for digest in listed)).hexdigest() == MANY_BYTES
    assert list(manifest.walk()) == list(map(fixed_entry, range(5000)))
