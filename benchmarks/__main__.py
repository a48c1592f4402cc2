"""The same work on Lineart and on its peers, side by side, in one run.

usage: python -m benchmarks [--peers] [--all] [--repeat N] [--trees small,big] [--systems lineart,cp,borg,restic]

Starting, the two trees as whole processes, and the same inside one process. `--peers` installs what is missing: DVC,
MLflow and W&B offline, each in a virtual environment of its own that is made once and kept (`--environments FOLDER`);
borg and restic by the system's packages (apt-get as root, or brew). Without it borg and restic are run where they are
on PATH. `--all` adds the other benchmarks, each of which is a program of its own, too:

    python -m benchmarks.inside     the two trees in a process that has imported Lineart
    python -m benchmarks.s3         20,000 files to and from S3; with --peers beside `dvc push`
    python -m benchmarks.manifest   the list of a million files alone, its pages in memory
    python -m benchmarks.million    a version of a million files in a store on disk
    python -m benchmarks.versions   a store of 100,000 versions
    python -m benchmarks.lineage    questions of graphs of 200,000 nodes
    python -m benchmarks.large      ten million entries, a file of 20 GiB

The work folder should be on tmpfs, so that a disk's noise stays out. Every figure has its target beside it. With
--repeat figures are medians, and `--json FILE` keeps all of them for later comparison.
"""

from __future__ import annotations

from . import inside, large, lineage, manifest, million, s3, versions, whole
from .report import (
    Measure,
    Report,
    add_options,
    add_peers,
    add_trees,
    clean_up_when_ended,
    describe_machine,
    names_of,
    options_of,
)
from .systems import SYSTEMS

ALWAYS: tuple[Measure, ...] = (whole.measure_start_up, whole.measure, inside.measure)
MORE: tuple[Measure, ...] = (
    s3.measure,
    manifest.measure,
    million.measure,
    versions.measure,
    lineage.measure,
    large.measure,
)


def main() -> None:
    """Run what was asked for and print its tables."""
    parser = add_options(__doc__)
    add_peers(parser)
    add_trees(parser)
    parser.add_argument(
        "--systems", type=names_of(SYSTEMS), default=(), help=f"{','.join(SYSTEMS)}; those that are here"
    )
    parser.add_argument("--all", action="store_true", help="the other benchmarks, too")
    chosen = parser.parse_args()
    clean_up_when_ended()
    options, report = options_of(chosen), Report()
    describe_machine(report)
    for measure in (*ALWAYS, *MORE) if chosen.all else ALWAYS:
        measure(options, report)
    report.close(chosen.json)


if __name__ == "__main__":
    main()
