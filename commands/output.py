"""A command's answer as a file: all of it, or the file that was there before.

Knows files and screens; must not know commands.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..display import Screen
from ..storage.errors import InvalidInput

__all__ = ["Output", "onto"]

Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to a file instead, whole or not at all.")
]


@contextmanager
def onto(screen: Screen, output: Path | None) -> Iterator[Screen]:
    """Give the screen to print on: the one there is, or one that is a file, in UTF-8 and as for other programs.

    The file appears when the block ends without an error, in place of one of that name; a link stays and what it leads
    to is written. What is no ordinary file (a pipe, /dev/stdout) is written to as it is. Raises InvalidInput where it
    cannot be written.
    """
    if output is None:
        yield screen
        return
    target = os.path.realpath(output)
    try:
        special = not stat.S_ISREG(os.stat(target).st_mode)
    except OSError:
        special = False
    written = target if special else f"{target}.{os.urandom(4).hex()}.part"
    try:
        file = Path(written).open("w" if special else "x", encoding="utf-8", newline="\n")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {error.strerror}") from None
    try:
        with file:
            yield replace(screen, out=file, terminal=False)
        if not special:
            _keep_mode(target, written)
            os.replace(written, target)
    except BaseException:
        if not special:
            with suppress(OSError):
                os.unlink(written)
        raise


def _keep_mode(target: str, written: str) -> None:
    """Give a file the permissions of the one that it is to replace, if there is one."""
    with suppress(FileNotFoundError):
        os.chmod(written, stat.S_IMODE(os.stat(target).st_mode))
