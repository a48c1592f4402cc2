"""The command that arguments name, made without the others, and without converting what needs no conversion.

typer makes every command from its signature, and has pydantic turn each value into what the signature says, even text
into text: making all of them and loading pydantic would be a quarter of a short call. Knows typer's commands and their
parameters; must not know what any of them does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from copy import copy
from enum import Enum
from functools import partial
from typing import Any

import typer
from typer.main import get_command

__all__ = ["command_for"]


def command_for(app: typer.Typer, arguments: Sequence[str], valued: Collection[str]) -> Any:
    """Return what parses the arguments: the app with the one command that they name, or with all where they name none.

    `valued` are the options that may stand before the command and are followed by a value.
    """
    name = _first_word(arguments, valued)
    commands = [one for one in app.registered_commands if one.name == name]
    groups = [one for one in app.registered_groups if one.name == name]
    if commands or groups:
        app = copy(app)
        app.registered_commands, app.registered_groups = commands, groups
    made = get_command(app)
    _spare(made)
    return made


def _first_word(arguments: Sequence[str], valued: Collection[str]) -> str | None:
    left = iter(arguments)
    for one in left:
        if one in valued:
            next(left, None)
        elif not one.startswith("-"):
            return one
    return None


def _spare(command: Any) -> None:
    """Have a command, and those below it, convert only what is not yet what the signature says."""
    command.get_params = partial(_parameters, command.get_params)
    for below in getattr(command, "commands", {}).values():
        _spare(below)


def _parameters(get_params: Callable[[Any], list[Any]], context: Any) -> list[Any]:
    """Do what a command's `get_params` does."""
    found = get_params(context)
    for one in found:
        described = getattr(one, "type_descriptor", None)  # absent where typer does without pydantic
        if described is not None and not isinstance(one.process_value, partial):
            one.process_value = partial(_process, one, described, one.process_value)
    return found


def _process(one: Any, described: Any, process_value: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """Do what a parameter's `process_value` does."""
    if value is None and not one.required:
        value = () if one.multiple or one.nargs == -1 else None
    elif not _is_converted(value, described):
        return process_value(context, value)
    return value if one.callback is None else one.callback(context, one, value)


def _is_converted(value: Any, described: Any) -> bool:
    wanted = described.annotation
    plain = wanted is str or (isinstance(wanted, type) and issubclass(wanted, Enum))
    return plain and type(value) is wanted and described.parameter_info.parser is None
