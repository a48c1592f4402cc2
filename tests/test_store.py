"""The store as a whole: made, opened, found, and logged to beside collectors and other processes."""

import os
import subprocess
import sys
import threading

import pytest
from sqlalchemy import text

import lineart
from lineart.artifacts.artifact import Artifact
from lineart.settings import Settings
from lineart.storage.backends.memory import named_memory
from lineart.storage.errors import Conflict, IntegrityError, InvalidInput, NotFound
from lineart.storage.layout import MARKER
from lineart.storage.tables import PackState
from lineart.store import create_settings, open_or_create, open_settings

FILES = {"a": b"hello", "sub/b": bytes(range(256)) * 9000, "empty": b""}


def draft(files=FILES, name="words"):
    made = Artifact(name, type="dataset")
    for path, content in files.items():
        made.add_bytes(content, path)
    return made


def contents(artifact):
    return {entry.path: entry.read_bytes() for entry in artifact.files()}


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def home(tmp_path):
    """The environment of a process whose user has nothing yet, and works in an empty folder."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LINEART_", "XDG_"))}
    return {**kept, "HOME": str(tmp_path / "home")}


def python(code, environment, tmp_path, *arguments):
    """Run a program in the working folder; its output, or the last line of its errors."""
    command = [sys.executable, "-c", code, *arguments]
    work = tmp_path / "work"
    done = subprocess.run(command, check=False, env=environment, cwd=work, capture_output=True, text=True, timeout=120)
    return done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]


# Making and opening


def test_a_store_is_made_logged_to_opened_and_read(tmp_path):
    with lineart.create(tmp_path / "store", project="p") as store:
        logged = store.log(draft(), aliases=["best"], tags=["t"])
        assert logged.version == "v0"
    with lineart.open(tmp_path / "store", project="p") as again:
        assert contents(again.artifact("words:best")) == FILES
        assert again.id == store.id
        assert [one.name for one in again.collections()] == ["words"]
        assert again.projects() == ["p"]
        assert str(tmp_path / "store") in repr(again)
        report = again.check(read_data=True)
        assert report.problems == []
        again.close()


def test_open_never_creates(tmp_path):
    for url in (tmp_path / "none", f"file://{tmp_path}/none"):
        with pytest.raises(NotFound, match="art init"):
            lineart.open(url)
    with pytest.raises(NotFound):
        lineart.open(tmp_path / "none", f"sqlite:///{tmp_path}/db/none.db")
    with pytest.raises(NotFound):
        open_settings(Settings(str(tmp_path / "none"), None, "p", tmp_path, implicit=True))
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_not_made_twice(tmp_path):
    lineart.create(tmp_path / "store").close()
    before = everything_below(tmp_path / "store")
    with pytest.raises(Conflict, match="open it instead"):
        lineart.create(tmp_path / "store")
    assert everything_below(tmp_path / "store") == before


def test_a_bucket_without_a_database_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        create_settings(Settings("s3://bucket/team", None, "p", tmp_path))
    for way in ("database=postgresql://", "--database", "single_machine=True", "--single-machine"):
        assert way in str(caught.value)


def test_a_database_and_a_single_machine_together_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="not both"):
        lineart.create(tmp_path / "store", f"sqlite:///{tmp_path}/x.db", single_machine=True)
    assert list(tmp_path.iterdir()) == []


SINGLE = """
import lineart, sys
from lineart.storage.backends.memory import named_memory
from lineart.storage.errors import NotFound
store = lineart.create("memory://solo", single_machine=True)
assert store.engine.marker.single_machine
assert b'"single_machine": true' in named_memory("solo").get("lineart.json")
with lineart.open("memory://solo") as again:
    assert again.id == store.id
