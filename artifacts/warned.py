"""Warnings that name the line of the program that called, however deep within Lineart they are found to be due.

Knows the stack of calls; must not know what is warned of.
"""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]

_PACKAGE = __name__.partition(".")[0]


def warn(text: str) -> None:
    """Warn the caller of Lineart by a UserWarning; where all of the stack is Lineart's own, as in a thread, whoever."""
    level, frame = 2, sys._getframe(1)  # noqa: SLF001 - `inspect` is slow to import
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
