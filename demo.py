"""The demo: a small real pipeline, from raw files to a promoted model, and the lineage that it leaves.

Knows only what a user knows: a store, runs and artifacts. Nothing that it tells is made up: every figure, ref and
completion is what this run of it computed. The raw files are the running Python's own standard library, so that it
needs no network; the models are character n-gram models in plain Python, so that it needs no dependency.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import store as stores
from .artifacts.artifact import Artifact
from .demo_work import CharModel, prepare, stdlib_sources, texts
from .lineage.printing import print_size
from .lineage.run import start_run
from .settings import DATABASE
from .storage.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from .store import Store

__all__ = ["Demo", "run_demo"]

Tell = Callable[[str], None]

FILES = 160
FEWEST = 10
CONFIGS: tuple[dict[str, int], ...] = ({"order": 3, "characters": 1_000_000}, {"order": 6, "characters": 1_000_000})
PROMPT = "        raise "


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo made. Refs are whole (`demo/model:v1`); where it was not kept, the folders are gone."""

    url: str
    folder: Path
    kept: bool  # whether the folder is still there
    raw: str
    dataset: str
    models: tuple[str, ...]
    report: str
    production: str
    runs: tuple[str, ...]  # ids: ingest, prep, a train each, evaluate
    files: int
    perplexities: tuple[float, ...]  # of the models, on the valid split, a character
    completion: str
    fetched: Path
    lineage: str  # as it was shown
    clean: bool  # what the check found
    seconds: float


def run_demo(
    folder: Path | None = None,
    *,
    keep: bool = False,
    url: str | None = None,
    database: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    files: int = FILES,
    tell: Tell = print,
) -> Demo:
    """Run the pipeline in a store of its own and tell what happens, line by line.

    Without a folder it works in a temporary one, which is removed at the end unless `keep`. The store is made in the
    folder, or at `url` with `database` and `storage_options`, as `lineart.create` takes them, and then it stays there.
    At most `files` source files are read. Raises Conflict where there is a store already, NotFound where this Python
    has no sources.
    """
    if files < FEWEST:
        raise InvalidInput(f"the demo needs at least {FEWEST} files to train on and to hold out, not {files}")
    kept = keep or folder is not None
    place = Path(tempfile.mkdtemp(prefix="lineart-demo-")) if folder is None else Path(folder).absolute()
    place.mkdir(parents=True, exist_ok=True)
    try:
        address = url if url is not None else str(place / "store")
        if url is None and database is None:  # said outright, so that no LINEART_DATABASE of a team is touched
            database = f"sqlite:///{place / 'store' / DATABASE}"
        with stores.create(address, database, storage_options=storage_options, project="demo") as store:
            return _Pipeline(store, place, tell, remote=url is not None, kept=kept).run(files)
    finally:
        if not kept:
            shutil.rmtree(place, ignore_errors=True)


