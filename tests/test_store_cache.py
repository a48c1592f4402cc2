"""A remote store's content is kept on this machine: fetched once, checked where it really is, and shown by `art`."""

import io
import json

import pytest

from lineart.artifacts.artifact import Artifact
from lineart.artifacts.shared import SharedFiles
from lineart.cli import execute
from lineart.display import Screen
from lineart.settings import Settings
from lineart.storage.backends.blocks import BlockFolder
from lineart.storage.backends.cache import CachingBackend
from lineart.storage.backends.memory import MemoryBackend
from lineart.storage.engine import Engine
from lineart.storage.layout import parse_pack_key
from lineart.store import FOLDS, Store, create_settings, open_settings

FILES = {"a": b"hello", "sub/b": bytes(range(256)) * 9000, **{f"many/{n}": b"%d" % n * 5000 for n in range(40)}}


def draft():
    made = Artifact("words", type="dataset")
    for path, content in FILES.items():
        made.add_bytes(content, path)
    return made


def below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def packs_of(backend):
    return [one.key for one in backend.list("") if parse_pack_key(one.key)]


def spoil(backend, key):
    """Damage a chunk of every pack where it is stored."""
    raw = bytearray(backend.get(key))
    raw[40] ^= 4
    backend.put(key, [bytes(raw)])


def test_a_check_reads_the_place_though_the_copies_are_good(tmp_path):
    place = MemoryBackend()
    backend = CachingBackend(place, BlockFolder(tmp_path / "cache" / "blocks", 1 << 30))
    url = f"sqlite:///{tmp_path}/store.db"
    engine = Engine.create(backend, url, actor="ann", folds=FOLDS)
    with Store(engine, Settings(url="memory://place", database=url, project="p", downloads=tmp_path / "d")) as store:
        artifact = store.log(draft())
        artifact.download(tmp_path / "one")
        assert store.check(read_data=True).clean
        for key in packs_of(place):
            spoil(place, key)
        artifact.download(tmp_path / "two")
        assert below(tmp_path / "two") == FILES, "served from the copies"
        assert not store.check().clean, "its pages are read there, too"
        assert not store.check(read_data=True).clean
        for key in packs_of(place):
            place.delete([key])
        report = store.check()
        assert sum("missing" in one.what for one in report.problems) >= 2


@pytest.mark.parametrize("url", ["memory://store-without-copies", None])
def test_nothing_is_kept_of_a_store_on_this_machine(url, tmp_path):
    settings = Settings(
        url=url or str(tmp_path / "store"),
        database=f"sqlite:///{tmp_path}/store.db",
        project="p",
        downloads=tmp_path / "d",
        cache=tmp_path / "cache",
    )
    with create_settings(settings) as store:
        store.log(draft()).download(tmp_path / "one")
    assert not (tmp_path / "cache" / "blocks").exists()


@pytest.mark.slow
@pytest.mark.parametrize("size", [1 << 30, 0])
def test_a_second_download_asks_the_bucket_for_no_content(new_location, proxies, tmp_path, size):
    location = new_location("s3-moto")
    proxy = proxies.Proxy(location.storage_options["endpoint_url"])
    settings = Settings(
        url=location.url,
        database=f"sqlite:///{tmp_path}/store.db",
        project="p",
        downloads=tmp_path / "d",
        storage_options={**location.storage_options, "endpoint_url": proxy.url},
        cache=tmp_path / "cache",
        cache_size=size,
    )

    def asked():
        return [path for _, path in proxy.requests if "/packs/" in path or "/meta/" in path]

    try:
        create_settings(settings).close()
        with open_settings(settings) as store:
            store.log(draft())
        proxy.requests.clear()
        with open_settings(settings) as store:
            store.artifact("words").download(tmp_path / "cold")
        assert asked()
        assert not [one for one in proxy.requests if one[0] == "HEAD"]
        cold = len(asked())
        proxy.requests.clear()
        with open_settings(settings) as store:
            store.artifact("words").download(tmp_path / "warm")
        assert len(asked()) == (0 if size else cold)
        assert below(tmp_path / "warm") == below(tmp_path / "cold") == FILES
        assert (tmp_path / "cache" / "blocks").exists() == bool(size)
    finally:
        proxy.close()


# The command


