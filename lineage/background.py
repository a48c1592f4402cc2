"""Logging in the background: drafts are secured at once, and uploaded one after another while the program goes on.

Knows one worker thread, its queue and who waits for what; must not know the environment, or how a run ends. In a child
made by fork there is no such thread: what its parent has under way is its parent's.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from ..artifacts.artifact import Artifact
from ..artifacts.logged import Home
from ..artifacts.ref import fold_name
from ..artifacts.staging import Staging, secure
from ..storage.errors import Conflict, LineartError
from ..storage.threads import Slots

__all__ = ["PENDING", "Background", "Upload"]

PENDING = 4  # drafts that are secured and not committed yet, at most: so much disk is taken; who logs more waits
log = logging.getLogger("lineart")
Log = Callable[[Artifact], Artifact]


class Upload:
    """What becomes of one draft: a task in the sense of `artifacts.awaited`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.told = False  # somebody waited and was given the error
        self.error: BaseException | None = None
        self._over = threading.Event()
        self._pid = os.getpid()

    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self._over.is_set()

    def wait(self, timeout: float | None = None) -> None:
        """Return once it is committed; raise what it failed with, and TimeoutError after so many seconds."""
        if os.getpid() != self._pid and not self.done():
            raise Conflict(f"{self.name} is being logged by process {self._pid}, where this one was forked; wait there")
        if not self._over.wait(timeout):
            raise TimeoutError(f"{self.name} is not logged after {timeout:g} s; that goes on")
        if self.error is not None:
            self.told = True
            raise self.error

    def require(self) -> None:
        """Return once there is a version, or raise why there is none."""
        self.wait()

    def rest(self) -> None:
        """Return once it is over, well or not."""
        self._over.wait()

    def end(self, error: BaseException | None = None) -> None:
        """Say that it is over."""
        self.error = error
        self._over.set()


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    artifact: Artifact  # the caller's, which becomes the version
    secured: Artifact
    folder: Path
    log: Log
    upload: Upload


class Background:
    """Logs drafts for one run, in the order of the calls; at most PENDING of them are secured and not committed.

    `home` is the store that they become versions of. Belongs to the process that made it.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._pid = os.getpid()
        self._staging = Staging(home.cache)
        self._slots = Slots(PENDING)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._uploads: list[Upload] = []  # that are not over, or failed without anybody having been told
        self._lock = threading.Lock()
        self._order = threading.Lock()  # held from the securing to the queue, so that calls of many threads stay apart
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def own(self) -> bool:
        """Whether this process made it, and can use it."""
        return self._pid == os.getpid()

    def submit(self, artifact: Artifact, call: Log) -> bool:
        """Secure a draft's content, and leave it to the thread to log it by `call`; waits while too many are pending.

        Returns False, and does nothing, where the disk takes no copies. Raises SourceChanged where a file is not what
        was added, Conflict where it was closed meanwhile.
        """
        self._slots.acquire()
        with self._order:
            folder = None
            try:
                self._require_open()
                folder = self._staging.new()
                secured = secure(artifact, folder)
                upload = Upload(artifact.collection)
                with self._lock:
                    self._require_open()
                    self._uploads.append(upload)
            except BaseException as error:
                self._release(folder)
                if isinstance(error, OSError) and not isinstance(error, LineartError):
                    self._require_open()  # else it is what `close` removed that cannot be written to
                    log.warning(
                        "%s is logged now, not in the background: its files cannot be copied aside (%s); "
                        "LINEART_CACHE_DIR names the folder for that",
                        artifact.collection,
                        error,
                    )
                    return False
                raise
            artifact.entrust(upload)
            self._queue.put(_Job(artifact, secured, folder, call, upload))
        self._start()
        return True

    def settle(self, name: str) -> None:
        """Return once nothing of a collection is under way, well or not: its versions are in the order of the calls."""
        with self._lock:
            before = [one for one in self._uploads if fold_name(one.name) == fold_name(name)]
        for one in before:
            one.rest()

    def finish(self) -> BaseException | None:
        """Return once nothing is under way: the first error that nobody was told of, once."""
        with self._lock:
            under_way = list(self._uploads)
        for one in under_way:
            one.rest()
        with self._lock:
            self._uploads = [one for one in self._uploads if one not in under_way]
        return next((one.error for one in under_way if one.error is not None and not one.told), None)

    def close(self) -> BaseException | None:
        """Take nothing more, let the thread go once nothing is under way, and remove what is left of copies.

        Returns what `finish` does.
        """
        with self._lock:
            self._closed = True
        error = self.finish()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
        self._staging.close()
        return error

    def _require_open(self) -> None:
        if self._closed:
            raise Conflict("the run has ended meanwhile, and nothing more is logged in it")

    def _start(self) -> None:
        """Let the thread begin, unless it has; where there is none to be had, do the work here and now."""
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._work, name="lineart-background", daemon=True)
            try:
                thread.start()
                self._thread = thread
                return
            except RuntimeError:  # the interpreter is going down, or the limit is reached
                self._queue.put(None)
        self._work()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            self._do(job)
            del job  # the caller's artifact is not kept alive while nothing is to do

    def _do(self, job: _Job) -> None:
        error: BaseException | None = None
        try:
            logged = job.log(job.secured)
            job.artifact.settle(logged.record, self._home)
        except BaseException as raised:  # noqa: BLE001 - whoever waits is told
            error = raised
        if error is None:
            with self._lock:
                self._uploads.remove(job.upload)
        self._release(job.folder)
        job.upload.end(error)

    def _release(self, folder: Path | None) -> None:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        self._slots.release()
