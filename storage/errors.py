"""Every error that Lineart raises on purpose, as one tree.

Knows nothing of what failed; the raiser puts the facts into the message. A class exists where a handler would do
something else than for its neighbours; its `code` is stable and is only ever added to.
"""

from __future__ import annotations

from typing import Any, ClassVar


class LineartError(Exception):
    """Root of all errors; `code` names the class for programs and stays the same across releases."""

    code: ClassVar[str] = "error"

    def __str__(self) -> str:
        """Return the message as it was given (KeyError would quote it)."""
        return str(self.args[0]) if self.args else self.code


class NotFound(LineartError, KeyError):
    """What was asked for does not exist; the message says what does."""

    code = "not_found"


class InvalidName(LineartError, ValueError):
    """A name, path or ref is outside its grammar."""

    code = "invalid_name"


class InvalidInput(LineartError, ValueError):
    """A value cannot be stored: metadata that is not JSON, a source of a kind that is not kept, a bad argument."""

    code = "invalid_input"


class InvalidSelector(InvalidInput):
    """A selector is outside its grammar; `position` is the character, counted from 0, at which that shows."""

    code = "invalid_selector"

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class Conflict(LineartError, RuntimeError):
    """The store's state is not what the caller expected; look again, then decide."""

    code = "conflict"


class SourceChanged(Conflict):
    """A file changed or vanished while it was being logged; nothing was recorded."""

    code = "source_changed"


class ProtectedAlias(Conflict):
    """An alias may not be moved by this actor or in this way."""

    code = "protected_alias"


class Frozen(LineartError, TypeError):
    """A logged artifact is immutable; `new_draft()` starts its successor."""

    code = "frozen"


class NotLogged(LineartError, ValueError):
    """A draft was asked for what only a logged version has."""

    code = "not_logged"


class VerifyError(LineartError, ValueError):
    """Files on disk are not what the version says, and `report` lists them by kind; or a signature does not hold."""

    code = "verify"

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class IntegrityError(LineartError, ValueError):
    """Stored bytes are not what their digest says, or a structure breaks the format's rules."""

    code = "integrity"


class FormatTooNew(LineartError, RuntimeError):
    """The store was written by a newer Lineart; upgrade to read it."""

    code = "format_too_new"


class StoreUnavailable(LineartError, OSError):
    """The bucket or the database could not be reached or refused the request.

    `transient` says that the same request may succeed when it is repeated.
    """

    code = "unavailable"

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class StoreBusy(StoreUnavailable):
    """Others held a lock for longer than the patience that was set."""

    code = "busy"

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=True)