@pytest.fixture
def art(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINEART_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("LINEART_CACHE_SIZE", "10MiB")

    def call(*arguments, terminal=False, fails=False):
        out, err = io.StringIO(), io.StringIO()
        code = execute(arguments, Screen(out, err, 0, terminal=terminal))
        assert bool(code) == fails, err.getvalue()
        return err.getvalue() if fails else out.getvalue()

    return call


@pytest.fixture
def kept(tmp_path):
    """Two packs of 3.5 MiB each, the second of which was read last, and what others keep beside them."""
    place = MemoryBackend()
    backend = CachingBackend(place, BlockFolder(tmp_path / "cache" / "blocks", 10 << 20))
    for number in range(2):
        key = f"packs/{number}a/{number}a{'0' * 30}"
        place.put(key, [bytes(7 << 19)])
        backend.get(key)
    (tmp_path / "cache" / "stat" / "below").mkdir(parents=True)
    (tmp_path / "cache" / "stat" / "below" / "one").write_bytes(bytes(1234))
    return backend.blocks


def test_the_command_shows_what_is_kept_and_how_much_may_be(art, kept, tmp_path):
    size = (7 << 20) + 8 * 96
    assert json.loads(art("cache", "--json")) == {
        "schema": 1,
        "folder": str(tmp_path / "cache"),
        "limit": 10 << 20,
        "bytes": size,
        "packs": 2,
        "blocks": 8,
        "shared_bytes": 0,
        "shared_files": 0,
        "beside": {"stat": 1234},
    }
    rows = dict(line.split("\t") for line in art("cache").splitlines())
    assert rows == {
        "folder": str(tmp_path / "cache"),
        "limit": str(10 << 20),
        "used": str(size),
        "packs": "2",
        "blocks": "8",
        "shared": "0",
        "files": "0",
        "stat/": "1234",
    }
    assert "7.0 MiB" in art("cache", terminal=True)


def test_the_command_prunes_to_a_size_or_to_nothing(art, kept):
    removed, blocks, left, *shared = art("cache", "prune", "--to", "4MiB").split()
    assert shared == ["0", "0"]
    assert int(blocks) == 4
    assert int(left) == kept.usage().size <= 4 << 20
    assert int(removed) + int(left) == (7 << 20) + 8 * 96
    assert json.loads(art("cache", "prune", "--json"))["bytes"] == 0
    assert kept.usage().blocks == 0
    assert art("cache", "prune", terminal=True) == "removed 0 B in 0 blocks; 0 B left\n"
    assert "stat" in art("cache")


def test_the_command_needs_no_store_and_no_folder(art, tmp_path, monkeypatch):
    monkeypatch.setenv("LINEART_STORE", "s3://nowhere/at-all")
    monkeypatch.setenv("LINEART_CACHE_SIZE", "0")
    assert json.loads(art("cache", "--json"))["bytes"] == 0
    assert "nothing is kept" in art("cache", terminal=True)
    art("cache", "prune")
    assert not (tmp_path / "cache").exists()


# Files that links share


@pytest.fixture
def linked(art, tmp_path):
    """Two files of one version, 5 and 2,304,000 bytes, linked to from one folder."""
    art("init", str(tmp_path / "store"))
    (tmp_path / "data").mkdir()
    for name, content in (("a", FILES["a"]), ("b", FILES["sub/b"])):
        (tmp_path / "data" / name).write_bytes(content)
    art("log", "data", "words")
    art("get", "words", "train", "--link", "symlink")
    return tmp_path / "train"


def shared_in(art):
    found = json.loads(art("cache", "--json"))
    return found["shared_files"], found["shared_bytes"]


def test_the_command_shows_shared_files_and_prunes_those_that_nothing_links_to(art, kept, linked):
    assert shared_in(art) == (2, 2_304_005)
    assert "files/" not in art("cache")
    (linked / "b").unlink()
    said = art("cache", "prune", terminal=True).splitlines()
    assert said == ["removed 7.0 MiB in 8 blocks; 0 B left", "removed 2.2 MiB of shared files; 5 B are linked to"]
    assert shared_in(art) == (1, 5)
    assert (linked / "a").read_bytes() == FILES["a"]
    (linked / "a").unlink()
    told = json.loads(art("cache", "prune", "--json"))
    assert (told["removed_shared_bytes"], told["shared_bytes"]) == (5, 0)
    assert shared_in(art) == (0, 0)


def test_pruning_to_a_size_leaves_shared_files_alone(art, kept, linked):
    for one in linked.iterdir():
        one.unlink()
    assert art("cache", "prune", "--to", "0").split() == [str((7 << 20) + 8 * 96), "8", "0", "0", "2304005"]
    assert shared_in(art) == (2, 2_304_005)


def test_nothing_is_removed_while_a_download_places_links_but_blocks_can_be(art, kept, linked, tmp_path):
    with SharedFiles(tmp_path / "cache").used():
        assert "a download is placing links" in art("cache", "prune", fails=True)
        assert kept.usage().blocks == 8
        art("cache", "prune", "--to", "0")
    assert kept.usage().blocks == 0
    assert shared_in(art) == (2, 2_304_005)


def test_what_the_stat_cache_keeps_is_shown_and_not_pruned(art, linked, tmp_path):
    before = below(tmp_path / "cache" / "stat")
    assert before
    art("cache", "prune")
    assert below(tmp_path / "cache" / "stat") == before
    rows = dict(line.split("\t") for line in art("cache").splitlines())
    assert int(rows["stat/"]) == sum(map(len, before.values()))
