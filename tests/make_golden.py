"""Makes a golden store: a bucket of the format of today with a bit of everything, and what a reader must find in it.

    python tests/make_golden.py tests/data/golden-2

Run once for each version of the format, when it is released; what it made is never made again. `objects` is the bucket
(its database is left out: a reader rebuilds it), `expected.json` what `portrait` saw of the store before that.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from blake3 import blake3

import lineart
from lineart.lineage.capture import Capture, Captured
from lineart.lineage.run import start_run
from lineart.settings import Settings
from lineart.storage.backends.local import LocalBackend
from lineart.storage.checkpoint import merge_journal
from lineart.storage.engine import Engine
from lineart.store import FOLDS, Store

LIMIT = 200 << 10  # bytes of all objects together: they are in everybody's checkout
NOISE = Random(1).randbytes(12_000)
ROWS = b"".join(b"%d,%d,a row of a table that compresses well\n" % (n % 997, n % 31) for n in range(3000))
LARGE = b"".join(bytes([n]) * (1 << 19) for n in range(12))  # several chunks, which compress to nothing


def portrait(store: Store) -> dict[str, Any]:
    """Return everything that a store says of itself and of its content, as JSON."""
    versions = {}
    for one in store.collections():
        for record in store.versions(f"{one.project}/{one.name}"):
            said = record.to_json()
            if record.state == "live":
                said["files"] = contents(store.artifact(record.ref))
            versions[record.ref] = said
    runs = {}
    for run in store.runs():
        said = run.to_json()
        del said["heartbeat"]  # of the database alone
        used, made = store.engine.database.read(lambda connection, run=run.id: edges(connection, run))
        runs[run.id] = {**said, "used": used, "made": made}
    histories = {
        f"{one.project}/{one.name}": [
            [event.seq, event.kind, event.actor, event.reason] for event in store.history(f"{one.project}/{one.name}")
        ]
        for one in store.collections()
    }
    collections = {f"{one.project}/{one.name}": [one.type, one.description] for one in store.collections()}
    whole = {"collections": collections, "versions": versions, "runs": runs, "histories": histories}
    found: dict[str, Any] = json.loads(json.dumps(whole))
    return found


def contents(artifact: lineart.Artifact) -> dict[str, str]:
    """Return size, BLAKE3 and mode bit of every file, read and downloaded; both must be the same."""
    with tempfile.TemporaryDirectory() as name:
        root = artifact.download(Path(name) / "out")
        found = {}
        for entry in artifact.files():
            data, path = entry.read_bytes(), Path(root) / entry.path
            assert path.read_bytes() == data
            found[entry.path] = described(data, executable=bool(path.stat().st_mode & 0o100))
        return found


def described(data: bytes, *, executable: bool) -> str:
    """Return what is expected of one file, on one short line."""
    return f"{len(data)} {blake3(data).hexdigest()[:32]}{' executable' if executable else ''}"


def edges(connection: Any, run: str) -> tuple[list[str], list[str]]:
    from lineart.artifacts.reading import read_records
    from lineart.lineage.edges import edges_of

    used, made = edges_of(connection, run)
    records = read_records(connection, [*used, *made])
    return [records[one].ref for one in used], [records[one].ref for one in made]


def draft(name: str, files: dict[str, bytes], **options: Any) -> lineart.Artifact:
    made = lineart.Artifact(name, **options)
    for path, content in files.items():
        made.add_bytes(content, path)
    return made


def fill(store: Store, folder: Path) -> None:
    """Use everything that leaves something in a bucket."""
    script = folder / "run.sh"
    script.write_bytes(b"#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    files = {"large.bin": LARGE, "table.csv": ROWS, "noise": NOISE, "empty": b"", "daten/é ☃/ñandú.txt": b"unicode"}
    data = draft(
        "dataset", files, type="dataset", description="a bit of everything", metadata={"rows": 3000, "é": [None, 1.5]}
    )
    data.add_file(script)
    first = store.log(data, aliases=["clean"], tags=["raw", "needs review"])
    many = {f"many/{n % 9}/{n:03}.txt": b"file %d\n" % (n % 50) for n in range(900)}
    store.log(draft("many-files", many))  # more than one page
    changed = first.new_draft()
    changed.add_bytes(LARGE[: 1 << 20] + b"changed" + LARGE[1 << 20 :], "large.bin", overwrite=True)
    changed.remove("noise")
    second = store.log(changed)
    store.promote(second.ref, "clean", reason="better; ☃", expect="v0")
    store.promote("dataset:v0", "old")
    store.remove_alias("dataset", "old", reason="not needed")
    second.metadata, second.tags = {"rows": 3001}, ["checked"]
    second.save()
    with start_run(
        store,
        "vision",
        capture=Capture.none(),
        interval=None,
        name="train",
        config={"lr": 0.1, "api_key": "x"},
        tags=["gpu"],
    ) as run:
        run.use_artifact("dataset:clean")
        run.summary["accuracy"] = 0.5
        run.log_artifact(draft("model", {"weights": NOISE[:5000] + b"w"}, type="model"), aliases=["best"])
    texts = {"code.diff": b"+ a line\n", "environment.packages": b"lineart==1\n" * 50}
    store.ledger.update(run.id, captured=Captured({"program": "train.py"}, {"python": "3.11"}, texts))
    with start_run(store, "vision", capture=Capture.none(), interval=None, name="evaluate") as run:
        run.use_artifact("model:best")
        run.log_artifact(draft("report", {"report.md": b"# good\n"}))
    store.log(draft("dataset", {"other": b"of another project"}, type="dataset"), project="side")
    for number in range(3):
        store.log(draft("scrap", {f"{n}": b"%d %d" % (number, n) * 300 for n in range(5)}))
    store.delete("scrap:v0", reason="not needed")
    store.gc(grace=timedelta(0), reason="room")
    assert merge_journal(store.engine, fewest=5) > 5
    store.delete("scrap:v1", reason="in its grace")
    store.delete("scrap:v2")
    store.restore("scrap:v2", reason="needed after all")


def make(target: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backend = LocalBackend(folder / "objects")
        engine = Engine.create(backend, f"sqlite:///{folder}/store.db", actor="ann@example", folds=FOLDS)
        settings = Settings(str(folder / "objects"), f"sqlite:///{folder}/store.db", "vision", folder / "downloads")
        with Store(engine, replace(settings, cache=None)) as store:
            fill(store, folder)
            assert store.check(read_data=True).problems == []
            expected = portrait(store)
        assert sum(path.stat().st_size for path in (folder / "objects").rglob("*") if path.is_file()) < LIMIT
        target.mkdir(parents=True)
        shutil.copytree(folder / "objects", target / "objects")
        (target / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
