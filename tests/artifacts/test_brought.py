"""References whose place tells nothing but an etag, put where they were before, as far as anybody knows."""

import os
import shutil

import pytest

import lineart
from lineart.artifacts import external
from lineart.storage.backends.outside import Seen, Stream
from lineart.storage.errors import Conflict, IntegrityError, StoreUnavailable

URL = "https://there.example/"
DATA = {"a": b"a" * 3000, "b": b"b" * 3000}


class There:
    """A place that tells etags; `broken` are the objects that it does not give."""

    place = "there"
    lists = False

    def __init__(self):
        self.objects = dict(DATA)
        self.broken = set()
        self.read = []

    def look(self, url, version=None):
        data = self.objects[url.removeprefix(URL)]
        return Seen(len(data), str(hash(data)))

    def open(self, url, wanted, start=0):
        name = url.removeprefix(URL)
        if name in self.broken:
            raise PermissionError(name)
        self.read.append(name)
        data = self.objects[name]
        parts = (data[at : at + 1000] for at in range(start, len(data), 1000))
        return Stream(self.look(url), parts, parts.close)


@pytest.fixture
def there(monkeypatch):
    made = There()
    monkeypatch.setattr(external, "open_outside", lambda *_: made)
    return made


@pytest.fixture
def store(remembering):
    return remembering()


def refer(store, *, checksum=True, **files):
    draft = lineart.Artifact("there", type="dataset")
    for name in DATA:
        draft.add_reference(f"{URL}{name}", checksum=checksum)
    for path, data in files.items():
        draft.add_bytes(data, path)
    return store.log(draft)


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine").write_bytes(b"mine")
    return folder


def interrupted(version, there, folder, *, kill=None):
    """Put a version into a folder, and break off before its second file; with `kill`, so that nothing is noted."""
    there.broken = {"b"}
    with pytest.raises(StoreUnavailable):
        version.download(folder, overwrite=False)
    assert "a" in os.listdir(folder)
    there.broken = set()
    there.read.clear()
    if kill is not None:
        shutil.rmtree(kill, ignore_errors=True)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("killed", [True, False])
def test_a_download_that_was_broken_off_goes_on_where_it_was(store, there, out, tmp_path, killed, checksum):
    version = refer(store, checksum=checksum)
    interrupted(version, there, out, kill=tmp_path / "cache" if killed else None)
    before = (out / "a").stat()
    version.download(out, overwrite=False)
    assert contents(out) == {**DATA, "mine": b"mine"}
    assert (out / "a").stat().st_ino == before.st_ino
    assert there.read.count("b") == 1
    assert there.read.count("a") == killed, "to see that it is what was there, and not once more to put it there"
    (out / "mine").unlink()
    version.verify(out)


def test_it_goes_on_where_nothing_is_ever_remembered_too(new_store, there, out):
    version = refer(new_store())
    interrupted(version, there, out)
    version.download(out, overwrite=False)
    assert contents(out) == {**DATA, "mine": b"mine"}
    assert sorted(there.read) == ["a", "b"]


@pytest.mark.parametrize("text", [b"x" * 3000, b"a" * 2999 + b"x", b"short"])
@pytest.mark.parametrize("killed", [True, False])
def test_what_was_edited_since_is_still_somebodys_own(store, there, out, tmp_path, tree, killed, text):
    version = refer(store)
    interrupted(version, there, out, kill=tmp_path / "cache" if killed else None)
    (out / "a").write_bytes(text)
    before = tree(out)
    with pytest.raises(Conflict, match="'a'; nothing was written"):
        version.download(out, overwrite=False)
    assert tree(out) == before
    assert len(there.read) == (killed and len(text) == 3000), "nothing is fetched where the size tells already"


@pytest.mark.parametrize("text", [b"a" * 2999, b"a" * 3001, b"a" * 2999 + b"x"])
def test_of_what_was_never_looked_at_only_what_comes_counts(store, there, out, tmp_path, text):
    version = refer(store, checksum=False)
    (out / "a").write_bytes(text)
    with pytest.raises(Conflict, match="'a'; nothing was written"):
        version.download(out, overwrite=False)


def test_what_is_as_it_comes_is_known_from_then_on(store, there, out, tmp_path, settle):
    version = refer(store)
    interrupted(version, there, out, kill=tmp_path / "cache")
    settle()
    version.download(out, overwrite=False)
    there.objects = {name: data.upper() for name, data in DATA.items()}
    refer(store).download(out, overwrite=False)
    assert contents(out) == {"a": b"A" * 3000, "b": b"B" * 3000, "mine": b"mine"}


def test_nothing_is_fetched_where_another_file_is_in_the_way_anyway(store, there, out, tmp_path):
    version = refer(store, mine=b"another")
    (out / "a").write_bytes(DATA["a"])
    with pytest.raises(Conflict, match=r"2 files .* 'a', 'mine'"):
        version.download(out, overwrite=False)
    assert there.read == []


def test_where_the_object_is_another_by_now_nothing_is_written(store, there, out, tmp_path, tree):
    version = refer(store)
    interrupted(version, there, out, kill=tmp_path / "cache")
    there.objects["a"] = b"A" * 3000
    before = tree(out)
    with pytest.raises(IntegrityError, match="is not what was logged as 'a'"):
        version.download(out, overwrite=False)
    assert tree(out) == before