class _Pipeline:
    """The steps in their order; each opens a run, as a script of its own would."""

    def __init__(self, store: Store, folder: Path, tell: Tell, *, remote: bool, kept: bool) -> None:
        self.store = store
        self.folder = folder
        self.tell = tell
        self.remote = remote
        self.kept = kept
        self.started = time.perf_counter()
        self.runs: list[str] = []

    def run(self, files: int) -> Demo:
        store, tell = self.store, self.tell
        tell(f"A store of its own: {store.url}")
        self._code(f"art init {store.url}{' --database …' if self.remote else ''}")
        raw = self._ingest(files)
        dataset = self._prep()
        models = [self._train(config) for config in CONFIGS]
        report, perplexities = self._evaluate(models)
        production = self._promote(models, perplexities)
        fetched, completion = self._complete()
        lineage = self._lineage()
        clean = self._check()
        seconds = time.perf_counter() - self.started
        tell(f"\nDone in {seconds:.1f} s.")
        if self.kept or self.remote:
            tell("The store is still there; look around:")
            self._code(f"export LINEART_STORE={store.url} LINEART_PROJECT=demo", "art ls")
        else:
            tell("The store was temporary and is removed now; `art demo --keep` leaves it to look around in.")
        return Demo(
            url=store.url,
            folder=self.folder,
            kept=self.kept,
            raw=raw.ref,
            dataset=dataset.ref,
            models=tuple(one.ref for one in models),
            report=report.ref,
            production=production.ref,
            runs=tuple(self.runs),
            files=raw.file_count,
            perplexities=tuple(perplexities),
            completion=completion,
            fetched=fetched,
            lineage=lineage,
            clean=clean,
            seconds=seconds,
        )

    # The steps

    def _ingest(self, files: int) -> Artifact:
        sources = stdlib_sources(files)
        if not sources:
            raise NotFound(
                "this Python was installed without the sources of its standard library; run another one's demo"
            )
        self._step("Ingest: raw files become a version.")
        self._code(
            'with lineart.init(project="demo", job_type="ingest") as run:',
            '    raw = lineart.Artifact("raw-sources", type="raw")',
            "    raw.add_file(path, name)                      # for each file",
            "    run.log_artifact(raw)",
        )
        with start_run(self.store, "demo", job_type="ingest") as run:
            self.runs.append(run.id)
            raw = Artifact("raw-sources", type="raw", description="modules of the running Python's standard library")
            raw.metadata["python"] = sysconfig.get_python_version()
            for name, path in sources:
                raw.add_file(path, name)
            raw = run.log_artifact(raw)
        self._said(f"{raw.ref}: {raw.file_count} files, {print_size(raw.size)}, digest {raw.digest.short}")
        return raw

    def _prep(self) -> Artifact:
        self._step("Prepare: a run uses the raw files and logs a dataset. Using is what records the lineage.")
        self._code(
            'with lineart.init(project="demo", job_type="prep", config={"valid": 0.1}) as run:',
            '    folder = run.use_artifact("raw-sources:latest").download()',
            "    …                                             # strip comments and docstrings, split",
            '    run.log_artifact("dataset/", name="dataset", type="dataset")',
        )
        with start_run(self.store, "demo", job_type="prep", config={"valid": 0.1}) as run:
            self.runs.append(run.id)
            folder = run.use_artifact("raw-sources:latest").download(self.folder / "work" / "raw")
            out = self.folder / "work" / "dataset"
            counts = Counter(prepare(folder, out, float(run.config["valid"])))
            dataset = Artifact("dataset", type="dataset", description="the same without comments and docstrings")
            dataset.metadata = dict(sorted(counts.items()))
            dataset.add_dir(out)
            dataset = run.log_artifact(dataset)
        self._said(
            f"{dataset.ref}: {print_size(dataset.size)}, {counts['train']} to train on, {counts['valid']} held out"
        )
        if counts["unreadable"]:
            self._said(f"{counts['unreadable']} files could not be tokenized and were left out")
        return dataset

    def _train(self, config: dict[str, int]) -> Artifact:
        self._step(f"Train: a character model of order {config['order']}.")
        self._code(
            f'with lineart.init(project="demo", job_type="train", config={config}) as run:',
            '    folder = run.use_artifact("dataset:latest").download(path_prefix="train")',
            "    …                                             # count n-grams",
            '    run.log_artifact(model)                       # metadata={"order": …, "train_perplexity": …}',
        )
        with start_run(self.store, "demo", job_type="train", config=config) as run:
            self.runs.append(run.id)
            folder = run.use_artifact("dataset:latest").download(self.folder / "work" / "data", path_prefix="train")
            text = "".join(texts(folder / "train"))[: config["characters"]]
            model = CharModel.train(text, config["order"])
            perplexity = model.perplexity(text[:50_000])
            run.summary["train_perplexity"] = perplexity
            draft = Artifact("model", type="model", description=f"character n-grams, order {config['order']}")
            draft.metadata = {
                "order": config["order"],
                "characters": len(text),
                "ngrams": len(model.counts),
                "train_perplexity": round(perplexity, 4),
            }
            draft.add_bytes(model.encode(), "model.json")
            logged = run.log_artifact(draft)
        self._said(
            f"{logged.ref}: {len(model.counts):,} n-grams, {print_size(logged.size)}, train perplexity {perplexity:.2f}"
        )
        return logged

    def _evaluate(self, models: list[Artifact]) -> tuple[Artifact, list[float]]:
        self._step("Evaluate: both models on files that neither has seen.")
        refs = [one.name for one in models]
        self._code(
            'with lineart.init(project="demo", job_type="evaluate") as run:',
            '    valid = run.use_artifact("dataset:latest").download(path_prefix="valid")',
            *(f'    run.use_artifact("{ref}").read_bytes("model.json")' for ref in refs),
            '    run.log_artifact(report, aliases=["holdout"])',
        )
        with start_run(self.store, "demo", job_type="evaluate") as run:
            self.runs.append(run.id)
            folder = run.use_artifact("dataset:latest").download(self.folder / "work" / "data", path_prefix="valid")
            text = "".join(texts(folder / "valid"))[:60_000]
            perplexities = [
                CharModel.decode(run.use_artifact(ref).read_bytes("model.json")).perplexity(text) for ref in refs
            ]
            scores = dict(zip(refs, (round(one, 4) for one in perplexities), strict=True))
            run.summary.update(scores)
            draft = Artifact("evaluation", type="report", metadata={"valid_perplexity": scores})
            draft.add_bytes(
                json.dumps({"characters": len(text), "perplexity": scores}, indent=2).encode(), "report.json"
            )
            report = run.log_artifact(draft, aliases=["holdout"])
        for ref, perplexity in zip(refs, perplexities, strict=True):
            self._said(f"{ref}: perplexity {perplexity:.2f} a character over {len(text):,} characters")
        return report, perplexities

    def _promote(self, models: list[Artifact], perplexities: list[float]) -> Artifact:
        score, best = min(zip(perplexities, (one.name for one in models), strict=True))
        reason = f"perplexity {score:.2f}, the others {', '.join(f'{one:.2f}' for one in sorted(perplexities)[1:])}"
        self._step("Promote: an alias is a name that moves; who moved it, when and why is kept.")
        self._code(
            f'art promote {best} best --reason "{reason}" --expect none',
            f'art promote {best} production --reason "best on the valid split" --expect none',
        )
        self.store.promote(best, "best", reason=reason, expect="none")
        production = self.store.promote(best, "production", reason="best on the valid split", expect="none")
        moves = self.store.history("model", "production")
        self._said(f"{best} is now {' and '.join(one for one in production.aliases if one != 'latest')}")
        self._said(f'history of production: → v{moves[-1].data["to"]} by {moves[-1].actor}: "{moves[-1].reason}"')
        return production

    def _complete(self) -> tuple[Path, str]:
        self._step("Fetch what is in production, somewhere else, and use it.")
        target = self.folder / "fetched"
        self._code(f"art get model:production {target}")
        fetched = self.store.artifact("model:production").download(target)
        model = CharModel.decode((fetched / "model.json").read_bytes())
        completion = model.complete(PROMPT)
        self._said(f"{fetched}: every byte verified. Asked to go on from {PROMPT.strip()!r}, the model writes:")
        self.tell(f"        {PROMPT.strip()} {completion}")
        return fetched, completion

    def _lineage(self) -> str:
        from .lineage.render import lineage_tree

        self._step("Where does it come from?")
        self._code("art lineage model:production")
        shown = lineage_tree(self.store.lineage("model:production"))
        for line in shown.splitlines():
            self.tell(f"  {line}")
        return shown

    def _check(self) -> bool:
        self._step("Is everything there, and is it what it says?")
        self._code("art check --read-data")
        report = self.store.check(read_data=True)
        for problem in report.problems:
            self._said(f"{problem.where}: {problem.what}")
        said = "nothing is wrong" if report.clean else f"{len(report.problems)} problems"
        self._said(
            f"{report.versions} versions, {report.packs} packs, {report.chunks} chunks, {report.events} events, "
            f"{print_size(report.read_bytes)} read: {said}"
        )
        return report.clean

    # Telling

    def _step(self, title: str) -> None:
        self.tell(f"\n{title}")

    def _code(self, *lines: str) -> None:
        for line in lines:
            self.tell(f"    {line}")

    def _said(self, line: str) -> None:
        self.tell(f"  → {line}")
