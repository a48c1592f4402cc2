"""Ways into a run other than starting one: joining somebody's, going on with one, meeting the others of a job.

Knows ledgers, captures and runs; must not know the environment, which says which of them it is to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from ..storage.errors import InvalidInput
from .run import INTERVAL, Run, RunHome, start_run
from .values import to_mapping

if TYPE_CHECKING:
    from .capture import Capture
    from .ranks import Meeting

__all__ = ["Resume", "check_resume", "join_run", "meet_run", "open_run", "resume_run"]

Resume = Literal["never", "allow", "must"]


def check_resume(resume: str, id: str | None) -> Resume:  # noqa: A002 - the interface's word
    """Return what a word means; InvalidInput for one that means nothing, or that needs an id."""
    for one in get_args(Resume):
        if resume == one:
            if one != "never" and id is None:
                raise InvalidInput(f"resume={resume!r} goes on with a run: give its id, too (id=)")
            return one  # type: ignore[no-any-return]  # it is one of the literals
    raise InvalidInput(f"{resume!r} is no way to resume; there are {', '.join(get_args(Resume))}")


def join_run(home: RunHome, id: str, *, config: Any = None, **words: Any) -> Run:  # noqa: A002 - the interface's word
    """Take part in a run that another process started and will end; NotFound if there is none of this id.

    `config` is merged into the run's; other words are taken over where the run says nothing yet.
    """
    values = to_mapping(config)
    record = home.ledger.join(id, config=values, **words)
    return Run(record, home, config={**record.config, **values}, capture=None)


def resume_run(
    home: RunHome,
    project: str,
    *,
    id: str,  # noqa: A002 - the interface's word
    must: bool,
    capture: Capture,
    config: Any = None,
    interval: float | None = INTERVAL,
    **words: Any,
) -> Run:
    """Go on with a run, or begin it where it may be absent; NotFound where it must not.

    What it was: its config, with `config` merged into it, its summary, its inputs and products, and what its aliases
    meant. What is remembered of code and environment is this process's from now on.
    """
    values = to_mapping(config)
    record = home.ledger.resume(project, id, must=must, config=values, captured=capture.seen, **words)
    return Run(record, home, config={**record.config, **values}, capture=capture).alive(interval)


def meet_run(
    home: RunHome,
    project: str,
    meeting: Meeting,
    *,
    capture: Capture,
    config: Any = None,
    interval: float | None = INTERVAL,
    **words: Any,
) -> Run:
    """Take part in the run that the processes of a distributed job have in common.

    The first to come begins it. It is ended by the one of rank 0, or by the first where that one never comes.
    """
    values = to_mapping(config)
    record, is_ours = home.ledger.meet(project, meeting, config=values, captured=capture.seen, **words)
    known = {**record.config, **values}
    return (
        Run(record, home, config=known, capture=capture).alive(interval)
        if is_ours
        else Run(record, home, config=known, capture=None)
    )


def open_run(
    home: RunHome,
    project: str,
    *,
    id: str | None = None,  # noqa: A002 - the interface's word
    resume: Resume = "never",
    meeting: Meeting | None = None,
    capture: Capture,
    **words: Any,
) -> Run:
    """Start a run, go on with one, or meet the others of a job."""
    if meeting is not None:
        return meet_run(home, project, meeting._replace(id=id, resume=resume), capture=capture, **words)
    if id is not None and resume != "never":
        return resume_run(home, project, id=id, must=resume == "must", capture=capture, **words)
    return start_run(home, project, id=id, capture=capture, **words)
