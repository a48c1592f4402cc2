"""Runs what a page of the docs shows: files are written, commands and code are run, and what is shown must come.

In a fenced block, a first line `# some/file.py` (or .toml, .txt, .sh) names the file that the block is. `console`
blocks are commands behind `$ `, on a terminal of 100 columns, and what they print; where nothing is shown, only the
exit code counts. A `python` block without a file's name is a program; a `text` block right behind it is what it prints.
`sh` blocks are for people only. `...` stands for anything; what differs from one run to the next (ids of runs, times,
spans, who) is compared by its form.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w./-]+\.(?:py|toml|txt|sh))")
FORMS = (
    (re.compile(r"\br[a-km-np-z2-9]{7}\b"), "RUN"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z)?"), "TIME"),
    (re.compile(r"\bnow\b|\b(\d+[dhms]){1,2} ago\b"), "AGO"),
    (re.compile(r"\b(\d+[dhms]){1,2}\b"), "SPAN"),
    (re.compile(r"[\w.-]+@[\w.-]+"), "WHO"),
    (re.compile(r"[ \t]+"), " "),
)


class Command(NamedTuple):
    """One command, or a program (`python`), and what is shown of its output; None: nothing is."""

    text: str
    shown: str | None
    python: bool = False


class File(NamedTuple):
    path: str
    text: str


def steps(page: str) -> Iterator[Command | File]:
    """Yield what a page asks its reader to do, in order."""
    blocks = list(BLOCK.finditer(page))
    for i, block in enumerate(blocks):
        language, text = block.groups()
        first, _, rest = text.partition("\n")
        named = FILE.fullmatch(first)
        if named is not None:
            yield File(named[1], rest)
        elif language == "console":
            yield from commands(text)
        elif language == "python":
            after = blocks[i + 1] if i + 1 < len(blocks) else None
            near = after is not None and after[1] == "text" and not page[block.end() : after.start()].strip()
            yield Command(text, after[2] if near and after is not None else None, python=True)


def commands(block: str) -> Iterator[Command]:
    text, shown = "", ""
    for line in block.splitlines():
        if line.startswith("$ "):
            if text:
                yield Command(text, shown or None)
            text, shown = line[2:], ""
        elif text.endswith("\\"):
            text += "\n" + line.removeprefix("> ")
        else:
            shown += line + "\n"
    yield Command(text, shown or None)


class Reader:
    """Does what a page says in a folder of its own, with a home of its own and no setting of the machine's.

    What lies in the folder `programs` is run in place of what is installed.
    """

    def __init__(
        self,
        home: Path,
        replace: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
        programs: Path | None = None,
    ) -> None:
        self.here = home / "work"
        self.here.mkdir(parents=True)
        self.replace = dict(replace or {})  # of what a page names, what stands in for it here
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("LINEART_", "AWS_", "XDG_"))}
        beside = os.pathsep.join(os.fspath(one) for one in (programs, Path(sys.executable).parent) if one is not None)
        self.environment = {
            **kept,
            "PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', '')}",
            "HOME": os.fspath(home),
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "PYTHONIOENCODING": "utf-8",
            **(more or {}),
        }

    def follow(self, page: str) -> list[str]:
        """Do everything; return what did not come out as the page shows."""
        wrong = []
        for step in steps(page):
            if isinstance(step, File):
                target = self.here / step.path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(self.adapted(step.text), encoding="utf-8")
                continue
            code, printed = self.run(step)
            if code != 0 or (step.shown is not None and not agrees(printed, step.shown)):
                wrong.append(f"--- {step.text}\n{step.shown or ''}+++ came, with exit code {code}\n{printed}")
        return wrong

    def adapted(self, text: str) -> str:
        for shown, meant in self.replace.items():
            text = text.replace(shown, meant)
        return text

    def run(self, step: Command) -> tuple[int, str]:
        text = self.adapted(step.text)
        arguments = [sys.executable, "-c", text] if step.python else ["bash", "-c", text]
        with tempfile.TemporaryFile() as errors:
            master, slave = pty.openpty()
            process = subprocess.Popen(
                arguments, cwd=self.here, env=self.environment, stdin=subprocess.DEVNULL, stdout=slave, stderr=errors
            )
            os.close(slave)
            printed = drain(master)
            code = process.wait()
            errors.seek(0)
            printed += errors.read()
        text = printed.decode().replace("\r\n", "\n")
        for shown, meant in self.replace.items():
            text = text.replace(meant, shown)
        return code, text.replace(os.fspath(self.here), "~/work")


def drain(master: int) -> bytes:
    """Read a terminal until everybody has closed it."""
    printed = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux says so where others say that there is nothing more
            part = b""
        if not part:
            os.close(master)
            return printed
        printed += part


def agrees(printed: str, shown: str) -> bool:
    """Whether output is what is shown, but for what differs from run to run."""
    parts = [re.escape(part) for part in plain(shown).split("...")]
    return re.fullmatch(".*".join(parts), plain(printed), re.DOTALL) is not None


def plain(text: str) -> str:
    for pattern, form in FORMS:
        text = pattern.sub(form, text)
    return "\n".join(line.strip() for line in text.strip().splitlines() if line.strip())