print("fine")
"""


@pytest.mark.slow
def test_a_bucket_of_a_single_machine_says_so_and_has_its_database_in_the_users_data(home, tmp_path):
    assert python(SINGLE, home, tmp_path) == "fine"
    assert any("lineart/databases/" in path for path in everything_below(tmp_path / "home"))


def test_who_opens_a_bucket_without_its_database_is_told_to_name_it(tmp_path):
    url = f"memory://{tmp_path.name}"
    create_settings(Settings(url, f"sqlite:///{tmp_path}/team.db", "p", tmp_path)).close()
    with pytest.raises(NotFound, match="LINEART_DATABASE"):
        open_settings(Settings(url, None, "p", tmp_path))
    open_settings(Settings(url, f"sqlite:///{tmp_path}/team.db", "p", tmp_path)).close()


def test_a_bucket_and_a_database_of_two_stores_are_told_apart(tmp_path):
    lineart.create(tmp_path / "a").close()
    lineart.create(tmp_path / "b").close()
    with pytest.raises(Conflict, match="wrong"):
        lineart.open(tmp_path / "a", f"sqlite:///{tmp_path}/b/lineart.db")


def test_an_unknown_kind_of_place_is_refused(tmp_path):
    with pytest.raises(InvalidInput):
        create_settings(Settings("nonsense://x", f"sqlite:///{tmp_path}/x.db", "p", tmp_path))
    with pytest.raises(InvalidInput):
        open_settings(Settings("", None, "p", tmp_path))


def test_a_folder_whose_name_is_odd_is_a_store_like_any_other(tmp_path):
    for n, name in enumerate(("ü ñ", "a%20b", "a#b?c", "-x", "a'b", 'q"q')):
        with lineart.create(tmp_path / name) as store:
            store.log(draft())
        with lineart.open(tmp_path / name) as store:
            assert contents(store.artifact("words")) == FILES
        assert len(list(tmp_path.iterdir())) == n + 1


def test_a_file_url_is_the_folder_that_it_names(tmp_path):
    with open_or_create(Settings(f"file://{tmp_path}/a%20b", None, "p", tmp_path, implicit=True)) as store:
        store.log(draft())
    assert (tmp_path / "a b" / MARKER).exists()
    assert (tmp_path / "a b" / "lineart.db").exists()


# The default store, made by the first log


def test_only_an_implicit_store_is_made_by_the_first_log(tmp_path):
    named = Settings(str(tmp_path / "store"), None, "p", tmp_path)
    with pytest.raises(NotFound):
        open_or_create(named)
    assert list(tmp_path.iterdir()) == []
    implicit = Settings(str(tmp_path / "store"), None, "p", tmp_path, implicit=True)
    first = open_or_create(implicit)
    second = open_or_create(implicit)
    assert first.id == second.id
    first.close()
    second.close()


def test_threads_that_log_first_make_one_store(tmp_path):
    settings = Settings(str(tmp_path / "store"), None, "p", tmp_path, implicit=True)
    found, errors = [], []

    def work(n):
        try:
            with open_or_create(settings) as store:
                store.log(draft({"n": b"%d" % n}))
                found.append(store.id)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(found) == 6
    assert len(set(found)) == 1
    with open_or_create(settings) as store:
        assert [one.number for one in store.versions("words")] == list(range(6))
        assert {contents(store.artifact(f"words:v{n}"))["n"] for n in range(6)} == {b"%d" % n for n in range(6)}
        assert store.check(read_data=True).problems == []


FIRST = """
import sys
from lineart.artifacts.artifact import Artifact
from lineart.environment import settings_here
from lineart.store import open_or_create
sys.stdin.readline()
with open_or_create(settings_here()) as store:
    draft = Artifact("words", type="dataset")
    draft.add_bytes(sys.argv[1].encode(), "n")
    print(store.id, store.log(draft).version, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True])
def test_processes_that_log_first_make_one_store(home, tmp_path, named):
    environment = {**home, "LINEART_STORE": str(tmp_path / "named")} if named else home
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST, str(n)],
            env=environment,
            cwd=tmp_path / "work",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert len({id_ for id_, _ in said}) == 1
    assert sorted(version for _, version in said) == ["v0", "v1", "v2"]
    assert (tmp_path / "named" / MARKER).exists() == named
    assert any(path.endswith(MARKER) for path in everything_below(tmp_path / "home")) != named


@pytest.mark.slow
def test_the_environment_and_the_working_folder_say_which_store_is_meant(home, tmp_path):
    code = "import lineart; print(lineart.open().url)"
    assert "no store at" in python(code, home, tmp_path)
    assert everything_below(tmp_path / "home") == []
    for name in ("configured", "named"):
        lineart.create(tmp_path / name).close()
    (tmp_path / "work/.lineart").mkdir()
    (tmp_path / "work/.lineart/config.toml").write_text('[store]\nurl = "../../configured"\n')
    assert python(code, home, tmp_path).endswith("configured")
    assert python(code, {**home, "LINEART_STORE": str(tmp_path / "named")}, tmp_path) == str(tmp_path / "named")
    (tmp_path / "work/.lineart/config.toml").write_text("[")
    assert "cannot be read" in python(code, home, tmp_path)


# Logging beside a collector


@pytest.fixture
def store(tmp_path, database_url_of_any_kind):
    made = create_settings(Settings(f"memory://{tmp_path}", database_url_of_any_kind, "p", tmp_path / "downloads"))
    yield made
    made.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url_of_any_kind(request, tmp_path):
    return f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def run(store, sql):
    store.engine.database.write(lambda tx: tx.execute(text(sql)))


