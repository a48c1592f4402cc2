"""The trees that are logged: made from a seed, so that every run and every system sees the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PIECE = 1 << 24  # bytes of noise made at once


@dataclass(frozen=True)
class Tree:
    """How a tree is made and how it is changed."""

    title: str
    size: int  # bytes, about
    make: Callable[[Path], None]
    change: Callable[[Path], None]


def small_tree(count: int) -> Tree:
    """Return a tree of files of 1 to 16 KiB of noise in 100 folders, of which one in a hundred is replaced."""

    def make(root: Path) -> None:
        rng = random.Random(7)
        for i in range(count):
            folder = root / f"c{i % 100:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i:06d}.jpg").write_bytes(rng.randbytes(rng.randint(1 << 10, 1 << 14)))

    def change(root: Path) -> None:
        rng = random.Random(8)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        for path in rng.sample(files, len(files) // 100):
            data = rng.randbytes(path.stat().st_size)
            path.unlink()
            path.write_bytes(data)

    return Tree(f"{count:,} files of 1 to 16 KiB", count * 8704, make, change)


def big_tree(size: int) -> Tree:
    """Return a tree of one file of noise, of which about a hundredth in the middle is overwritten."""

    def make(root: Path) -> None:
        rng = random.Random(7)
        root.mkdir(parents=True)
        with (root / "model.bin").open("wb") as file:
            for start in range(0, size, PIECE):
                file.write(rng.randbytes(min(PIECE, size - start)))

    def change(root: Path) -> None:
        with (root / "model.bin").open("r+b") as file:
            file.seek(size // 2)
            file.write(random.Random(8).randbytes(10 << 20 if size >= 1 << 30 else size // 100))

    return Tree(f"one file of {size / 2**20:,.0f} MiB", size, make, change)


def trees(*, tiny: bool = False) -> dict[str, Tree]:
    """Return the trees by name."""
    return {"small": small_tree(100 if tiny else 20_000), "big": big_tree(3 << 20 if tiny else 1 << 30)}
