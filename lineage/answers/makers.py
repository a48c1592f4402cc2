"""Which of several runs made a version: equal content is one version, and every run that logs it is a producer.

Knows the rows of a history as plain numbers; must not know where they come from. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["makers_first"]


def makers_first(makers: Mapping[int, Sequence[str]], inputs: Mapping[str, Iterable[int]]) -> dict[int, Sequence[str]]:
    """Return the runs of each version so that the one which made it stands first; they are given as they were recorded.

    A run that had used the version and logged it again did not make it, and stands behind those that had not. Each
    run's inputs are looked at once.

    >>> makers_first({1: ["again", "made", "later"]}, {"again": [1], "made": [0], "later": [0]})
    {1: ['made', 'later', 'again']}
    """
    doubtful = {run for runs in makers.values() if len(runs) > 1 for run in runs}
    used = {run: frozenset(inputs.get(run, ())) for run in doubtful}
    return {
        version: sorted(runs, key=lambda run, version=version: version in used[run]) if len(runs) > 1 else runs  # type: ignore[misc]
        for version, runs in makers.items()
    }
