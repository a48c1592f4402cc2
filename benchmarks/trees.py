"""The trees that are logged: made from a seed, so that every run and every system sees the same bytes."""

from __future__ import annotations

import random
from pathlib import Path

SMALL_FILES = 20_000
BIG_BYTES = 1 << 30


def make_small(root: Path) -> None:
    """Write 20,000 files of 1 to 16 KiB of noise into 100 folders."""
    rng = random.Random(7)
    for i in range(SMALL_FILES):
        folder = root / f"c{i % 100:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:06d}.jpg").write_bytes(rng.randbytes(rng.randint(1 << 10, 1 << 14)))


def make_big(root: Path) -> None:
    """Write one file of 1 GiB of noise."""
    rng = random.Random(7)
    root.mkdir(parents=True)
    with (root / "model.bin").open("wb") as file:
        for _ in range(BIG_BYTES >> 24):
            file.write(rng.randbytes(1 << 24))


def change_small(root: Path) -> None:
    """Replace one file in a hundred by others of the same size."""
    rng = random.Random(8)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    for path in rng.sample(files, len(files) // 100):
        data = rng.randbytes(path.stat().st_size)
        path.unlink()
        path.write_bytes(data)


def change_big(root: Path) -> None:
    """Overwrite 10 MiB in the middle."""
    with (root / "model.bin").open("r+b") as file:
        file.seek(BIG_BYTES // 2)
        file.write(random.Random(8).randbytes(10 << 20))


TREES = {"small": (make_small, change_small), "big": (make_big, change_big)}