def collect(store):
    """Take every pack that is there now, as a collector would: rows first, then the objects."""
    run(store, f"UPDATE pack SET state = {PackState.DELETING:d}")
    backend = named_memory(store.url.removeprefix("memory://"))
    backend.delete([info.key for folder in ("packs/", "meta/") for info in backend.list(folder)])


def test_a_log_whose_packs_are_collected_before_its_commit_is_done_again_from_its_sources(store):
    store.log(draft())
    run(store, "UPDATE version SET state = 'purged'")
    calls = []

    def progress(files, size):
        if not calls:
            collect(store)
        calls.append(files)

    store.watch = lambda what: progress
    logged = store.log(draft())
    store.watch = None
    assert calls
    assert contents(logged) == FILES
    assert store.check(read_data=True).problems == []


def test_a_log_on_condemned_packs_reprieves_them(store):
    store.log(draft())
    run(store, f"UPDATE pack SET state = {PackState.CONDEMNED:d}, stamp = 'c'")
    before = store.check().packs
    logged = store.log(draft(name="other"))
    assert store.check().packs == before
    found = store.engine.database.read(lambda c: c.execute(text("SELECT state, stamp FROM pack")).all())
    assert {tuple(row) for row in found} == {(PackState.LIVE, None)}
    assert contents(logged) == FILES


def test_a_log_whose_session_expires_is_done_again(store):
    expired = []

    def progress(files, size):
        if not expired:
            run(store, "UPDATE session SET expires = 1")
        expired.append(files)

    store.watch = lambda what: progress
    logged = store.log(draft())
    assert expired
    assert contents(logged) == FILES
    assert store.check(read_data=True).problems == []


def test_a_base_that_is_purged_meanwhile_is_a_conflict_and_no_version(store):
    successor = store.log(draft()).new_draft()
    successor.add_bytes(b"new", "new")
    run(store, "UPDATE version SET state = 'purged'")
    with pytest.raises(Conflict, match="purged"):
        store.log(successor)
    assert len(store.versions("words")) == 1


def test_content_that_was_damaged_is_healed_by_logging_it_again(store, tmp_path):
    logged = store.log(draft())
    backend = named_memory(store.url.removeprefix("memory://"))
    for info in list(backend.list("packs/")):
        raw = bytearray(backend.get(info.key))
        raw[26] ^= 1
        backend.put(info.key, [bytes(raw)])
    with pytest.raises(IntegrityError):
        logged.download(tmp_path / "out")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
    again = store.log(draft())
    assert again.version == "v0"
    assert contents(again) == FILES
    assert logged.download(tmp_path / "out").joinpath("a").read_bytes() == b"hello"
    assert store.check(read_data=True).problems == []


def test_two_that_log_and_promote_at_once_share_out_the_numbers(store):
    barrier, errors = threading.Barrier(4), []

    def work(n):
        try:
            with open_settings(store.settings) as mine:
                barrier.wait(30)
                for k in range(4):
                    mine.log(draft({"n": b"%d %d" % (n, k), **FILES}))
                    mine.promote("words:latest", f"of{n}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [one.number for one in store.versions("words")] == list(range(16))
    assert store.check(read_data=True).problems == []
    assert [event.seq for event in store.engine.journal.events()] == list(range(1, store.check().events + 1))


def test_latest_cannot_be_removed_and_other_aliases_can(store):
    store.log(draft(), aliases=["best"])
    with pytest.raises(InvalidInput, match="latest"):
        store.remove_alias("words", "latest")
    store.remove_alias("words", "best", reason="worse")
    with pytest.raises(NotFound):
        store.artifact("words:best")
    assert [(event.kind, event.reason) for event in store.history("words", "best")] == [
        ("alias.set", None),
        ("alias.removed", "worse"),
    ]


def test_an_alias_that_somebody_moved_meanwhile_is_not_moved_again(store):
    store.log(draft({"a": b"1"}))
    store.log(draft({"a": b"2"}))
    store.promote("words:v0", "production", expect="none")
    with pytest.raises(Conflict, match="v0"):
        store.promote("words:v1", "production", expect="none")
    store.promote("words:v1", "production", expect="v0", reason="better")
    assert store.resolve("words:production").number == 1


def test_long_work_tells_whoever_watches(store):
    seen = {}

    def watch(what):
        seen[what] = [0, 0]

        def progress(files, size):
            seen[what][0] += files
            seen[what][1] += size

        return progress

    store.watch = watch
    store.log(draft())
    assert seen["log words"] == [len(FILES), sum(map(len, FILES.values()))]
    store.check()
    assert seen["check"] == [1, sum(map(len, FILES.values()))]
