"""Where a file is cut into chunks: FastCDC 2020 over bytes that arrive in any portions.

Knows cut points and their parameters; must not know digests, packs, or where bytes come from. The algorithm is
that of Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems" (IEEE
TPDS 2020), as pyfastcdc implements it; tests pin its cut points, because other cuts would store everything once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .codec import MAX_CHUNK, Buffer
from .errors import IntegrityError, InvalidInput

__all__ = ["PARAMETERS", "ChunkingParameters", "Cutter", "compiled"]


@dataclass(frozen=True, slots=True)
class ChunkingParameters:
    """How a store's files are cut; sizes are bytes. They stand in the store's marker and never change.

    A file of up to `single` bytes is one chunk whatever it holds. InvalidInput if the values make no sense together.

    >>> ChunkingParameters.from_json(ChunkingParameters().to_json()).average
    1048576
    """

    minimum: int = 256 << 10
    average: int = 1 << 20
    maximum: int = 4 << 20
    normalization: int = 2
    single: int = 1 << 20

    def __post_init__(self) -> None:
        values = [getattr(self, field.name) for field in fields(self)]
        if not all(type(value) is int for value in values):
            raise InvalidInput(f"chunking parameters are integers, not {values}")
        if not (
            64 <= self.minimum <= 1 << 20
            and max(self.minimum, 256) <= self.average
            and max(self.average, 1024) <= self.maximum <= MAX_CHUNK
            and 0 <= self.normalization <= 3
            and 0 <= self.single <= self.maximum
        ):
            raise InvalidInput(
                "chunking parameters need 64 <= minimum <= 1 MiB, minimum <= average <= maximum <= 4 MiB, "
                f"average >= 256, maximum >= 1024, normalization 0 to 3 and 0 <= single <= maximum: {self}"
            )

    def to_json(self) -> dict[str, int]:
        """Give the object that stands in the marker."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> ChunkingParameters:
        """Read the marker's object; IntegrityError unless it has exactly the known fields with sound values."""
        names = {field.name for field in fields(cls)}
        if not isinstance(value, Mapping) or set(value) != names:
            raise IntegrityError(f"the store's chunking parameters have to be {sorted(names)}: {value!r}")
        try:
            return cls(**value)
        except InvalidInput as error:
            raise IntegrityError(f"the store's chunking parameters are damaged: {error}") from error


PARAMETERS = ChunkingParameters()


def compiled(implementation: type[Any]) -> type[Any]:
    """Refuse pyfastcdc's fallback, which would take minutes for a gigabyte and look like a hang."""
    if not implementation.__module__.startswith("pyfastcdc.cy"):
        raise InvalidInput(
            "pyfastcdc's compiled part is missing on this machine, and its pure-Python fallback is a thousand times "
            "too slow to store files with: install a wheel of pyfastcdc, or a C compiler and then pyfastcdc again"
        )
    return implementation


class Cutter:
    """Cuts one file that arrives in portions of any size; the cuts are those of the whole file at once.

    What `feed` and `finish` return are the file's next chunks, in order; the last one comes from `finish`. They are
    read-only views. A portion with room before it (the maximum, 4 MiB, is always enough) is cut where it lies, and the
    end of it is held there: its buffer may change when its chunks are needed no more and the next portion was fed.
    Portions without room are gathered, at least 8 MiB of them. One cutter is for one file; the search runs without the
    interpreter's lock.

    >>> cutter = Cutter(PARAMETERS)
    >>> cutter.feed(bytes(3_000_000)), [len(chunk) for chunk in cutter.finish()]
    ([], [3000000])
    """

    def __init__(self, parameters: ChunkingParameters = PARAMETERS) -> None:
        import pyfastcdc  # 18 ms that only large files have to pay

        self._parameters = parameters
        self._fastcdc = compiled(pyfastcdc.FastCDC)(
            avg_size=parameters.average,
            min_size=parameters.minimum,
            max_size=parameters.maximum,
            normalized_chunking=parameters.normalization,
        )
        self._batch = 2 * parameters.maximum
        self._held: bytearray | memoryview = bytearray()  # what comes behind the last cut, none of it handed out yet
        self._began = False  # whether a chunk was handed out

    def feed(self, data: Buffer, room: int = 0) -> list[memoryview]:
        """Take the file's next bytes and return the chunks that are certain by now, perhaps none.

        The first `room` bytes of `data` are not of the file: what is held is written there, so that nothing is moved.
        """
        view, held = memoryview(data), len(self._held)
        chunks: list[memoryview] = []
        if room >= max(held, 1):
            view = view[room - held :]
            view[:held] = self._held
            self._held = view.toreadonly()
            if self._began or len(view) > self._parameters.single:
                self._held = self._cut(self._held, chunks)
            return chunks
        gathered = bytearray(self._held) if isinstance(self._held, memoryview) else self._held
        gathered += view[room:]
        self._held = gathered
        if len(gathered) >= self._batch:
            # The views that are handed out keep the old buffer; what is held from here on is a new one.
            self._held = bytearray(self._cut(memoryview(gathered).toreadonly(), chunks))
        return chunks

    def finish(self) -> list[memoryview]:
        """Return the rest of the file: no chunk at all for an empty file."""
        chunks: list[memoryview] = []
        view = memoryview(self._held).toreadonly()
        self._held = bytearray()
        if not self._began and len(view) <= self._parameters.single:
            return [view] if view else []
        rest = self._cut(view, chunks)
        if rest:
            chunks.append(rest)
        return chunks

    def _cut(self, view: memoryview, chunks: list[memoryview]) -> memoryview:
        """Append the certain chunks of the bytes behind the last cut; return what is left of them."""
        found = [chunk.data for chunk in self._fastcdc.cut_buf(view)]
        # The last one ends where the bytes end, not where their content says so; unless it can't grow any more.
        rest = found.pop() if found and len(found[-1]) < self._parameters.maximum else view[:0]
        if found:
            self._began = True
            chunks += found
        return rest
