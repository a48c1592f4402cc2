"""Whether a run that says that it runs still does: by its heartbeat, and on its own machine by its process.

Knows the rule, and how Linux names a process for good; must not know transactions. A heartbeat is believed for five
minutes, or for as long as the run said when it began (`environment["patience"]`, seconds: for a run between whose
steps no process lives). Sooner is found out where the one who asks can see that the process is gone
(`environment["process"]`): same boot of the same kernel, same namespaces, and no process of that number and that start.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["LOST", "boot", "death_of", "identity", "patience_of", "process_age"]

LOST = 300_000_000  # µs without a heartbeat after which a run is taken for crashed
_LONGEST = 10 * 366 * 86_400  # s that a run may ask for
_PROC = Path("/proc")
_BEGAN = time.monotonic()


def patience_of(environment: Mapping[str, Any]) -> int:
    """Return the µs for which a run's last heartbeat is believed."""
    asked = environment.get("patience")
    if not isinstance(asked, int | float) or not 0 <= asked <= _LONGEST:  # others may have written anything
        return LOST
    return max(LOST, int(asked * 1_000_000))


def death_of(heartbeat: int, environment: Mapping[str, Any], now: int) -> str | None:
    """Say why a run that has not ended is taken for crashed; None where it is not. Times are µs since the epoch.

    >>> death_of(0, {}, 301_000_000)
    'no heartbeat for 301 s'
    """
    silence = now - heartbeat
    if silence > patience_of(environment):
        return f"no heartbeat for {silence // 1_000_000} s"
    if _is_gone(environment.get("process")):
        return "its process is gone"
    return None


def identity(pid: int | None = None) -> dict[str, Any] | None:
    """Return what names a process (by default this one) for good; None where the system does not tell."""
    number = os.getpid() if pid is None else pid
    try:
        return {"pid": number, "start": _start(number), **_surroundings()}
    except (OSError, ValueError, IndexError):
        return None


def process_age() -> float:
    """Return the seconds since this process began; where the system does not tell, since this module was loaded."""
    try:
        up = time.clock_gettime(time.CLOCK_BOOTTIME)
        return max(0.0, up - _start(os.getpid()) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic() - _BEGAN


def boot() -> str | None:
    """Return what names the time since this machine was started; None where the system does not tell."""
    try:
        return _surroundings()["boot"]
    except OSError:
        return None


def _surroundings() -> dict[str, str]:
    """Return what two processes must share for one to see the other by its number; OSError where that is not known."""
    if os.readlink(_PROC / "self") != str(os.getpid()):
        raise ProcessLookupError("what is mounted at /proc is another namespace's")
    ours = _PROC / "self/ns"
    return {
        "boot": (_PROC / "sys/kernel/random/boot_id").read_text().strip(),
        "namespaces": " ".join(
            [os.readlink(ours / "pid"), *map(os.readlink, ours.glob("time"))]
        ),  # old kernels: no time
    }


def _start(pid: int) -> int:
    """Return when a process began, in clock ticks since the machine did (proc(5), /proc/pid/stat, field 22)."""
    text = (_PROC / f"{pid}/stat").read_text(errors="replace")
    state, *rest = text[text.rindex(")") + 2 :].split()  # the name before may hold anything
    if re.fullmatch("[ZXx]", state):
        raise ProcessLookupError(f"process {pid} has ended")
    return int(rest[18])


def _is_gone(process: Any) -> bool:
    """Whether this process can see that another has ended; False wherever there is a doubt."""
    if not isinstance(process, Mapping) or not isinstance(process.get("pid"), int):
        return False
    pid = process["pid"]
    try:
        if pid <= 0 or any(process.get(name) != value for name, value in _surroundings().items()):
            return False  # another machine, an earlier boot of this one, another container
    except OSError:
        return False
    try:
        os.kill(pid, 0)  # where /proc hides others' processes, this still tells
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    try:
        return _start(pid) != process.get("start")
    except ProcessLookupError:
        return True
    except (OSError, ValueError, IndexError):
        return False
