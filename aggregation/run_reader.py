"""Reads what is new in one run's log, and leaves out what a resume made void. Pure files in, arrays out.

A reading is a plain value that can be made in another thread or on another machine, where the log lies.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aggregation.log_format import LogFormat
from aggregation.reader import Block, Place, read_log
from aggregation.record import Fault
from aggregation.seams import Seam, Segment, SegmentTracker, cuts, surviving
from aggregation.template import Floats, Ints

#: A longer log is read in slices of about so many rows, so that memory stays bounded.
SLICE_ROWS = 2_000_000
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
    #: Nothing will be appended any more.
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The rows of one run that were new. Arrays have shape [rows] and keep the order of the log."""

    attempts: NDArray[np.int32]
    #: Environment frames.
    steps: Ints
    #: NaN for null.
    scores: Floats
    #: NaN for null; None where no row has one.
    lengths: Floats | None
    #: All of the run's segments, earlier readings included.
    segments: list[Segment]
    place: Place
    #: Rows read, those left out included.
    read_rows: int
    #: Scores among `scores` that are null.
    non_finite: int
    faults: list[Fault] = field(default_factory=list)
    #: Of the bytes around `place`, to notice a log that was replaced.
    fingerprint: str = ""
    #: Whether the log goes on behind `place`: read the next slice.
    has_more: bool = False
    #: Whether a last line without newline was taken: the next reading starts from nothing.
    took_tail: bool = False


def read_run(task: ReadTask) -> Reading:
    """Read one run's log from `task.offset`."""
    tracker = SegmentTracker(task.seams, task.segments)
    place = Place(task.offset, task.lines)
    blocks: list[Block] = []
    attempts: list[NDArray[np.int32]] = []
    rows, has_more = 0, False
    # A compressed log cannot be entered in the middle: it is read in one piece.
    limit = SLICE_ROWS if task.path.suffix not in (".gz", ".zst") else None
    for block in read_log(task.path, task.form, place=place, is_over=task.is_over):
        attempts.append(tracker.add(block.starts, block.steps))
        blocks.append(block)
        rows += len(block.steps)
        if limit is not None and rows >= limit:
            has_more = True
            break
    took_tail = place.took_tail
    segments = tracker.finish()
    number = np.concatenate([np.empty(0, np.int32), *attempts])
    steps = np.concatenate([np.empty(0, np.int64), *(block.steps for block in blocks)])
    scores = np.concatenate([np.empty(0), *(block.scores for block in blocks)])
    lengths = _lengths(blocks)
    good = surviving(number, steps, cuts(segments))
    if not good.all():
        number, steps, scores = number[good], steps[good], scores[good]
        lengths = None if lengths is None else lengths[good]
    return Reading(
        attempts=number,
        steps=steps,
        scores=scores,
        lengths=lengths,
        segments=segments,
        place=place,
        read_rows=rows,
        non_finite=int(np.count_nonzero(np.isnan(scores))),
        faults=[fault for block in blocks for fault in block.faults],
        fingerprint=fingerprint(task.path, place.offset),
        has_more=has_more,
        took_tail=took_tail,
    )


def fingerprint(path: Path, offset: int) -> str:
    """A digest of the log's first bytes and of the last ones before `offset`; empty for compressed logs.

    It stays the same while the log only grows.
    """
    if path.suffix in (".gz", ".zst"):
        return ""
    with path.open("rb", buffering=0) as file:
        head = file.read(min(_FINGERPRINT_BYTES, offset))
        file.seek(max(offset - _FINGERPRINT_BYTES, 0))
        tail = file.read(min(_FINGERPRINT_BYTES, offset))
    return hashlib.blake2b(head + b"\0" + tail, digest_size=16).hexdigest()


def fault_counts(faults: Sequence[Fault]) -> dict[str, int]:
    """How many bad lines there are of each kind."""
    return dict(Counter(fault.kind for fault in faults))


def _lengths(blocks: Sequence[Block]) -> Floats | None:
    if all(block.lengths is None for block in blocks):
        return None
    return np.concatenate(
        [np.full(len(block.steps), np.nan) if block.lengths is None else block.lengths for block in blocks]
    )
