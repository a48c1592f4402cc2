from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

import lineart
from lineart.artifacts.linking import BATCH, LINKS, Disk, placing
from lineart.artifacts.place import Place
from lineart.artifacts.shared import SharedFiles, is_sealed, prune, seal_of, usage
from lineart.commands.fetch import Way
from lineart.storage.errors import Conflict, IntegrityError, InvalidInput, LineartError, VerifyError

MIB = 1 << 20


def noise(size, seed=b"0"):
    return blake3(seed).digest(length=size)


FILES = {
    "a.txt": b"alpha",
    "empty": b"",
    "sub/b.bin": noise(200_000),
    "sub/twin": b"alpha",
    "large": noise(9 * MIB, b"l"),
}
CONTENT = [data for path, data in FILES.items() if data and path != "sub/twin"]


@pytest.fixture
def cache(store, tmp_path):
    """The cache folder of `store`."""
    store.cache = tmp_path / "cache"
    return store.cache


@pytest.fixture
def logged(cache, log):
    """A version of FILES in a store that has a cache folder."""
    return log(files=FILES)


def shared_files(cache):
    return {path.name: path for path in (cache / "files").glob("??/*")}


def shared_file(cache, data, *, executable=False):
    return shared_files(cache)[blake3(data).hexdigest() + ("-x" if executable else "")]


def inode(path):
    return os.lstat(path).st_ino


def is_plain(path):
    found = os.lstat(path)
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and bool(found.st_mode & stat.S_IWUSR)


def edit(path, data=b"ALPHA"):
    """Write into a read-only file, as somebody does who does not know what it is."""
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)


def put(logged, root, link, disk, progress=None):
    """Download with a disk that a test made up."""
    held = logged._held()
    with Place(root) as place, placing(link, held.home.cache, place, disk) as way:
        way.fetch(held.content.walk(), held.content.chunks, progress)
        place.settle()
    return root


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


def cloning(target, source):
    """Copy, where a disk would share blocks."""
    cloned.append(source)
    os.lseek(source, 0, os.SEEK_SET)
    while data := os.read(source, MIB):
        os.write(target, data)


cloned: list[int] = []


@pytest.fixture(autouse=True)
def nothing_cloned():
    cloned.clear()


# What each way does


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("way", ["download", "checkout"])
def test_every_way_brings_the_same_content(logged, tmp_path, link, way):
    out = getattr(logged, way)(tmp_path / "out", link=link)
    assert {path: (out / path).read_bytes() for path in FILES} == FILES
    assert logged.verify(out) == out
    assert getattr(logged, way)(out, link=link) == out


def test_another_way_is_refused_with_those_that_there_are(logged, tmp_path):
    for call in (logged.download, logged.checkout, logged["a.txt"].download):
        with pytest.raises(InvalidInput, match=r"'link' is no way .* copy, reflink, hardlink, symlink"):
            call(tmp_path / "out", link="link")
    assert not (tmp_path / "out").exists()


def test_the_command_knows_the_same_ways():
    assert tuple(Way) == LINKS


def test_a_hard_link_is_one_read_only_file_for_all_downloads(logged, cache, tmp_path):
    one, two = (logged.download(tmp_path / name, link="hardlink") for name in ("one", "two"))
    for path, data in FILES.items():
        if data:
            assert inode(one / path) == inode(two / path) == inode(shared_file(cache, data))
            assert stat.S_IMODE((one / path).stat().st_mode) & 0o333 == 0
    assert inode(one / "a.txt") == inode(one / "sub/twin")
    assert is_plain(one / "empty")
    assert len(shared_files(cache)) == len(CONTENT)


def test_a_symbolic_link_leads_to_the_same_files(logged, cache, tmp_path):
    hard = logged.download(tmp_path / "hard", link="hardlink")
    out = logged.download(tmp_path / "out", link="symlink")
    for path, data in FILES.items():
        if data:
            assert Path(os.readlink(out / path)) == shared_file(cache, data)
            assert os.path.samefile(out / path, hard / path)
    assert is_plain(out / "empty")


