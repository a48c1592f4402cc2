"""OpenLineage events as they come in: lines of JSON become runs, and the datasets that they used and made.

Knows the shape of events (https://openlineage.io/docs/spec/object-model/) and mistrusts it; must not know stores. Pure.
Events of one run are joined: they may come in any order, and what comes twice says nothing new. Credentials in names
and facets are hidden.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any, NamedTuple

from ...artifacts import metadata
from ...artifacts.ref import parse_time
from ...storage.errors import IntegrityError, InvalidInput, InvalidName
from ...storage.events import LINE_LIMIT, parse
from ..masking import mask_text
from .names import DatasetId, JobId, join_url, namespace_of, run_uuid

__all__ = ["ENDS", "Batch", "Seen", "Skipped", "read_events", "read_lines"]

ENDS = frozenset({"COMPLETE", "FAIL", "ABORT"})
_TYPES = ENDS | {"START", "RUNNING", "OTHER"}
LONGEST = 4096  # characters of a name, and of the URL that namespace and name make up
LABEL = 256  # characters of a dataset's version
LARGEST = 1 << 16  # bytes of one facet
WANTED = "give one event a line, or all in one array"
REMEDY = "nothing was imported; --keep-going (keep_going=True) passes over such lines"
MOST = 20  # reasons for passing over a line that are told apart
_RUN = ("parent", "nominalTime", "errorMessage", "processing_engine", "externalQuery", "tags", "lineart_run")
_JOB = ("sourceCodeLocation", "jobType", "documentation", "ownership", "sql", "tags")
_DATASET = (
    *("schema", "dataSource", "documentation", "ownership", "symlinks", "storage", "datasetType", "catalog", "tags"),
    *("columnLineage", "lineart_version"),
)


class Skipped(NamedTuple):
    """Events that were passed over for one reason."""

    why: str
    events: int
    line: int  # of the first


@dataclass(slots=True)
class Seen:
    """What events say of one run; times are microseconds since the epoch."""

    uuid: str
    job: JobId
    first: int
    last: int
    end: tuple[int, str] | None = None  # the last event of those that end a run
    facets: dict[str, Any] = field(default_factory=dict)
    job_facets: dict[str, Any] = field(default_factory=dict)
    used: dict[DatasetId, int] = field(default_factory=dict)  # when it was first said so
    made: dict[DatasetId, int] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """What a set of events says: of runs; of datasets (their facets); and of which datasets by themselves."""

    runs: dict[str, Seen] = field(default_factory=dict)
    datasets: dict[DatasetId, dict[str, Any]] = field(default_factory=dict)
    alone: dict[DatasetId, None] = field(default_factory=dict)
    events: int = 0
    skipped: dict[str, Skipped] = field(default_factory=dict)
    facets_left_out: int = 0

    def skip(self, why: str, line: int) -> None:
        """Count an event that is passed over."""
        known = self.skipped.get(why, Skipped(why, 0, line))
        self.skipped[why] = known._replace(events=known.events + 1)


def read_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream; of one that is longer than any event may be, only so much that this shows."""
    while line := stream.readline(LINE_LIMIT + 1):
        yield line
        while len(line) > LINE_LIMIT and not line.endswith(b"\n"):
            line = stream.readline(LINE_LIMIT + 1)


def read_events(lines: Iterable[str | bytes], store: str, *, keep_going: bool = False) -> Batch:
    """Read events, one JSON object a line or all in one array, and join what they say of each run.

    Empty lines are none. An array is held as a whole, and so is at most LINE_LIMIT bytes long.
    Runs of the store itself (`store` is its id), and events of jobs without a run, are passed over and counted; with
    `keep_going`, so are lines that are no events. Else InvalidInput says which line is wrong, and how.
    """
    batch = Batch()
    for number, one in enumerate(_pieces(lines, keep_going=keep_going), 1):
        if not isinstance(one, _Element) and not one.strip():
            continue
        batch.events += 1
        try:
            _take(batch, one.object() if isinstance(one, _Element) else _object(one), number, store)
        except (InvalidInput, InvalidName, IntegrityError) as error:
            if not keep_going:
                where = f"event {number} of the array" if isinstance(one, _Element) else f"line {number}"
                wanted = f" ({WANTED})" if isinstance(error, IntegrityError) else ""
                raise InvalidInput(f"{where} is no OpenLineage event: {error}{wanted}; {REMEDY}") from None
            batch.skip(f"no OpenLineage event: {error}" if len(batch.skipped) < MOST else "no event either", number)
    for run in batch.runs.values():
        run.used, run.made = _definite(run.used), _definite(run.made)
    return batch


