"""Reads what is new in many logs at once, where each has little: their lines are put together and read as one block.

A sweep that is collected every minute has a few new lines in each of hundreds of logs, and each block a fixed cost.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from aggregation.logs.log_format import LogFormat
from aggregation.logs.reader import Block, BlockReader, Place
from aggregation.logs.run_reader import Reading, ReadTask, RowsInTheMaking, digest, is_packed

#: A log with more new bytes is read alone.
SMALL_BYTES = 1 << 19
#: Of the lines that are read as one block. Its fixed cost counts for more here than what fits the processor's cache.
_JOINED_BYTES = 1 << 21
_NEWLINE = ord("\n")


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is new in one log."""

    #: Of its task in the batch.
    number: int
    task: ReadTask
    #: Complete lines.
    lines: bytes
    #: What stands behind the last newline.
    rest: bytes
    #: As it is without `rest`, and with it.
    fingerprints: tuple[str, str]


def read_small(tasks: Sequence[ReadTask]) -> dict[int, Reading | OSError]:
    """Read those of the logs that have little new, by their number in `tasks`; the others are to be read alone."""
    found: dict[int, Reading | OSError] = {}
    pieces = []
    for number, task in enumerate(tasks):
        try:
            piece = _piece(number, task)
        except OSError as error:
            found[number] = error
            continue
        if piece is not None:
            pieces.append(piece)
    for form, group in groupby(pieces, key=lambda piece: piece.task.form):
        for some in _blocks(list(group)):
            found |= {piece.number: reading for piece, reading in zip(some, _readings(some, form), strict=True)}
    return found


def _piece(number: int, task: ReadTask) -> _Piece | None:
    if is_packed(task.path):
        return None
    handle = os.open(task.path, os.O_RDONLY)
    try:
        new = os.pread(handle, SMALL_BYTES + 1, task.offset)
        if len(new) > SMALL_BYTES:
            return None
        end = new.rfind(b"\n") + 1
        marks = [
            digest(lambda count, offset: os.pread(handle, count, offset), task.offset + size)
            for size in dict.fromkeys((end, len(new)))
        ]
    finally:
        os.close(handle)
    return _Piece(number, task, new[:end], new[end:], (marks[0], marks[-1]))


def _blocks(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces in groups that make one block each."""
    some: list[_Piece] = []
    size = 0
    for piece in pieces:
        if some and size + len(piece.lines) > _JOINED_BYTES:
            yield some
            some, size = [], 0
        some.append(piece)
        size += len(piece.lines)
    if some:
        yield some


def _readings(pieces: list[_Piece], form: LogFormat) -> Iterator[Reading]:
    lines = b"".join(piece.lines for piece in pieces)
    reader = BlockReader(form, Place())
    block = reader.block(lines) if lines else Block.of_records([], [], [])
    # Only a faulty line has several records, and only a blank one has none.
    is_plain = not block.faults and len(block.starts) == reader.place.lines
    offsets = [fault.offset for fault in block.faults]
    ends = np.cumsum([len(piece.lines) for piece in pieces])
    rows = [0, *np.searchsorted(block.starts, ends).tolist()]
    before = lines_before = 0
    for piece, end, first, last in zip(pieces, ends.tolist(), rows[:-1], rows[1:], strict=True):
        task, count = piece.task, last - first if is_plain else _lines(piece.lines)
        faults = [
            replace(fault, line=fault.line - lines_before + task.lines, offset=fault.offset - before + task.offset)
            for fault in block.faults[bisect_left(offsets, before) : bisect_left(offsets, end)]
        ]
        place = Place(
            task.offset + len(piece.lines),
            task.lines + count,
            pending_bytes=len(piece.rest),
            in_line=task.in_line and not count,
        )
        made = RowsInTheMaking(task)
        made.add(
            Block(
                block.starts[first:last] + (task.offset - before),
                block.steps[first:last],
                block.scores[first:last],
                None if block.lengths is None else block.lengths[first:last],
                faults,
                block.metrics[first:last],
            )
        )
        if piece.rest:
            for tail in BlockReader(form, place).tail(piece.rest, is_over=task.is_over):
                made.add(tail)
        took_rest = place.offset > task.offset + len(piece.lines)
        yield made.reading(place, fingerprint=piece.fingerprints[took_rest])
        before, lines_before = end, lines_before + count


def _lines(text: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == _NEWLINE))