def test_another_version_and_another_store_share_what_is_equal(logged, log, new_store, make, cache, tmp_path):
    logged.download(tmp_path / "out", link="hardlink")
    before = inode(shared_file(cache, b"alpha"))
    other = new_store()
    other.cache = cache
    for version in (log(files={"x": b"alpha"}), other.log(make(files={"y": b"alpha"}))):
        out = version.download(tmp_path / version.project / str(version.digest)[:8], link="hardlink")
        assert [inode(path) for path in out.iterdir()] == [before]


def test_one_file_can_be_linked_alone(logged, cache, tmp_path):
    path = logged["sub/b.bin"].download(tmp_path / "out", link="symlink")
    assert Path(os.readlink(path)) == shared_file(cache, FILES["sub/b.bin"])
    assert len(shared_files(cache)) == 1


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_a_second_time_nothing_is_changed(logged, tmp_path, link):
    out = logged.download(tmp_path / "out", link=link)
    before = {path: (inode(out / path), os.lstat(out / path).st_ctime_ns) for path in FILES}
    logged.download(out, link=link)
    assert {path: (inode(out / path), os.lstat(out / path).st_ctime_ns) for path in FILES} == before


def test_executable_twins_of_one_content_are_two_files(store, cache, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("run", "read"):
        (source / name).write_bytes(b"#!/bin/sh\n")
    (source / "run").chmod(0o755)
    draft = lineart.Artifact("tools", "code")
    draft.add_dir(source)
    logged = store.log(draft)
    for link in ("hardlink", "symlink"):
        out = logged.download(tmp_path / link, link=link)
        assert os.access(out / "run", os.X_OK)
        assert not (out / "read").stat().st_mode & 0o111
    assert len(shared_files(cache)) == 2
    out = logged.download(tmp_path / "clones", link="reflink")
    assert stat.S_IMODE((out / "run").stat().st_mode) & 0o700 == 0o700


def test_a_shared_file_keeps_to_the_umask(log, cache, tmp_path):
    before = os.umask(0o077)
    try:
        out = log(files={"a": b"1"}).download(tmp_path / "out", link="hardlink")
    finally:
        os.umask(before)
    assert stat.S_IMODE((out / "a").stat().st_mode) == 0o400


def test_progress_counts_every_file_once(logged, cache, tmp_path):
    for link in LINKS:
        for disk in (Disk(), Disk(clone=cloning)):
            root = tmp_path / f"{link}-{disk.clone.__name__}"
            for _ in range(2):
                told = []
                put(logged, root, link, disk, lambda *one, told=told: told.append(one))
                assert [sum(part) for part in zip(*told, strict=True)] == [len(FILES), sum(map(len, FILES.values()))]


@pytest.mark.slow
def test_more_files_than_one_batch_are_all_linked(log, cache, tmp_path):
    files = {f"{i:05}": b"%d" % (i % 4) for i in range(BATCH + 5)}
    logged = log(files=files)
    for link in ("hardlink", "symlink"):
        out = logged.download(tmp_path / link, link=link)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == files
    assert len(shared_files(cache)) == 4


# From one way to another


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
@pytest.mark.parametrize("way", ["copy", "reflink"])
def test_copies_take_the_place_of_links_and_leave_what_is_shared(logged, cache, tmp_path, tree, link, way):
    out = logged.download(tmp_path / "out", link=link)
    logged.download(out, link=way)
    assert all(is_plain(out / path) for path in FILES)
    (out / "a.txt").write_bytes(b"mine")
    assert shared_file(cache, b"alpha").read_bytes() == b"alpha"
    logged.download(out)
    assert tree(out) == FILES


def test_copies_take_the_place_of_links_whose_cache_is_gone(logged, cache, tmp_path, tree):
    for link in ("hardlink", "symlink"):
        out = logged.download(tmp_path / link, link=link)
        shutil.rmtree(cache)
        logged.download(out)
        assert all(is_plain(out / path) for path in FILES)
        assert tree(out) == FILES


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_links_take_the_place_of_copies_and_of_other_links(logged, cache, tmp_path, link):
    out = logged.download(tmp_path / "out")
    for before in ("copy", "hardlink", "symlink"):
        logged.download(out, link=before)
        logged.download(out, link=link)
        for path, data in FILES.items():
            if data:
                assert os.path.samefile(out / path, shared_file(cache, data))
                assert (out / path).is_symlink() == (link == "symlink")
    assert not [name for name in os.listdir(out) if name.startswith(".")]


def test_a_read_only_file_of_somebody_elses_is_right_as_it_is(logged, tmp_path):
    out = logged.download(tmp_path / "out")
    (out / "a.txt").chmod(0o444)
    before = inode(out / "a.txt")
    logged.download(out)
    assert inode(out / "a.txt") == before


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_links_are_never_made_through_a_link(logged, tmp_path, tree, link):
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(Conflict, match="symbolic link"):
        logged.download(tmp_path / "out", link=link)
    assert tree(tmp_path / "outside") == {}


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_a_folder_where_a_link_is_to_be_is_refused(logged, tmp_path, link):
    (tmp_path / "out" / "a.txt").mkdir(parents=True)
    with pytest.raises(Conflict, match=r"a\.txt is a folder"):
        logged.download(tmp_path / "out", link=link)
    assert os.listdir(tmp_path / "out") == ["a.txt"] or set(os.listdir(tmp_path / "out")) <= {*FILES, "sub"}


def test_a_repository_among_the_files_stands_as_links_but_is_not_changed(log, cache, tmp_path):
    logged = log(files={".git/config": b"x"})
    for link, other in (("hardlink", "symlink"), ("symlink", "hardlink")):
        out = logged.download(tmp_path / link, link=link)
        logged.download(out, link=link)
        with pytest.raises(Conflict, match="a git repository"):
            logged.download(out, link=other)


# Trust


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_an_edit_in_place_is_not_handed_on_and_heals(logged, cache, tmp_path, link):
    one = logged.download(tmp_path / "one", link=link)
    kept = one / "a.txt" if link == "hardlink" else shared_file(cache, b"alpha")
    edited = os.open(kept, os.O_RDONLY)  # so that its number is not given again
    edit(one / "a.txt")  # as large as before
    two = logged.download(tmp_path / "two", link=link)
    assert (two / "a.txt").read_bytes() == b"alpha"
    if link == "hardlink":
        assert (one / "a.txt").read_bytes() == b"ALPHA"  # theirs, until it is asked for again
    with pytest.raises(VerifyError) if link == "hardlink" else pytest.MonkeyPatch().context():
        logged.verify(one)
    logged.download(one, link=link)
    assert (one / "a.txt").read_bytes() == b"alpha"
    assert os.path.samefile(one / "a.txt", two / "a.txt")
    os.close(edited)


def test_what_was_written_through_a_symbolic_link_is_kept_under_another_name(logged, cache, tmp_path):
    one = logged.download(tmp_path / "one", link="symlink")
    edit(one / "a.txt", b"my only copy")
    with pytest.warns(UserWarning, match=r"was edited through a link to it; .* is kept as .*\.edited-") as said:
        logged.download(tmp_path / "two", link="symlink")
    aside = Path(str(said[0].message).rpartition(" ")[2])
    assert aside.read_bytes() == b"my only copy"
    assert (tmp_path / "two" / "a.txt").read_bytes() == b"alpha"
    shutil.rmtree(one)
    shutil.rmtree(tmp_path / "two")
    prune(cache)
    assert aside.read_bytes() == b"my only copy"


@pytest.mark.parametrize("how", ["mode", "times"])
def test_a_shared_file_that_still_holds_what_it_should_is_not_kept_twice(logged, cache, tmp_path, how, recwarn):
    logged.download(tmp_path / "one", link="symlink")
    kept = shared_file(cache, b"alpha")
    kept.chmod(0o644) if how == "mode" else os.utime(kept)
    logged.download(tmp_path / "two", link="symlink")
    assert (len(os.listdir(kept.parent)), list(recwarn)) == (1, [])


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_a_second_time_nothing_is_read_so_that_a_time_put_back_is_found_by_verify(logged, tmp_path, link):
    out = logged.download(tmp_path / "out", link=link)
    before = (out / "a.txt").stat()
    edit(out / "a.txt")
    os.utime(out / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    logged.download(out, link=link)
    assert (out / "a.txt").read_bytes() == b"ALPHA"
    with pytest.raises(VerifyError, match=r"2 changed .*a\.txt.*twin"):
        logged.verify(out)


@pytest.mark.parametrize("what", ["short", "writable", "executable", "link", "other", "folder"])
def test_only_a_sealed_file_of_the_right_size_is_taken(logged, cache, tmp_path, what):
    one = logged.download(tmp_path / "one", link="hardlink")
    kept, other = shared_file(cache, b"alpha"), shared_file(cache, FILES["sub/b.bin"])
    seal = kept.stat().st_mtime_ns
    if what in {"writable", "executable"}:
        kept.chmod(0o644 if what == "writable" else 0o555)
    else:
        kept.unlink()
    if what == "short":
        kept.write_bytes(b"alp")
        kept.chmod(0o444)
        os.utime(kept, ns=(seal, seal))
    elif what == "link":
        kept.symlink_to(one / "sub" / "twin")
    elif what == "other":  # as `cp -p` leaves it
        shutil.copy2(other, kept)
    elif what == "folder":
        kept.mkdir()
        with pytest.raises(LineartError, match="files"):
            logged.download(tmp_path / "two", link="hardlink")
        return
    two = logged.download(tmp_path / "two", link="hardlink")
    assert (two / "a.txt").read_bytes() == b"alpha"
    assert stat.S_IMODE((two / "a.txt").lstat().st_mode) & 0o333 == 0
    assert is_sealed(shared_file(cache, b"alpha").lstat(), blake3(b"alpha").digest())


def test_of_two_who_make_one_file_at_once_the_first_one_wins(logged, cache, tmp_path):
    out = logged.download(tmp_path / "out", link="hardlink")
    shared = SharedFiles(cache)
    with shared.used(), shared.staging() as folder:
        folder.mkdir()
        (folder / "late").write_bytes(b"alpha")
        shared.keep(str(folder / "late"), logged._held().content.entry("a.txt"))
    assert inode(shared_file(cache, b"alpha")) == inode(out / "a.txt")


def test_a_seal_is_in_the_past_and_follows_from_the_digest():
    seals = {seal_of(blake3(b"%d" % i).digest()) for i in range(1000)}
    assert len(seals) == 1000
    assert all(10**18 <= seal < 1.2 * 10**18 and seal % 1000 == 0 for seal in seals)


@pytest.mark.parametrize("link", ["hardlink", "symlink", "reflink"])
@pytest.mark.parametrize("damaged", ["small", "large"])
def test_damaged_bytes_leave_nothing(new_store, hooked, make, tmp_path, tree, link, damaged):
    store = new_store(hooked)
    store.cache = tmp_path / "cache"
    content = FILES["sub/b.bin"] if damaged == "small" else FILES["large"]
    logged = store.log(make(files={"a": content}))
    wrong = bytearray(content[:1000])
    hooked.on_get = lambda _, data: data.replace(bytes(wrong), bytes(1000))
    with pytest.raises(IntegrityError):
        put(logged, tmp_path / "out", link, Disk(clone=cloning))
    assert not (tmp_path / "out").exists()
    assert set(tree(tmp_path / "cache")) <= {"files/lock", "files/roots/" + blake3(bytes(tmp_path / "out")).hexdigest()}
    assert usage(tmp_path / "cache") == (0, 0)


# What a disk cannot


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.EXDEV, "another disk.*LINEART_CACHE_DIR"), (errno.EPERM, "takes no hard links"), (errno.EMLINK, "no hard")],
)
def test_no_hard_link_is_told_with_the_way_out_before_anything_is_fetched(logged, cache, tmp_path, number, says):
    with pytest.raises(Conflict, match=says):
        put(logged, tmp_path / "out", "hardlink", Disk(link=refusing(number)))
    assert not (tmp_path / "out").exists()
    assert shared_files(cache) == {}


