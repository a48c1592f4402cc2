"""What every benchmark shares: its options, figures beside what is promised of them, and how they are printed and kept.

Knows tables and JSON; must not know what is measured. Tables are Markdown, so that a run can be pasted as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

TIMES = "\u00d7"  # the sign of a ratio
NOTHING = "\u2013"  # stands where a system has no such thing


class Figure(NamedTuple):
    """One thing measured; `limit` is what was promised at most, None where nothing was."""

    work: str
    value: float
    unit: str
    limit: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the promise is kept; None where there is none."""
        return None if self.limit is None else self.value <= self.limit


@dataclass(frozen=True)
class Options:
    """What a run was asked for."""

    work: Path | None = None  # where trees and stores are put: memory, where there is a folder of it
    disk: Path | None = None  # where stores that belong on a disk are put
    repeat: int = 1
    tiny: bool = False  # as little work as there can be: says only that the benchmark runs
    peers: bool = False
    environments: Path | None = None
    systems: tuple[str, ...] = ()
    trees: tuple[str, ...] = ("small", "big")

    @property
    def settle(self) -> float:
        """Seconds after which no file is younger than its timestamps can tell."""
        return 0.0 if self.tiny else 0.5

    @property
    def again(self) -> int:
        """How often a thing is done that takes so little that the median of some is wanted always."""
        return 1 if self.tiny else max(5, self.repeat)


@dataclass
class Report:
    """Everything a run found; each table is printed as soon as it is there."""

    facts: dict[str, str] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)  # raw figures by table, for later comparison

    def fact(self, name: str, value: str) -> None:
        """Say something of the surroundings, once."""
        if self.facts.get(name) != value:
            self.facts[name] = value
            print(f"- {name}: {value}", flush=True)

    def add(self, title: str, figures: Sequence[Figure]) -> None:
        """Take figures and print them."""
        self.figures += figures
        if figures:
            print(f"\n**{title}**\n\n{promises(figures)}", flush=True)

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]], raw: Any) -> None:
        """Print a table of another shape, and keep its raw figures."""
        self.details[title] = raw
        print(f"\n**{title}**\n\n{markdown(head, rows)}", flush=True)

    def close(self, path: Path | None) -> None:
        """Say which promises are not kept, and write everything to a file."""
        held = [one for one in self.figures if one.limit is not None]
        missed = [one for one in held if not one.met]
        if held:
            print(f"\n{len(held) - len(missed)} of {len(held)} targets met" + ("; missed:" if missed else ""))
        if missed:
            print(f"\n{promises(missed)}")
        if path is not None:
            figures = [one._asdict() | {"met": one.met} for one in self.figures]
            found = {"facts": self.facts, "figures": figures, "details": self.details}
            path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns line up in the source, too."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)])


def promises(figures: Sequence[Figure]) -> str:
    """Return figures beside what was promised of them."""
    words = {None: "", True: "yes", False: "**no**"}
    rows = [
        [
            one.work,
            f"{number(one.value)} {one.unit}",
            "" if one.limit is None else f"{number(one.limit)} {one.unit}",
            words[one.met],
            one.note,
        ]
        for one in figures
    ]
    return markdown(["work", "measured", "at most", "met", ""], rows)


def number(value: float) -> str:
    """Return a number with three digits that matter.

    >>> number(0.4567), number(12.34), number(1234.5), number(20.0)
    ('0.457', '12.3', '1,234', '20')
    """
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def add_options(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="a folder in memory (tmpfs); /dev/shm where there is one")
    parser.add_argument("--disk", type=Path, help="a folder on a local disk; the system's temporary one")
    parser.add_argument("--repeat", type=int, default=Options.repeat, help="times; medians are printed")
    parser.add_argument("--tiny", action="store_true", help="as little work as there can be, to see that it runs")
    parser.add_argument("--json", type=Path, help="a file that everything is written to")
    return parser


def add_peers(parser: argparse.ArgumentParser) -> None:
    """Add the options of benchmarks that stand beside other systems."""
    parser.add_argument("--peers", action="store_true", help="install and run DVC, MLflow and W&B, too")
    parser.add_argument("--environments", type=Path, help="a folder that keeps their virtual environments")


def add_trees(parser: argparse.ArgumentParser) -> None:
    """Add the option of benchmarks that log a tree of files."""
    parser.add_argument("--trees", type=names_of(Options.trees), default=Options.trees, help=",".join(Options.trees))


def names_of(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Return what reads a list of known names, separated by commas."""

    def names(text: str) -> tuple[str, ...]:
        given = tuple(filter(None, text.split(",")))
        if unknown := set(given) - set(known):
            raise argparse.ArgumentTypeError(f"not known: {', '.join(sorted(unknown))}")
        return given

    return names


def options_of(chosen: argparse.Namespace) -> Options:
    """Return what was chosen; options that a benchmark does not take stay at their defaults."""
    known = {name: value for name, value in vars(chosen).items() if name in Options.__dataclass_fields__}
    return Options(**known)


@contextmanager
def scratch(options: Options, *, disk: bool = False) -> Iterator[Path]:
    """Give a fresh folder in memory or on disk, which is removed at the end."""
    memory = Path("/dev/shm")
    base = options.disk if disk else options.work or (memory if memory.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="lineart-bench-", dir=base) as folder:
        yield Path(folder)


def describe_machine(report: Report) -> None:
    """Say what it runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    report.fact("machine", f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}")
    report.fact("python", platform.python_version())


def clean_up_when_ended() -> None:
    """Let scratch folders be removed and servers be stopped when this process is asked to end."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


Measure = Callable[[Options, Report], None]


def alone(description: str | None, *measures: Measure, more: Sequence[Callable[..., None]] = ()) -> None:
    """Be the main program of one benchmark."""
    parser = add_options(description)
    for add in more:
        add(parser)
    chosen = parser.parse_args()
    clean_up_when_ended()
    report, options = Report(), options_of(chosen)
    describe_machine(report)
    report.details["options"] = {name: str(value) for name, value in asdict(options).items()}
    for measure in measures:
        measure(options, report)
    report.close(chosen.json)
