"""The reference pages, made from the code itself: `python tests/reference_pages.py` writes them anew.

tests/test_docs.py fails while they differ from what is here, so that code, help and docs agree.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import lineart
from lineart.storage import errors

DOCS = Path(__file__).parent.parent / "docs" / "reference"

COMMAND = """# The command

<!-- Made by tests/reference_pages.py: do not edit. -->

`art`, also `lineart` and `python -m lineart`. The options `--store`, `--database` and `--project` may stand before or
behind the command's name. On a terminal, tables fit it and times are relative; in a pipe they are tab-separated,
without a heading, with bytes and times in full. `--json` prints one document with `"schema": 1`. Errors are one line on
stderr.

| exit code | means |
| --- | --- |
| 0 | fine |
| 1 | the answer that was asked for is no |
| 2 | usage: an option, a name or a value is wrong |
| 3 | not found |
| 4 | conflict: the store is not as was expected |
| 5 | damage: bytes are not what they should be |
| 6 | unavailable: bucket or database cannot be reached, or is of a newer format |
| 70 | a bug of Lineart |
| 130 | interrupted |

Which store is meant: `--store`, else `LINEART_STORE` (with `LINEART_DATABASE`), else the nearest `.lineart/config.toml`
going up from here, else the user's own configuration, else a store in the user's data folder. Which project:
`--project`, else `LINEART_PROJECT`, else the configuration's, else `default`. `LINEART_DEBUG=1` shows where an error
came from.
"""

CODE = """# The code

<!-- Made by tests/reference_pages.py: do not edit. -->

`import lineart` costs next to nothing; what is heavy is loaded when it is used. Sizes are bytes, times UTC, digests
BLAKE3-256. Everything here is safe to call from many threads.
"""

ERRORS = """## Errors

Every error that Lineart raises on purpose derives from `lineart.storage.errors.LineartError`, and from the built-in
class that a caller would expect. `code` is stable.

