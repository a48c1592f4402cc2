"""What Linux says of mounted filesystems and held locks, as pure functions over the texts of /proc.

Knows the formats of proc(5), nothing of databases.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection

__all__ = ["lock_holder", "network_filesystem"]

# Filesystems that several machines can mount at once, or whose locks and shared memory are another system's.
_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "vmhgfs", "wekafs",
}  # fmt: skip
_LOCAL_FUSE = {
    "fuse.ext2",
    "fuse.ext4",
    "fuse.fuse-overlayfs",
    "fuse.ntfs",
    "fuse.ntfs-3g",
    "fuse.bindfs",
    "fuse.lxcfs",
}


def network_filesystem(path: str, mountinfo: str, also: Collection[str] = ()) -> str | None:
    r"""Return the type of the network filesystem that an absolute, resolved path is on, or None if it is on none.

    `mountinfo` is the text of /proc/self/mountinfo (proc(5)); of several mounts that hold the path, the deepest counts,
    and of those at one place the last. FUSE counts as a network, but for the kinds that are known to be local; the
    types in `also` count, too.

    >>> network_filesystem("/home/ann/x.db", "1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /home rw - nfs4 srv:/h rw\n")
    'nfs4'
    """
    best, found = -1, ""
    for entry in mountinfo.splitlines():
        left, separator, right = entry.partition(" - ")
        fields = left.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= best:
            best, found = len(point), right.split(" ")[0]
    remote = found in _NETWORK or (found.startswith("fuse.") and found not in _LOCAL_FUSE) or found in also
    return found if remote else None


def lock_holder(locks: str, device: int, inode: int, byte: int) -> int | None:
    """Return the id of the process that holds a POSIX write lock on a byte of a file, or None if it cannot be told.

    `locks` is the text of /proc/locks (proc(5)), `device` and `inode` are what stat says of the file.

    >>> lock_holder("7: POSIX  ADVISORY  WRITE 4242 08:01:99 120 120", os.makedev(8, 1), 99, 120)
    4242
    """
    name = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    for entry in locks.splitlines():
        fields = entry.split()
        if len(fields) == 8 and fields[1] == "POSIX" and fields[3] == "WRITE" and fields[5] == name:
            last = byte if fields[7] == "EOF" else int(fields[7])
            if int(fields[6]) <= byte <= last and int(fields[4]) > 0:
                return int(fields[4])
    return None