def test_no_symbolic_link_is_told_with_the_way_out(logged, cache, tmp_path):
    with pytest.raises(Conflict, match="takes no symbolic links"):
        put(logged, tmp_path / "out", "symlink", Disk(symlink=refusing(errno.EPERM)))


def test_a_folder_that_may_not_be_written_is_refused(logged, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidInput, match="may not be written"):
        put(logged, tmp_path / "out", "hardlink", Disk(link=refusing(errno.EACCES)))
    assert os.listdir(tmp_path / "out") == []


def refused_later(number, good):
    """Return `link` that is fine for `good` files of content, and then refuses one."""
    calls = []

    def link(source, *args, **options):
        if not source.endswith("lock"):
            calls.append(source)
            if len(calls) == good + 1:
                raise OSError(number, os.strerror(number))
        os.link(source, *args, **options)

    return link


def test_a_file_with_too_many_names_gets_a_successor(logged, cache, tmp_path, tree):
    one = logged.download(tmp_path / "one", link="hardlink")
    two = put(logged, tmp_path / "two", "hardlink", Disk(link=refused_later(errno.EMLINK, 0)))
    assert tree(one) == tree(two) == FILES
    assert inode(one / "a.txt") != inode(two / "a.txt") == inode(shared_file(cache, b"alpha"))
    assert inode(one / "large") == inode(two / "large")


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EXDEV, Conflict), (errno.ENOSPC, Conflict), (errno.EIO, Conflict)]
)
def test_a_disk_that_fails_half_way_leaves_nothing(logged, tmp_path, number, error):
    with pytest.raises(error):
        put(logged, tmp_path / "out", "hardlink", Disk(link=refused_later(number, 2)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY])
