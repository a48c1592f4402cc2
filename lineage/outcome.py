"""How an execution ended, as a run records it: exit code, state, reason.

Knows exceptions and what systems are told of them; must not know runs. Pure.
"""

from __future__ import annotations

from .runs import CRASHED

__all__ = ["exit_code_of", "outcome_of"]


def outcome_of(error: BaseException) -> tuple[int, str | None, str | None]:
    """Return exit code, state and reason for the exception that ends a program.

    >>> outcome_of(SystemExit(0)), outcome_of(KeyboardInterrupt())
    ((0, None, None), (130, 'crashed', 'KeyboardInterrupt'))
    """
    if isinstance(error, SystemExit):
        code = exit_code_of(error.code)
        return code, None, f"exit code {code}" if code else None
    if isinstance(error, KeyboardInterrupt):
        return 130, CRASHED, "KeyboardInterrupt"
    text = str(error)
    return 1, None, f"{type(error).__name__}: {text}" if text else type(error).__name__


def exit_code_of(code: object) -> int:
    """Return the number that the system is told for what `sys.exit` was given: text and other objects mean 1."""
    return 0 if code is None else code if isinstance(code, int) else 1
