"""Reads one score log from a byte offset, block by block: every good record, and every bad line by its place.

The file may grow while it is read. What stands behind the last newline is pending until the newline comes; only a
finished run's last line may lack it.
"""

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Self, cast

import numpy as np
import pyarrow as pa

from aggregation.logs.log_format import LogFormat
from aggregation.logs.record import Fault, Record, excerpt, flat_records, records_of
from aggregation.logs.template import Bytes, Floats, Ints, Lines, Template

#: Fits the processor's cache; larger blocks were slower.
BLOCK_BYTES = 1 << 20
#: A line beyond this is not held; only flat records in it are looked for.
LONG_LINE_BYTES = 1 << 24
#: A record is looked for across the seam of two windows of a long line up to this size.
_OVERLAP_BYTES = 1 << 16
#: Complete lines within these may become the template.
_SAMPLE_BYTES = 1 << 12


@dataclass(frozen=True, slots=True)
class Block:
    """The records of a stretch of a log, in the order of the file. Arrays have shape [rows]."""

    #: Byte offset of each record in the file.
    starts: Ints
    #: Environment frames.
    steps: Ints
    #: NaN where the log held no finite number.
    scores: Floats
    #: Episode lengths, NaN where there is none; None where no line of the block has one.
    lengths: Floats | None
    faults: list[Fault] = field(default_factory=list)
    #: Of a log of metrics: by record, its metrics.
    metrics: list[tuple[tuple[str, float], ...]] = field(default_factory=list)

    @classmethod
    def of_records(cls, records: list[Record], starts: list[int], faults: list[Fault]) -> Self:
        lengths = None
        if any(record.length is not None for record in records):
            known = [np.nan if record.length is None else record.length for record in records]
            lengths = np.array(known, np.float64)
        return cls(
            np.array(starts, np.int64),
            np.array([record.step for record in records], np.int64),
            np.array([record.score for record in records], np.float64),
            lengths,
            faults,
            [record.metrics for record in records],
        )


@dataclass(slots=True)
class Place:
    """How far a log was read. A later reading goes on from here."""

    #: Where the last line that was read ended, in bytes of the uncompressed log.
    offset: int = 0
    #: Complete lines before it.
    lines: int = 0
    #: Bytes behind it that wait for their newline.
    pending_bytes: int = 0
    #: Whether that line was a whole record that still lacks its newline.
    in_line: bool = False
    #: Whether a last line without its newline was told as a fault, although `offset` stands before it.
    took_tail: bool = False


def read_log(path: Path, form: LogFormat, *, place: Place, is_over: bool = False) -> Iterator[Block]:
    """Yield what stands in the log behind `place`, and move `place` along.

    Args:
        path: A JSON-lines file, or one compressed as `.gz` or `.zst`.
        form: The keys to read.
        place: Where to start; after the last block, where the last complete line ended.
        is_over: Nothing will be appended any more: a torn last line is a fault, where else it may yet become a record.
    """
    reader = BlockReader(form, place)
    # One buffer for all blocks: what a block leaves of its last line moves to the front.
    buffer, size = bytearray(BLOCK_BYTES), 0
    with _opened(path, place.offset) as file:
        while count := _read_into(file, memoryview(buffer)[size:], reader):
            size += count
            end = buffer.rfind(b"\n", size - count, size) + 1
            if end:
                yield reader.block(memoryview(buffer)[:end])
                buffer[: size - end] = buffer[end:size]
                size -= end
            elif size > LONG_LINE_BYTES:
                found, rest = reader.long_line(bytes(buffer[:size]), file)
                yield found
                if end := rest.rfind(b"\n") + 1:
                    yield reader.block(rest[:end])
                size = len(rest) - end
                buffer = bytearray(rest[end:]).ljust(BLOCK_BYTES)
            elif size == len(buffer):
                buffer = buffer.ljust(min(2 * size, LONG_LINE_BYTES + 1))
    yield from reader.broken_archive()
    place.pending_bytes = size
    if size:
        yield from reader.tail(bytes(buffer[:size]), is_over=is_over)


