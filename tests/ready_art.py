"""The command without its start: a process that has imported everything, and forks for each call that is made of it.

Knows how a call's arguments, folder, environment and files travel to the process that answers it; must not know what
is tested. Most of a short `art` is imports, which are the same each time. What is called here is a process of its own
all the same, at the other end of the caller's pipes and terminal; only that it was started by `art` is not shown.

    with running(folder):  # in it lies an `art` for PATH
        …
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The caller is small on purpose: an interpreter without `site` starts in a hundredth of a second.
CALLER = """#!{python} -ISE
import json, os, socket, sys
call = socket.socket(socket.AF_UNIX)
call.connect({address!r})
told = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode("utf-8", "surrogateescape")
socket.send_fds(call, [len(told).to_bytes(4, "big")], [0, 1, 2])
call.sendall(told)
for one in (0, 1, 2):
    os.close(one)  # who reads what is printed waits until nobody can write any more
answer = call.recv(1)
os._exit(answer[0] if answer else 70)
"""


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Put an `art` into a folder, which works until the end."""
    address = os.fspath(folder.resolve() / "calls")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        command = [sys.executable, __file__, str(listening.fileno())]
        server = subprocess.Popen(command, pass_fds=[listening.fileno()], stdin=subprocess.DEVNULL)
    try:
        caller = folder / "art"
        caller.write_text(CALLER.format(python=sys.executable, address=address), encoding="utf-8")
        caller.chmod(0o755)
        yield
    finally:
        server.terminate()
        server.wait()


def import_everything() -> None:
    """Import what the commands import when they run, but for clouds: those look at the environment as they load."""
    for part in ("storage", "artifacts", "lineage", "commands"):
        folder = importlib.import_module(f"lineart.{part}").__path__
        for one in pkgutil.iter_modules(folder, f"lineart.{part}."):
            importlib.import_module(one.name)
    for name in (
        "lineart.cli",
        "lineart.store",
        "alembic.command",
        "networkx",
        "sqlalchemy.dialects.sqlite",
        "psycopg",
    ):
        importlib.import_module(name)


def serve(listening: socket.socket) -> None:
    """Answer calls for ever, each by a child."""
    while True:
        call, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            answer(call)
        call.close()
        with suppress(ChildProcessError):  # there is none
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue


def answer(call: socket.socket) -> None:
    """Run one call in a child and say how it ended."""
    head, files, _, _ = socket.recv_fds(call, 4, 3)
    left = int.from_bytes(head, "big")
    told = b""
    while len(told) < left:
        told += call.recv(left - len(told))
    child = os.fork()
    if child == 0:
        call.close()
        become(files, *json.loads(told.decode("utf-8", "surrogateescape")))
    for one in files:
        os.close(one)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    call.sendall(bytes([code if code >= 0 else 128 - code]))
    os._exit(0)


def become(files: list[int], arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be the command that was called."""
    for number, one in enumerate(files):
        os.dup2(one, number)
        os.close(one)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    program = os.fspath(Path(sys.executable).with_name("art"))
    sys.argv, sys.orig_argv = [program, *arguments], [sys.executable, program, *arguments]  # what a run remembers
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        mode, errors = ("r" if name == "stdin" else "w"), ("backslashreplace" if name == "stderr" else "strict")
        lines = 1 if os.isatty(number) else -1
        stream = open(number, mode, lines, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115 - to the end
        setattr(sys, name, stream)
    from lineart.cli import main

    code = 70
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 120
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as taken:
        import_everything()
        serve(taken)
