"""Starts a command, waits for it and tells what it took: `launcher.py DESCRIPTOR COMMAND…`.

A process of its own, because the kernel counts what its parent holds at that moment as peak memory of a new process:
this one holds next to nothing. Imports nothing that need not be.
"""

import os
import sys
import time

_teller = int(sys.argv[1])
os.set_inheritable(_teller, False)  # noqa: FBT003 - the name says it
_began = time.perf_counter()
_process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, _status, _usage = os.wait4(_process, 0)
_wall = time.perf_counter() - _began
_told = (_wall, _usage.ru_utime + _usage.ru_stime, _usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(_status))
os.write(_teller, " ".join(map(str, _told)).encode())