def test_where_the_disk_cannot_clone_a_reflink_is_a_copy_and_nothing_is_kept_twice(
    logged, cache, tmp_path, tree, number
):
    out = put(logged, tmp_path / "out", "reflink", Disk(clone=refusing(number)))
    assert tree(out) == FILES
    assert all(is_plain(out / path) for path in FILES)
    assert shared_files(cache) == {}


def test_where_the_disk_can_a_reflink_is_a_clone_of_ones_own(logged, cache, tmp_path, tree):
    out = put(logged, tmp_path / "out", "reflink", Disk(clone=cloning))
    assert tree(out) == FILES
    assert all(is_plain(out / path) for path in FILES)
    assert len(shared_files(cache)) == len(CONTENT)
    assert len(cloned) == 1 + 4  # one to try it out, then every file that has bytes
    before = inode(out / "large")
    (out / "a.txt").write_bytes(b"ALPHA")
    put(logged, out, "reflink", Disk(clone=cloning))
    assert tree(out) == FILES
    assert inode(out / "large") == before
    assert len(cloned) == 5 + 2


def test_the_disk_is_asked_once_whether_it_can_clone(logged, cache, tmp_path):
    logged.download(tmp_path / "out", link="hardlink")
    asked = []

    def refuse(*_):
        asked.append(1)
        raise OSError(errno.EOPNOTSUPP, "no")

    for link in ("copy", "reflink"):
        put(logged, tmp_path / link, link, Disk(clone=refuse))
    assert len(asked) == 2