def _definite(mentioned: dict[DatasetId, int]) -> dict[DatasetId, int]:
    """Leave out a dataset without a version where other events of the run say which version it was."""
    known = {one[:2] for one in mentioned if one.version is not None}
    return {one: at for one, at in mentioned.items() if one.version is not None or one[:2] not in known}


class _Element(NamedTuple):
    """What stands in an array of events."""

    value: Any

    def object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise InvalidInput("it is not a JSON object")
        return self.value


def _pieces(lines: Iterable[str | bytes], *, keep_going: bool) -> Iterator[str | bytes | _Element]:
    """Yield what may be events: lines, or what is in the array that they are.

    Who keeps going may have a log whose first line begins as an array does.
    """
    rest = iter(lines)
    held: list[str | bytes] = []
    for line in rest:
        held.append(line)
        if line.strip():
            break
    if not held or not _text(held[-1][:LINE_LIMIT], errors="replace").lstrip().startswith("["):
        yield from chain(held, rest)
        return
    size = len(held[-1])
    for line in rest:
        held.append(line)
        size += len(line)
        if size > LINE_LIMIT:
            break
    try:
        elements = _array(held, size)
    except (InvalidInput, IntegrityError) as error:
        if not keep_going:
            raise InvalidInput(f"it begins as a JSON array of events and is none: {error}; {WANTED}") from None
        yield from chain(held, rest)
    else:
        yield from map(_Element, elements)


def _array(lines: Sequence[str | bytes], size: int) -> list[Any]:
    if size > LINE_LIMIT:
        raise InvalidInput(f"it is longer than {LINE_LIMIT:,} bytes; `jq -c '.[]'` makes lines of it")
    found = parse(f'{{"events":{"".join(map(_text, lines))}}}', "it")  # which knows how deep and how odd JSON may be
    if list(found) != ["events"] or not isinstance(found["events"], list):
        raise InvalidInput("it is not JSON")
    return found["events"]


def _object(line: str | bytes) -> dict[str, Any]:
    if len(line) > LINE_LIMIT:
        raise InvalidInput(f"it is longer than {LINE_LIMIT:,} bytes")
    return parse(_text(line), "it")


def _text(line: str | bytes, errors: str = "strict") -> str:
    try:
        text = line if isinstance(line, str) else line.decode(errors=errors)
    except UnicodeDecodeError:
        raise InvalidInput("it is not UTF-8") from None
    return text.removeprefix("\ufeff")  # which stands before what Windows wrote


def _take(batch: Batch, event: Mapping[str, Any], line: int, store: str) -> None:
    time = _time(event)
    if "run" not in event and "dataset" in event:
        dataset, facets = _dataset(batch, event["dataset"], "dataset")
        batch.datasets.update(_merged(batch, {dataset: facets}))
        batch.alone[dataset] = None
        return
    if "run" not in event and "job" in event:
        batch.skip("of a job, without a run", line)
        return
    run, job = _part(event, "run"), _part(event, "job")
    kind = event.get("eventType", "OTHER")
    if not isinstance(kind, str) or kind.upper() not in _TYPES:
        raise InvalidInput(f"its eventType is {kind!r:.80}")
    named = JobId(_name(job, "namespace", "job"), _name(job, "name", "job"))
    seen = Seen(_uuid(run.get("runId")), named, time, time)
    seen.facets, seen.job_facets = _facets(batch, run, _RUN), _facets(batch, job, _JOB)
    used, made = ([_dataset(batch, one, side) for one in _list(event, side)] for side in ("inputs", "outputs"))
    if _is_own(seen, store):
        batch.skip("of a run of this store", line)
        return
    seen.end = (time, kind.upper()) if kind.upper() in ENDS else None
    seen.used, seen.made = ({dataset: time for dataset, _ in side} for side in (used, made))
    for part in (used, made):
        batch.datasets.update(_merged(batch, dict(part)))
    known = batch.runs.get(seen.uuid)
    if known is None:
        batch.runs[seen.uuid] = seen
    else:
        _join(known, seen)