class BlockReader:
    """Turns the blocks of one file into records and faults, and keeps the count of lines and bytes."""

    def __init__(self, form: LogFormat, place: Place) -> None:
        self.form = form
        self.place = place
        self.template: Template | None = None
        self.error = ""

    def block(self, block: Bytes) -> Block:
        """Read complete lines."""
        if self.template is None and self.form.metrics is None:
            self.template = self._sampled(block)
        quick = None if self.template is None else self.template.read(block)
        count = bytes(block).count(b"\n") if quick is None else quick.count
        if quick is not None and len(quick.index) == count:
            found = Block(quick.starts + self.place.offset, quick.steps, quick.scores, quick.lengths)
        else:
            found = self._mixed(bytes(block), quick, count)
            if quick is not None and 2 * len(quick.index) < count:
                self.template = None  # the log has changed its shape: sample again
        self.place.offset += len(block)
        self.place.lines += count
        self.place.in_line = False
        return found

    def _sampled(self, block: Bytes) -> Template | None:
        for line in bytes(block[:_SAMPLE_BYTES]).split(b"\n")[:-1]:
            records, fault = records_of(line, self.form)
            if fault is None and len(records) == 1 and records[0].position == 0:
                template = Template.from_line(line, self.form)
                if template is not None:
                    return template
        return None

    def _mixed(self, block: bytes, quick: Lines | None, count: int) -> Block:
        """Read the lines that the template refused one by one, and put all records into the order of the file."""
        refused = np.ones(count, np.bool_)
        if quick is not None:
            refused[quick.index] = False
        bounds = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        records: list[Record] = []
        starts: list[int] = []
        faults: list[Fault] = []
        for index in np.flatnonzero(refused).tolist():
            start = int(bounds[index - 1]) + 1 if index else 0
            line = block[start : int(bounds[index])]
            offset = self.place.offset + start
            good, kind = records_of(line, self.form)
            records += good
            starts += [offset + record.position for record in good]
            if kind is not None:
                faults.append(self._fault(kind, line, self.place.lines + index + 1, offset, len(good)))
        exact = Block.of_records(records, starts, faults)
        if quick is None or not len(quick.index):
            return exact
        whole = Block(quick.starts + self.place.offset, quick.steps, quick.scores, quick.lengths)
        return replace(_merged(whole, exact), faults=faults)

    def long_line(self, head: bytes, file: IO[bytes]) -> tuple[Block, bytes]:
        """Search a line that is too long to hold, window by window; return what follows its newline too."""
        offset, line = self.place.offset, self.place.lines + 1
        records: list[Record] = []
        starts: list[int] = []
        window, base, size = head, offset, len(head)
        after = b""
        is_open = True
        while window:
            for record in flat_records(window, self.form):
                if not starts or base + record.position > starts[-1]:
                    records.append(record)
                    starts.append(base + record.position)
            if not is_open:
                break
            chunk = _read(file, self)
            end = chunk.find(b"\n")
            is_open = bool(chunk) and end < 0
            piece, after = (chunk[:end], chunk[end + 1 :]) if end >= 0 else (chunk, b"")
            kept = window[-_OVERLAP_BYTES:]
            base += len(window) - len(kept)
            window = kept + piece
            size += len(piece)
            if not chunk:
                break
        else:
            end = -1
        is_complete = end >= 0
        fault = self._fault("long_line", head, line, offset, len(records), size=size)
        self.place.offset = offset + size + is_complete
        self.place.lines += 1
        return Block.of_records(records, starts, [fault]), after

    def tail(self, rest: bytes, *, is_over: bool) -> Iterator[Block]:
        """Read a last line that lacks its newline: a whole record counts, anything else waits until the run is over."""
        records, kind = records_of(rest, self.form)
        if kind is not None and not is_over:
            return
        starts = [self.place.offset + record.position for record in records]
        faults = []
        if kind is not None:
            kind = "torn_tail" if kind == "torn" else kind
            faults.append(self._fault(kind, rest, self.place.lines + 1, self.place.offset, len(records)))
        self.place.pending_bytes = 0
        if kind is None:
            self.place.offset += len(rest)
            self.place.in_line = True
        else:
            self.place.took_tail = True
        yield Block.of_records(records, starts, faults)

    def broken_archive(self) -> Iterator[Block]:
        if self.error:
            fault = Fault(
                kind="broken_archive",
                line=self.place.lines + 1,
                offset=self.place.offset,
                bytes=0,
                excerpt=self.error,
            )
            yield Block.of_records([], [], [fault])

    def _fault(self, kind: str, line: bytes, number: int, offset: int, kept: int, *, size: int | None = None) -> Fault:
        return Fault(
            kind=kind,
            line=number,
            offset=offset,
            bytes=len(line) if size is None else size,
            excerpt=excerpt(line),
            kept=kept,
        )


def _merged(one: Block, other: Block) -> Block:
    """The records of two blocks in the order of the file."""
    starts = np.concatenate([one.starts, other.starts])
    order = np.argsort(starts, kind="stable")
    lengths = None
    if one.lengths is not None or other.lengths is not None:
        parts = [np.full(len(b.starts), np.nan) if b.lengths is None else b.lengths for b in (one, other)]
        lengths = np.concatenate(parts)[order]
    return Block(
        starts[order],
        np.concatenate([one.steps, other.steps])[order],
        np.concatenate([one.scores, other.scores])[order],
        lengths,
    )


@contextlib.contextmanager
def _opened(path: Path, offset: int) -> Iterator[IO[bytes]]:
    """The log's bytes behind `offset`, decompressed where its name says so."""
    with contextlib.ExitStack() as stack:
        file: IO[bytes]
        if path.suffix == ".gz":
            file = cast("IO[bytes]", stack.enter_context(gzip.open(path, "rb")))
        elif path.suffix == ".zst":
            raw = stack.enter_context(pa.OSFile(str(path), "rb"))
            file = stack.enter_context(pa.CompressedInputStream(raw, "zstd"))
        else:
            file = stack.enter_context(path.open("rb", buffering=0))
            file.seek(offset)
            offset = 0
        while offset > 0 and (skipped := len(file.read(min(offset, BLOCK_BYTES)))):
            offset -= skipped
        yield file


def _read_into(file: IO[bytes], free: memoryview, reader: BlockReader) -> int:
    """Read as much as there is room for; nothing at the end, and nothing more where a compressed file breaks off."""
    if reader.error:
        return 0
    try:
        return cast("io.RawIOBase", file).readinto(free) or 0
    except (EOFError, zlib.error, pa.ArrowInvalid, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # the file system's, not the archive's
        reader.error = f"{type(exc).__name__}: {exc}"
        return 0


def _read(file: IO[bytes], reader: BlockReader) -> bytes:
    """The next chunk, of which the same holds."""
    chunk = bytearray(BLOCK_BYTES)
    return bytes(chunk[: _read_into(file, memoryview(chunk), reader)])
