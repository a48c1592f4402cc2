"""Progress bars: bytes, rate and time left of long work, on a terminal and nowhere else.

Knows how much there is to do and how far it is; must not know what the work is. Work that is over at once shows no bar,
and does not pay for the import of what draws one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from .lineage.columns import escape
from .lineage.printing import print_duration, print_size

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Bar", "describe", "watching"]

Watch = Callable[[str], Callable[[int, int], None] | None]
PATIENCE = 0.4  # seconds that work may take before it is worth a bar
WINDOW = 10.0  # seconds


def describe(done: int, size: int | None, rate: float) -> str:
    """Say how far work is: bytes done and to do, bytes a second, time left.

    >>> describe(1 << 20, 3 << 20, 1 << 20)
    '1.0/3.0 MiB  1.0 MiB/s  2s left'
    """
    parts = [print_size(done)]
    if size is not None:
        (number, unit), (whole, whole_unit) = print_size(done).split(), print_size(size).split()
        parts = [f"{number}/{whole} {unit}" if unit == whole_unit else f"{number} {unit}/{whole} {whole_unit}"]
    if rate > 0:
        parts.append(f"{print_size(int(rate))}/s")
        if size is not None:
            parts.append(f"{print_duration(int(max(0, size - done) / rate * 1e6))} left")
    return "  ".join(parts)


class Bar:
    """One bar; call it with the files and bytes done since the last call, from any thread.

    `files` and `size` (bytes) are what there is to do, where that is known. It appears once the work has lasted
    PATIENCE; the rate is that of the last WINDOW.
    """

    def __init__(
        self,
        stream: TextIO,
        what: str,
        files: int | None = None,
        size: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._what = what
        self._files = files
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._done_files = 0
        self._done_size = 0
        self._marks = deque([(clock(), 0)])
        self._drawn: tuple[RichProgress, TaskID] | None = None

    def __call__(self, files: int, size: int) -> None:
        """Count what was done; draw it, if it is time."""
        with self._lock:
            self._done_files += files
            self._done_size += size
            now = self._clock()
            if self._drawn is None and now - self._marks[0][0] < PATIENCE:
                return
            if self._drawn is None:
                self._drawn = self._start()
            self._marks.append((now, self._done_size))
            while len(self._marks) > 2 and now - self._marks[1][0] > WINDOW:
                self._marks.popleft()
            progress, task = self._drawn
            progress.update(task, completed=self._done_size, state=self._state())

    @property
    def shown(self) -> bool:
        """Whether it has appeared."""
        return self._drawn is not None

    def draw(self) -> None:
        """Show it now, however short the work has been."""
        with self._lock:
            self._drawn = self._drawn or self._start()

    def close(self) -> None:
        """Take it off the screen; may be called again."""
        with self._lock:
            if self._drawn is not None:
                self._drawn[0].stop()

    def _state(self) -> str:
        if self._size is None and not self._done_size:  # work that has no bytes: versions or events that are looked at
            return f"{self._done_files:,} so far"
        (began, before), (now, done) = self._marks[0], self._marks[-1]
        state = describe(self._done_size, self._size, (done - before) / (now - began) if now > began else 0.0)
        if self._files is not None and self._files > 1:
            state = f"{self._done_files:,}/{self._files:,} files  {state}"
        return state

    def _start(self) -> tuple[RichProgress, TaskID]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        console = Console(file=self._stream)
        console.width = max(console.width - 4, 20)  # so that the terminal's own "^C" does not wrap the line
        progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
            TextColumn("{task.fields[state]}", markup=False, table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
            expand=True,
        )
        progress.start()
        return progress, progress.add_task(escape(self._what), total=self._size, state="")


@contextmanager
def watching(stream: TextIO, files: int | None = None, size: int | None = None) -> Iterator[Watch]:
    """Lend a `Store.watch` that draws bars on a stream, and take them away at the end, however that comes."""
    bars: list[Bar] = []

    def watch(what: str) -> Bar:
        bars.append(Bar(stream, what, files, size))
        return bars[-1]

    try:
        yield watch
    finally:
        for bar in bars:
            bar.close()
