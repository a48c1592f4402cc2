"""The `art` command: parse, call, print; the exit codes.

Knows the options that every command has, and what errors mean to a shell. The commands themselves are in `commands/`;
each imports what it needs when it runs, because every call pays for imports. With `store`, the only one that reads the
environment.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from . import __version__
from .commands import answers, cache, care, compare, exchange, names, removal, running, signing, status, trace, versions
from .commands.chosen import command_for
from .commands.invocation import Invocation
from .display import Screen
from .storage import errors

__all__ = ["app", "execute", "exit_code", "hoist", "main"]

BUG, INTERRUPTED = 70, 130
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (  # the first that fits
    (errors.NotFound, 3),
    (errors.Conflict, 4),
    (errors.VerifyError, 5),
    (errors.IntegrityError, 5),
    (errors.StoreUnavailable, 6),
    (errors.FormatTooNew, 6),
    (errors.LineartError, 2),
    (FileNotFoundError, 3),
    (OSError, 6),
)
GLOBAL = ("--store", "--database", "--project")
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]  # click's ClickException, wherever this typer keeps it

app = typer.Typer(
    name="art",
    help="Versions of datasets and models, and where they came from.",
    epilog="Options that name a store may stand behind the command, too. In a pipe, tables are tab-separated, without "
    "a heading, untruncated, with bytes and times in full.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (versions, removal, names, trace, answers, compare, exchange, status, care, cache, signing, running):
    part.register(app)


@app.callback()
def top(
    context: typer.Context,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The store: a folder, s3://…, gs://… Else LINEART_STORE, the nearest .lineart/config.toml, yours.",
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Its database, where it is not in the store's folder. Else LINEART_DATABASE."),
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="NAME", help="The project of bare names. Else LINEART_PROJECT, else default.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"lineart {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
    call = context.obj
    assert isinstance(call, Invocation)
    call.store, call.database, call.project = store, database, project


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit code."""
    gc.set_threshold(100_000)  # most of a short call is imports, which make no garbage
    if "_ART_COMPLETE" in os.environ:  # the shell asks what could come next
        app(prog_name="art")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # whoever started this closed it
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - it stays open to the end
    screen = _screen()
    warnings.showwarning = lambda message, *_args, **_more: screen.note(str(message))
    code = execute(sys.argv[1:] if arguments is None else arguments, screen)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads it: the interpreter's own flush at exit must be quiet
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    gc.freeze()  # on its way out the interpreter would look for garbage in every module: a quarter of a short call
    sys.exit(code)


def execute(arguments: Sequence[str], screen: Screen) -> int:
    """Run the command; every way in which it can end becomes an exit code here."""
    try:
        code = _run(arguments, screen)
        screen.out.flush()
        return code
    except KeyboardInterrupt:
        screen.error("interrupted; the store is whole, and what was uploaded is reused by the next try")
        return INTERRUPTED
    except BrokenPipeError:
        return 0  # the reader has what it wanted
    except _UsageError as error:
        screen.error(_usage(error))
        return 2
    except Exception as error:  # noqa: BLE001 - the last handler: everything is translated
        if os.environ.get("LINEART_DEBUG"):
            screen.err.write("".join(traceback.format_exception(error)))
        code = exit_code(error)
        screen.error(_message(error) if code != BUG else _confession(error))
        return code


def exit_code(error: Exception) -> int:
    """Return what an error means to a shell."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), BUG)


def _run(arguments: Sequence[str], screen: Screen) -> int:
    hoisted = hoist(arguments)
    command = command_for(app, hoisted, GLOBAL)
    try:
        with command.make_context("art", hoisted, obj=Invocation(screen, arguments=tuple(arguments))) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    return 0


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, errors.LineartError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error)


def _confession(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text}; this is a bug of Lineart: LINEART_DEBUG=1 shows where, please report it"


def _usage(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    path = context.command_path if context is not None else "art"
    return f"{message.rstrip('.')}; `{path} --help` shows what it takes"


def hoist(arguments: Sequence[str]) -> list[str]:
    """Put the options that name a store before the command, where they are parsed.

    >>> hoist(["ls", "--project", "digits", "--all"])
    ['--project', 'digits', 'ls', '--all']
    """
    first: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        one = left.pop(0)
        if one == "--":
            rest += [one, *left]
            break
        if one in GLOBAL and left:
            first += [one, left.pop(0)]
        elif one.startswith(tuple(f"{name}=" for name in GLOBAL)):
            first.append(one)
        else:
            rest.append(one)
    return first + rest


def _screen() -> Screen:
    terminal = sys.stdout.isatty()
    return Screen(
        out=sys.stdout,
        err=sys.stderr,
        now=time.time_ns() // 1000,
        terminal=terminal,
        err_terminal=sys.stderr.isatty() and os.environ.get("TERM") != "dumb",
        columns=shutil.get_terminal_size().columns,
        colour=not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
        ask=_ask if sys.stdin.isatty() and sys.stderr.isatty() else None,
    )


def _ask(question: str) -> bool:
    try:
        return typer.confirm(f"art: {question}", err=True)
    except typer.Abort as error:
        if isinstance(error.__context__, EOFError):  # who goes away without an answer has not said yes
            sys.stderr.write("\n")
            return False
        raise