def test_a_disk_that_stops_cloning_is_gone_on_with_by_copies(logged, cache, tmp_path, tree):
    def clone(target, source):
        if len(cloned) == 3:
            raise OSError(errno.EINVAL, "no")
        cloning(target, source)

    assert tree(put(logged, tmp_path / "out", "reflink", Disk(clone=clone))) == FILES
    assert len(cloned) == 3


def test_a_full_disk_is_no_reason_to_copy(logged, tmp_path):
    def clone(target, source):
        if os.fstat(source).st_size == len(FILES["large"]):
            raise OSError(errno.ENOSPC, "full")
        cloning(target, source)

    with pytest.raises(Conflict, match="full"):
        put(logged, tmp_path / "out", "reflink", Disk(clone=clone))
    assert not (tmp_path / "out").exists()


def test_a_copy_is_a_clone_where_the_shared_file_is_there_already(logged, cache, tmp_path, tree):
    put(logged, tmp_path / "before", "copy", Disk(clone=cloning))
    assert not (cache / "files").exists()
    logged["large"].download(tmp_path / "one", link="hardlink")
    out = put(logged, tmp_path / "out", "copy", Disk(clone=cloning))
    assert tree(out) == FILES
    assert all(is_plain(out / path) for path in FILES)
    assert len(cloned) == 2
    assert len(shared_files(cache)) == 1
    before = inode(out / "large")
    put(logged, out, "copy", Disk(clone=cloning))
    assert inode(out / "large") == before