| class | code | also a | means |
| --- | --- | --- | --- |
"""


def command_page() -> str:
    """Return docs/reference/command.md."""
    import typer

    from lineart.cli import app

    parts = [COMMAND]
    root = typer.main.get_command(app)
    for path, command in commands(root, ()):
        parts.append(describe_command(path, command))
    return "\n".join(parts)


def commands(group: Any, path: tuple[str, ...]) -> Any:
    """Yield (words, command) of every command that is shown, in the order of the help."""
    for name, command in group.commands.items():
        if not command.hidden:
            if hasattr(command, "commands"):
                if command.invoke_without_command:
                    yield (*path, name), command
                yield from commands(command, (*path, name))
            else:
                yield (*path, name), command


def describe_command(path: tuple[str, ...], command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    usage = " ".join(["art", *path, *(["[OPTIONS]"] if options else []), *map(shown_argument, arguments)])
    said = textwrap.wrap(one_line(command.help), 120)
    lines = [f"## `art {' '.join(path)}`", "", *said, "", "```text", usage, "```", ""]
    rows = [(f"`{shown_argument(one)}`", getattr(one, "help", None)) for one in arguments]
    rows += [(f"`{shown_option(one)}`", one.help) for one in options]
    if rows:
        lines += ["| | |", "| --- | --- |"]
        lines += [f"| {cell(name)} | {cell(one_line(text))} |" for name, text in rows]
        lines.append("")
    return "\n".join(lines)


def shown_argument(one: Any) -> str:
    name = one.metavar or one.name.upper()
    return name if one.required or name.startswith("[") else f"[{name}]"


def shown_option(one: Any) -> str:
    names = ", ".join(sorted(one.opts, key=len))
    if one.is_flag:
        return names
    if isinstance(one.default, enum.Enum):
        value = "|".join(str(choice.value) for choice in type(one.default))
    else:
        value = one.metavar or max(one.opts, key=len).strip("-").upper()
    return f"{names} {value}"


def one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def code_page() -> str:
    """Return docs/reference/code.md."""
    parts = [CODE]
    public = {name: getattr(lineart, name) for name in lineart.__all__}
    functions = {name: value for name, value in public.items() if inspect.isfunction(value)}
    classes = {name: value for name, value in public.items() if inspect.isclass(value)}
    rest = {name: value for name, value in public.items() if name not in {*functions, *classes}}
    if functions:
        parts.append("## Functions\n")
    for name, function in sorted(functions.items()):
        parts.append(describe(f"lineart.{name}", function, "###"))
    if rest:
        parts.append("## Values\n")
        parts += [f"- `lineart.{name}`\n" for name in sorted(rest)]
    for name, one in sorted({**classes, **handed_out(classes)}.items()):
        parts.append(describe_class(name, one))
    parts.append(ERRORS + "".join(error_rows(errors.LineartError)))
    return "\n".join(parts)


def handed_out(known: dict[str, Any]) -> dict[str, Any]:
    """Return the classes that users get from the public ones without ever naming them."""
    from lineart.artifacts.logged import Difference, LoggedEntry
    from lineart.artifacts.records import CollectionRecord, VersionRecord
    from lineart.lineage.run import Run
    from lineart.lineage.runs import RunRecord

    found = (Run, LoggedEntry, Difference, VersionRecord, CollectionRecord, RunRecord)
    return {one.__name__: one for one in found if one.__name__ not in known}


def describe_class(name: str, one: Any) -> str:
    lines = [f"## {name}", "", docstring(one), ""]
    if name == "Artifact":
        lines[2:2] = ["```text", signature("lineart.Artifact", one), "```", ""]
    fields = {field.name: field.type for field in dataclasses.fields(one)} if dataclasses.is_dataclass(one) else {}
    if fields:
        lines += ["| field | type |", "| --- | --- |"]
        lines += [f"| `{field}` | {cell(f'`{kind}`')} |" for field, kind in fields.items() if field[0] != "_"]
        lines.append("")
    properties = [(key, value) for key, value in members(one) if isinstance(value, property)]
    if properties:
        lines += ["| property | |", "| --- | --- |"]
        lines += [f"| `{key}` | {cell(one_line((value.__doc__ or '').strip()))} |" for key, value in properties]
        lines.append("")
    text = "\n".join(lines)
    for key, value in members(one):
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if inspect.isfunction(function) and (key[0] != "_" or key == "__getitem__"):
            text += "\n" + describe(f"{name}.{key}", function, "###")
    return text


def members(one: Any) -> Any:
    """Yield what a class defines and documents for users, in the order of its source, and then what its bases do."""
    known: set[str] = set()
    for part in one.__mro__:
        own = vars(part) if part.__module__.startswith("lineart.") else {}
        for key, value in own.items():
            if (key[0] != "_" or key == "__getitem__") and getattr(value, "__doc__", None) and key not in known:
                yield key, value
        known |= set(own)


def describe(name: str, function: Any, heading: str) -> str:
    return f"{heading} `{name}`\n\n```text\n{signature(name, function)}\n```\n\n{docstring(function)}\n"


def signature(name: str, function: Any) -> str:
    whole = inspect.signature(function)
    parameters = [
        one.replace(annotation=re.sub(r"\bStrPath\b", "str | PathLike", str(one.annotation)))
        if one.annotation is not one.empty
        else one
        for one in whole.parameters.values()
        if one.name not in {"self", "cls"}
    ]
    text = (
        str(whole.replace(parameters=parameters)).replace("'", "")
        if parameters
        else str(whole.replace(parameters=[])).replace("'", "")
    )
    line = name + text
    if len(line) <= 110:
        return line
    shown = ",\n".join(f"    {part}" for part in rendered(parameters))
    back = f" -> {whole.return_annotation}" if whole.return_annotation is not whole.empty else ""
    return f"{name}(\n{shown},\n){back}"


def rendered(parameters: list[inspect.Parameter]) -> list[str]:
    parts = []
    star = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        parts.append(str(one).replace("'", ""))
    return parts


def docstring(one: Any) -> str:
    """Return a docstring with its examples as code."""
    lines: list[str] = []
    fenced = False
    for line in re.sub(r" +# doctest: \+\w+", "", inspect.cleandoc(one.__doc__ or "")).splitlines():
        if line.startswith(">>>") and not fenced:
            lines += ["```pycon", line]
            fenced = True
        elif fenced and not line.strip():
            lines += ["```", ""]
            fenced = False
        else:
            lines.append(line)
    return "\n".join([*lines, "```"] if fenced else lines)


def error_rows(top: Any) -> Any:
    """Yield a row for each error class, parents first."""
    also = ", ".join(f"`{one.__name__}`" for one in top.__bases__ if one is not Exception)
    yield f"| `{top.__name__}` | `{top.code}` | {also} | {cell(one_line(top.__doc__).split('. ')[0])} |\n"
    for below in top.__subclasses__():
        if below.__module__ == top.__module__:
            yield from error_rows(below)


PAGES = {"command.md": command_page, "code.md": code_page}

if __name__ == "__main__":
    DOCS.mkdir(exist_ok=True)
    for file, page in PAGES.items():
        (DOCS / file).write_text(page(), encoding="utf-8")