def _merged(batch: Batch, found: dict[DatasetId, dict[str, Any]]) -> dict[DatasetId, dict[str, Any]]:
    return {one: batch.datasets.get(one, {}) | facets for one, facets in found.items()}


def _join(known: Seen, new: Seen) -> None:
    """Add what one more event says of a run; of what two say differently, the later one holds."""
    if new.last >= known.last:
        known.job = new.job
        known.facets, known.job_facets = known.facets | new.facets, known.job_facets | new.job_facets
    else:
        known.facets, known.job_facets = new.facets | known.facets, new.job_facets | known.job_facets
    known.first, known.last = min(known.first, new.first), max(known.last, new.last)
    if new.end is not None and (known.end is None or new.end >= known.end):
        known.end = new.end
    for mine, others in ((known.used, new.used), (known.made, new.made)):
        for dataset, at in others.items():
            mine[dataset] = min(at, mine.get(dataset, at))


def _is_own(seen: Seen, store: str) -> bool:
    told = seen.facets.get("lineart_run", {}).get("id")
    return seen.job.namespace == namespace_of(store) and isinstance(told, str) and run_uuid(told, store) == seen.uuid


# Parts of an event


def _time(event: Mapping[str, Any]) -> int:
    text = event.get("eventTime")
    if not isinstance(text, str) or len(text) < len("2026-01-01T00:00:00Z"):
        raise InvalidInput(f"its eventTime is {text!r:.80}, not a date and time with a zone")
    return parse_time(text)


def _uuid(text: Any) -> str:
    try:
        return str(uuid.UUID(text))
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput(f"its runId is {text!r:.80}, not a UUID") from None


def _part(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = event.get(name)
    if not isinstance(found, dict):
        raise InvalidInput(f"its {name} is {found!r:.80}, not an object" if name in event else f"it has no {name}")
    return found


def _list(event: Mapping[str, Any], name: str) -> list[Any]:
    found = event.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise InvalidInput(f"its {name} are {found!r:.80}, not a list")
    return found


def _name(part: Mapping[str, Any], name: str, of: str) -> str:
    text = part.get(name)
    if not isinstance(text, str) or not text:
        raise InvalidInput(f"the {name} of its {of} is {text!r:.80}, not text")
    if len(text) > LONGEST:
        raise InvalidInput(f"the {name} of its {of} has {len(text):,} characters; at most {LONGEST:,} are kept")
    metadata.check_words(f"the {name} of its {of}", text)
    return mask_text(text)


def _dataset(batch: Batch, found: Any, of: str) -> tuple[DatasetId, dict[str, Any]]:
    if not isinstance(found, dict):
        raise InvalidInput(f"one of its {of} is {found!r:.80}, not an object")
    namespace, name = _name(found, "namespace", of), _name(found, "name", of)
    if len(join_url(namespace, name)) > LONGEST:
        raise InvalidInput(f"namespace and name of one of its {of} have more than {LONGEST:,} characters")
    facets = found.get("facets") or {}
    version = facets.get("version") if isinstance(facets, dict) else None
    label = version.get("datasetVersion") if isinstance(version, dict) else None
    if label is not None:
        if not isinstance(label, str) or len(label) > LABEL:
            raise InvalidInput(f"the version of one of its {of} is {label!r:.80}, not text of up to {LABEL} characters")
        metadata.check_words(f"the version of one of its {of}", label)
    return DatasetId(namespace, name, label or None), _facets(batch, found, _DATASET)


def _masked(value: Any) -> Any:
    """Hide credentials within text. Names are no guide: facets have a `key` for everything, and columns any name."""
    if isinstance(value, dict):
        return {mask_text(name): _masked(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_masked(one) for one in value]
    return mask_text(value) if isinstance(value, str) else value


def _facets(batch: Batch, part: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """Return the facets of use; one that is too large or too deep to be kept is left out and counted."""
    facets = part.get("facets")
    if facets is None:
        return {}
    if not isinstance(facets, dict):
        raise InvalidInput(f"facets are {facets!r:.80}, not an object")
    kept = {}
    for name in wanted:
        found = facets.get(name)
        if not isinstance(found, dict) or found.get("_deleted") is True:
            continue
        try:
            one = _masked(metadata.plain(found, name))
        except InvalidInput:
            batch.facets_left_out += 1
            continue
        if len(json.dumps(one)) > LARGEST:
            batch.facets_left_out += 1
        else:
            kept[name] = one
    return kept
