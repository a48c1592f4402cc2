"""Which filesystem holds a path, and which process holds a lock."""

import os

import pytest

from lineart.storage.mounts import lock_holder, network_filesystem

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:5 / /proc rw - proc proc rw
40 22 0:40 / /home rw,relatime shared:7 master:2 - nfs4 server:/home rw
41 40 8:2 / /home/ann/local rw - xfs /dev/sdb1 rw
42 22 0:41 / /mnt/my\040share rw - cifs //server/share rw
43 22 0:42 / /bucket rw - fuse.gcsfuse bucket rw
44 22 0:43 / /container rw - fuse.fuse-overlayfs overlay rw
45 22 8:3 / /both rw - ext4 /dev/sdc1 rw
46 45 0:44 / /both rw - ceph 10.0.0.1:/ rw
47 22 0:45 / /mnt/c rw - 9p drvfs rw
a line that is none
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/store.db", None),
        ("/home/ann/store.db", "nfs4"),
        ("/homes/store.db", None),
        ("/home/ann/local/store.db", None),
        ("/mnt/my share/store.db", "cifs"),
        ("/bucket/store.db", "fuse.gcsfuse"),
        ("/container/store.db", None),
        ("/both/store.db", "ceph"),
        ("/mnt/c/store.db", "9p"),
    ],
)
def test_the_deepest_and_last_mount_decides(path, kind):
    assert network_filesystem(path, MOUNTS) == kind


def test_nothing_is_known_of_a_system_without_mountinfo():
    assert network_filesystem("/home/ann/store.db", "") is None


LOCKS = """1: POSIX  ADVISORY  WRITE 4242 08:01:99 120 120
2: POSIX  ADVISORY  READ  4343 08:01:99 123 123
2: -> POSIX  ADVISORY  WRITE 5000 08:01:99 120 120
3: FLOCK  ADVISORY  WRITE 4444 08:01:98 0 EOF
4: POSIX  ADVISORY  WRITE 4545 fd:10:97 100 EOF
5: POSIX  ADVISORY  WRITE -1 08:01:96 0 EOF
"""


@pytest.mark.parametrize(
    ("device", "inode", "byte", "holder"),
    [
        (os.makedev(8, 1), 99, 120, 4242),
        (os.makedev(8, 1), 99, 123, None),
        (os.makedev(8, 1), 98, 120, None),
        (os.makedev(0xFD, 0x10), 97, 120, 4545),
        (os.makedev(0xFD, 0x10), 97, 99, None),
        (os.makedev(8, 1), 96, 120, None),
    ],
)
def test_the_process_that_holds_a_byte_is_found(device, inode, byte, holder):
    assert lock_holder(LOCKS, device, inode, byte) == holder