# The folder


def test_without_a_cache_folder_only_copies_are_made(log, tmp_path):
    logged = log(files=FILES)
    for link in ("hardlink", "symlink", "reflink"):
        with pytest.raises(InvalidInput, match='link="copy"'):
            logged.download(tmp_path / "out", link=link)
    logged.download(tmp_path / "out", link="copy")


def test_the_folder_is_the_users_alone(logged, cache, tmp_path):
    logged.download(tmp_path / "out", link="hardlink")
    assert stat.S_IMODE((cache / "files").stat().st_mode) == 0o700
    (cache / "files").chmod(0o770)
    with pytest.raises(Conflict, match="chmod 700"):
        logged.download(tmp_path / "two", link="hardlink")
    with pytest.raises(Conflict, match="chmod 700"):
        prune(cache)
    assert logged.download(tmp_path / "three").is_dir()  # who wants copies does not mind


def test_a_folder_of_another_users_is_refused(cache):
    shared = SharedFiles(cache)
    with shared.used():
        pass
    shared._user += 1
    with pytest.raises(Conflict, match="another user"), shared.used():
        pass


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_folder_that_is_none_is_refused(logged, cache, tmp_path, what):
    cache.mkdir()
    (tmp_path / "elsewhere").mkdir()
    if what == "link":
        (cache / "files").symlink_to(tmp_path / "elsewhere")
    else:
        (cache / "files").write_bytes(b"")
    with pytest.raises(Conflict, match="remove it"):
        logged.download(tmp_path / "out", link="symlink")
    with pytest.raises(Conflict, match="remove it"):
        prune(cache)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_cache_that_is_reached_through_a_link_is_fine(logged, store, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "named").symlink_to(tmp_path / "real")
    store.cache = tmp_path / "named"
    out = logged.download(tmp_path / "out", link="symlink")
    assert os.readlink(out / "large").startswith(str(tmp_path / "real" / "files"))


def test_nothing_is_downloaded_among_the_shared_files(logged, cache, tmp_path):
    logged.download(tmp_path / "out", link="hardlink")
    for link in LINKS:
        with pytest.raises(Conflict, match="among the files that downloads share"):
            logged.download(cache / "files" / "aa", link=link)


# Showing and pruning


def test_nothing_is_nothing(tmp_path):
    assert usage(tmp_path / "cache") == (0, 0)
    assert prune(tmp_path / "cache") == 0
    assert not (tmp_path / "cache").exists()


def test_what_is_linked_stays_and_the_rest_goes(logged, log, cache, tmp_path):
    hard = logged.download(tmp_path / "hard", path_prefix="sub", link="hardlink")
    soft = logged.download(tmp_path / "soft", path_prefix="a.txt", link="symlink")
    gone = log(files={"x": b"goes"}).download(tmp_path / "gone", link="hardlink")
    sizes = len(b"alpha"), len(FILES["sub/b.bin"]), len(b"goes")
    assert usage(cache) == (3, sum(sizes))
    assert prune(cache) == 0
    shutil.rmtree(gone)
    assert prune(cache) == sizes[2]
    shutil.rmtree(hard)
    assert prune(cache) == sizes[1]
    assert (soft / "a.txt").read_bytes() == b"alpha"
    assert len(os.listdir(cache / "files" / "roots")) == 1
    shutil.rmtree(soft)
    assert prune(cache) == sizes[0]
    assert usage(cache) == (0, 0)
    assert os.listdir(cache / "files" / "roots") == []


