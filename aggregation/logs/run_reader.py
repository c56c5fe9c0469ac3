"""Reads what is new in one run's log, and leaves out what a resume made void. Pure files in, arrays out.

A reading is a plain value that can be made in another thread or on another machine, where the log lies.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aggregation.logs.log_format import LogFormat
from aggregation.logs.reader import Block, Place, read_log
from aggregation.logs.record import Fault
from aggregation.logs.seams import Seam, Segment, SegmentTracker, cuts, surviving
from aggregation.logs.template import Floats, Ints

#: A longer log is read in slices of about so many rows, so that memory stays bounded. A compressed one cannot be
#: entered in the middle: each slice unpacks what lies before it once more.
SLICE_ROWS = 2_000_000
#: And one with so many bad lines.
SLICE_FAULTS = 100_000
_FINGERPRINT_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTask:
    """What to read: a value that travels to wherever the log lies."""

    path: Path
    form: LogFormat
    #: None where the seams are to be detected.
    seams: tuple[Seam, ...] | None
    #: Of the earlier reading that this one goes on from.
    segments: tuple[Segment, ...] = ()
    offset: int = 0
    lines: int = 0
    in_line: bool = False
    #: Nothing will be appended any more.
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The rows of one run that were new. Arrays have shape [rows] and keep the order of the log."""

    attempts: NDArray[np.int32]
    #: Environment frames.
    steps: Ints
    #: Scores, or the metrics' values; NaN for null.
    values: Floats
    #: NaN for null; None where no row has one.
    lengths: Floats | None
    #: All of the run's segments, earlier readings included.
    segments: list[Segment]
    place: Place
    #: How many of `values` are null.
    non_finite: int
    #: Of metrics: the number of each row's name, and the names.
    name_index: NDArray[np.int32] | None = None
    names: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    #: Of the bytes around `place`, to notice a log that was replaced.
    fingerprint: str = ""
    #: Whether the log goes on behind `place`: read the next slice.
    has_more: bool = False


def read_run(task: ReadTask) -> Reading:
    """Read one run's log from `task.offset`."""
    place = Place(task.offset, task.lines, in_line=task.in_line)
    made = RowsInTheMaking(task)
    has_more = False
    for block in read_log(task.path, task.form, place=place, is_over=task.is_over):
        made.add(block)
        if made.rows >= SLICE_ROWS or made.faults >= SLICE_FAULTS:
            has_more = not place.took_tail  # behind which is nothing
            break
    return made.reading(place, fingerprint=fingerprint(task.path, place.offset), has_more=has_more)


class RowsInTheMaking:
    """The rows of one run, block by block."""

    def __init__(self, task: ReadTask) -> None:
        self.rows = self.faults = 0
        self._tracker = SegmentTracker(task.seams, task.segments)
        self._pieces: list[_Piece] = []
        #: By name of a metric, its number; None for scores.
        self._names: dict[str, int] | None = None if task.form.metrics is None else {}

    def add(self, block: Block) -> None:
        """Take the next records of the log."""
        attempts = self._tracker.add(block.starts, block.steps)
        self._pieces.append(_Piece.of(block, attempts, self._names))
        self.rows += len(self._pieces[-1].steps)
        self.faults += len(block.faults)

    def reading(self, place: Place, *, fingerprint: str, has_more: bool = False) -> Reading:
        """What was read up to `place`, without what a resume made void."""
        segments = self._tracker.finish()
        whole = _Piece.joined(self._pieces)
        if len(segments) > 1 and not (good := surviving(whole.attempts, whole.steps, cuts(segments))).all():
            whole = whole.only(np.flatnonzero(good))
        if self._names is not None:
            whole = whole.only(np.argsort(whole.name_index, kind="stable"))
        return Reading(
            attempts=whole.attempts,
            steps=whole.steps,
            values=whole.values,
            lengths=whole.lengths,
            name_index=None if self._names is None else whole.name_index,
            names=list(self._names or ()),
            segments=segments,
            place=place,
            non_finite=int(np.count_nonzero(np.isnan(whole.values))),
            faults=[fault for piece in self._pieces for fault in piece.faults],
            fingerprint=fingerprint,
            has_more=has_more,
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows on their way into a reading. Arrays have shape [rows]; `name_index` is empty for scores."""

    attempts: NDArray[np.int32]
    steps: Ints
    values: Floats
    lengths: Floats | None
    name_index: NDArray[np.int32]
    faults: list[Fault]

    @classmethod
    def of(cls, block: Block, attempts: NDArray[np.int32], names: dict[str, int] | None) -> Self:
        """The rows of a block: its records, or one for each of their metrics, whose names are added to `names`."""
        none = np.empty(0, np.int32)
        if names is None:
            return cls(attempts, block.steps, block.scores, block.lengths, none, block.faults)
        counts = np.array([len(metrics) for metrics in block.metrics], np.int64)
        flat = [metric for metrics in block.metrics for metric in metrics]
        return cls(
            np.repeat(attempts, counts) if len(counts) else none,
            np.repeat(block.steps, counts) if len(counts) else np.empty(0, np.int64),
            np.array([value for _, value in flat], np.float64),
            None,
            np.array([names.setdefault(name, len(names)) for name, _ in flat], np.int32),
            block.faults,
        )

    @classmethod
    def joined(cls, pieces: "Sequence[Self]") -> Self:
        if len(pieces) == 1:
            return pieces[0]
        return cls(
            np.concatenate([np.empty(0, np.int32), *(piece.attempts for piece in pieces)]),
            np.concatenate([np.empty(0, np.int64), *(piece.steps for piece in pieces)]),
            np.concatenate([np.empty(0), *(piece.values for piece in pieces)]),
            _lengths(pieces),
            np.concatenate([np.empty(0, np.int32), *(piece.name_index for piece in pieces)]),
            [],
        )

    def only(self, rows: Ints) -> Self:
        return replace(
            self,
            attempts=self.attempts[rows],
            steps=self.steps[rows],
            values=self.values[rows],
            lengths=None if self.lengths is None else self.lengths[rows],
            name_index=self.name_index[rows] if len(self.name_index) else self.name_index,
        )


def fingerprint(path: Path, offset: int) -> str:
    """A digest of the log's first bytes and of the last ones before `offset`; empty for compressed logs.

    It stays the same while the log only grows.
    """
    if is_packed(path):
        return ""
    handle = os.open(path, os.O_RDONLY)
    try:
        return digest(lambda count, start: os.pread(handle, count, start), offset)
    finally:
        os.close(handle)


def is_packed(path: Path) -> bool:
    """Whether a log is compressed."""
    return path.name.endswith((".gz", ".zst"))


def digest(read: Callable[[int, int], bytes], offset: int) -> str:
    """The fingerprint, from a function that reads so many bytes at an offset."""
    count = min(_FINGERPRINT_BYTES, offset)
    marks = read(count, 0) + b"\0" + read(count, offset - count)
    return hashlib.blake2b(marks, digest_size=16).hexdigest()


def fault_counts(faults: Sequence[Fault]) -> dict[str, int]:
    """How many bad lines there are of each kind."""
    return dict(Counter(fault.kind for fault in faults))


def _lengths(blocks: Sequence[_Piece]) -> Floats | None:
    if all(block.lengths is None for block in blocks):
        return None
    return np.concatenate(
        [np.full(len(block.steps), np.nan) if block.lengths is None else block.lengths for block in blocks]
    )