def test_a_symbolic_link_that_became_a_copy_wants_its_file_no_more(logged, cache, tmp_path):
    out = logged.download(tmp_path / "out", link="symlink")
    logged.download(out)
    assert prune(cache) == sum(map(len, CONTENT))
    assert os.listdir(cache / "files" / "roots") == []


def test_what_a_killed_download_left_goes(logged, cache, tmp_path):
    logged.download(tmp_path / "out", link="hardlink")
    left = cache / "files" / "new-0123"
    left.mkdir()
    os.link(shared_file(cache, b"alpha"), left / "x")
    (cache / "files" / ".new-0123.lineart-ab").mkdir()
    shutil.rmtree(tmp_path / "out")
    assert prune(cache) == sum(map(len, CONTENT))
    assert set(os.listdir(cache / "files")) >= {"lock"}
    assert not [name for name in os.listdir(cache / "files") if "new-" in name]


def test_nothing_is_pruned_where_links_cannot_be_looked_for(logged, cache, tmp_path):
    out = logged.download(tmp_path / "out", link="symlink")
    shutil.rmtree(out)
    record = next((cache / "files" / "roots").iterdir())
    record.write_bytes(os.fsencode(tmp_path / ("n" * 300)))  # a name that no disk takes
    with pytest.raises(InvalidInput, match="nothing was removed"):
        prune(cache)
    assert len(shared_files(cache)) == len(CONTENT)


def test_what_is_not_ours_in_the_folder_stays(logged, cache, tmp_path):
    shutil.rmtree(logged.download(tmp_path / "out", link="hardlink"))
    part = shared_file(cache, b"alpha").parent
    (part / "note").write_bytes(b"mine")
    prune(cache)
    assert (part / "note").read_bytes() == b"mine"


def test_a_download_and_a_pruning_keep_out_of_each_others_way(logged, cache, tmp_path):
    with Place(tmp_path / "out") as place, placing("symlink", cache, place):
        with pytest.raises(Conflict, match="a download is placing links"):
            prune(cache)
        with placing("hardlink", cache, place):  # another one at the same time
            pass
    prune(cache)


def test_a_disk_without_locks_is_linked_on_but_not_pruned(cache, monkeypatch):
    shared = SharedFiles(cache)
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    with shared.used():
        pass
    with pytest.raises(LineartError):
        prune(cache)


WORKER = """
import sys
from pathlib import Path
import lineart
from lineart.artifacts.shared import prune
from lineart.storage.errors import Conflict
store, cache, root, link = sys.argv[1:]
with lineart.open(store) as opened:
    opened.cache = Path(cache)
    for i in range(6):
        if link == "prune":
            try:
                prune(Path(cache))
            except Conflict:
                pass
            continue
        logged = opened.artifact("data")
        out = logged.download(Path(root) / f"{link}-{i}", link=link)
        logged.verify(out)
"""


@pytest.mark.slow
def test_many_processes_link_and_prune_at_once(tmp_path, make):
    with lineart.create(tmp_path / "store") as store:
        logged = store.log(make(files={f"{i % 7}/{i}": b"%d" % (i // 2) for i in range(300)}))
        jobs = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, tmp_path / "store", tmp_path / "cache", tmp_path / str(n), link],
                stderr=subprocess.PIPE,
            )
            for n, link in enumerate(["hardlink", "symlink", "hardlink", "symlink", "prune", "prune"])
        ]
        assert [job.communicate(timeout=120)[1].decode() for job in jobs] == [""] * 6
        assert {job.returncode for job in jobs} == {0}
        for root in [one for n in range(4) for one in (tmp_path / str(n)).iterdir()]:
            logged.verify(root)
        links = {inode(tmp_path / n / "hardlink-5" / "0" / "0") for n in ("0", "2")}
        assert links == {inode(tmp_path / "cache" / "files" / blake3(b"0").hexdigest()[:2] / blake3(b"0").hexdigest())}
        prune(tmp_path / "cache")
        logged.verify(tmp_path / "1" / "symlink-0")
