"""The fast reader of ordinary log lines: a whole block at once, in numpy and Arrow.

Nearly every line of a log has one shape, such as `{"step": <int>, "episode/score": <number>}`. A template holds the
bytes between the numbers of one sample line. A block is checked against it with 8-byte compares, and the numbers
between are converted by Arrow where they stand. Lines that differ in any way are left to record.py.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aggregation.log_format import LogFormat

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_KEPT = b"0123456789.-,\n"
_DIGITS = b"0123456789.-"
_BEFORE_NUMBER = b" :"
_AFTER_NUMBER = b" }"
_MASK_BYTES = 1 << 15
_REMOVED = bytes(byte for byte in range(256) if byte not in _KEPT)
_NUMBER = re.compile(rb"(?<=[:\s])-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?=\s*[,}])")
_NEWLINE, _COMMA, _MINUS, _POINT, _ZERO = b"\n,-.0"
_MAX_DIGITS = 18  # every integer of so many digits fits an int64
#: The least integer of so many digits, so that leading zeros show.
_LEAST = np.array([10**_MAX_DIGITS, 0, *(10**digits for digits in range(1, _MAX_DIGITS))], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Lines:
    """What a template read from one block."""

    #: Index of each line that was read, among the lines of the block, shape [rows].
    index: Ints
    #: Byte offset of each, from the start of the block.
    starts: Ints
    steps: Ints
    scores: Floats
    lengths: Floats | None
    #: Lines of the block, those that were not read included.
    count: int

    def only(self, good: Mask) -> "Lines":
        """The lines where `good` holds."""
        lengths = None if self.lengths is None else self.lengths[good]
        return Lines(self.index[good], self.starts[good], self.steps[good], self.scores[good], lengths, self.count)


@dataclass(frozen=True, slots=True)
class Template:
    """The bytes around the numbers of a line, and which number is which."""

    #: What stands before each number, and after the last one: one more than there are numbers.
    texts: tuple[bytes, ...]
    step: int
    score: int
    length: int | None

    @classmethod
    def from_line(cls, line: bytes, form: LogFormat) -> Self | None:
        """The template of a good line without its newline; None where it has more than flat numbers."""
        texts, keys, end = [], [], 0
        for number in _NUMBER.finditer(line):
            texts.append(line[end : number.start()])
            end = number.end()
        texts.append(line[end:])
        try:
            keys = list(json.loads(line))
        except ValueError:
            return None
        if len(keys) != len(texts) - 1 or form.step_key not in keys or form.score_key not in keys:
            return None
        for key, text in zip(keys, texts, strict=False):
            if json.dumps(key).encode() not in text:
                return None
        inner = texts[1:-1]
        if any(byte in _KEPT for byte in texts[0] + texts[-1]) or not all(text.startswith(b",") for text in inner):
            return None
        if any(byte in _KEPT for text in inner for byte in text[1:]):
            return None
        if any(text[-1] not in _BEFORE_NUMBER for text in texts[:-1]) or texts[-1][:1] not in _AFTER_NUMBER:
            return None
        length = keys.index(form.length_key) if form.length_key in keys else None
        return cls(tuple(texts), keys.index(form.step_key), keys.index(form.score_key), length)

    def read(self, block: bytes) -> Lines:
        """Read the lines of `block` that have exactly this shape. `block` ends with a newline."""
        regular = self._regular(block)
        if regular is not None:
            lines = self._converted(regular, np.arange(len(regular.starts)), regular.starts, len(regular.starts))
            if lines is not None:
                return lines
        scan = _Scan.of(block)
        good = self._fitting(scan)
        index, origin = np.arange(len(scan.starts)), scan.starts
        count = len(index)
        if not good.all():
            index, origin = index[good], origin[good]
            scan = _Scan.of(_joined(scan, good))
        if not len(index):
            return self._nothing(count)
        # None where some line holds no number at all: record.py tells which.
        return self._converted(scan, index, origin, count) or self._nothing(count)

    def _regular(self, block: bytes) -> "_Scan | None":
        """The places in a block in which every line has this shape; None for any other.

        Without digits, points and signs such a block is the template's text over and over. That alone lets a digit
        stand amid a text, and then, as the places are counted from the line's edges, the character next to a number
        would stand where the number should: with that blank, colon or brace it cannot be converted.
        """
        unit = b"".join(self.texts) + b"\n"
        text = block.translate(None, _DIGITS)
        count, rest = divmod(len(text), len(unit))
        if rest or text != unit * count:
            return None
        data = np.frombuffer(block, np.uint8)
        marks = _marks(data).reshape(count, len(self.texts) - 1)
        ends = marks[:, -1]
        starts = np.empty_like(ends)
        starts[:1] = 0
        starts[1:] = ends[:-1] + 1
        return _Scan(block, data, starts, ends, marks[:, :-1].ravel(), len(block) - len(text))

    def _nothing(self, count: int) -> Lines:
        none = np.empty(0, np.int64)
        return Lines(none, none, none, np.empty(0), None, count)

    def _fitting(self, scan: "_Scan") -> Mask:
        """Which lines hold this template's texts and nothing but digits, points and signs between them."""
        numbers = len(self.texts) - 1
        starts, ends, commas = scan.starts, scan.ends, scan.commas
        good = np.ones(len(starts), np.bool_)
        if len(commas) != len(starts) * (numbers - 1) or not _inside(commas, starts, ends, numbers - 1):
            per_line = np.diff(np.searchsorted(commas, ends), prepend=0)
            good = per_line == numbers - 1
            commas = commas[np.repeat(good, per_line)]
        marks = np.zeros((len(starts), numbers - 1), np.int64)
        marks[good] = commas.reshape(-1, numbers - 1)
        places = [starts, *(marks[:, column] for column in range(numbers - 1)), ends - len(self.texts[-1])]
        for number in range(numbers):
            # Each number has at least one character before the next text begins.
            good &= places[number + 1] > places[number] + len(self.texts[number])
        words = scan.words(beyond=max(map(len, self.texts)))
        is_whole = bool(good.all())
        for place, text in zip(places, self.texts, strict=True):
            good &= _matches(words, place if is_whole else np.where(good, place, 0), text)
        removed = sum(len(text.translate(None, _KEPT)) for text in self.texts)
        if good.all() and len(scan.block) - scan.kept == removed * len(starts):
            return good
        kept = np.concatenate([[0], np.cumsum(_IS_KEPT[scan.data])])
        fits: Mask = good & (ends - starts - (kept[ends] - kept[starts]) == removed)
        return fits

    def _converted(self, scan: "_Scan", index: Ints, origin: Ints, count: int) -> Lines | None:
        """Convert a block in which every line fits; None where one of its numbers cannot be converted."""
        numbers = len(self.texts) - 1
        commas = scan.commas.reshape(len(index), numbers - 1)
        # By line: its start, then the start and the end of each number.
        bounds = np.empty((len(index), 2 * numbers + 1), np.int32)
        bounds[:, 0] = scan.starts
        bounds[:, 1] = scan.starts + len(self.texts[0])
        for number in range(numbers - 1):
            bounds[:, 2 * number + 2] = commas[:, number]
            bounds[:, 2 * number + 3] = commas[:, number] + len(self.texts[number + 1])
        bounds[:, -1] = scan.ends - len(self.texts[-1])
        if (bounds[:, 1::2] >= bounds[:, 2::2]).any():
            return None
        try:
            columns = [
                _numbers(scan.block, bounds, number, pa.int64() if number == self.step else pa.float64())
                for number in range(numbers)
            ]
        except pa.ArrowInvalid:
            return None
        good = np.ones(len(index), np.bool_)
        for number in range(numbers):
            begin, limit = bounds[:, 2 * number + 1], bounds[:, 2 * number + 2]
            if number == self.step:
                good &= _canonical_ints(columns[number], limit - begin)
            else:
                good &= _canonical_floats(scan.data, columns[number], begin, limit)
        length = None if self.length is None else columns[self.length]
        if length is not None:
            good &= (length >= 0) & (length <= 2**53) & (length == np.floor(length))
        lines = Lines(index, origin, columns[self.step], columns[self.score], length, count)
        return lines if good.all() else lines.only(good)


@dataclass(frozen=True, slots=True)
class _Scan:
    """A block and the places in it that matter."""

    block: bytes
    data: NDArray[np.uint8]
    #: Offset of the first byte of each line, shape [lines].
    starts: Ints
    #: Offset of each newline, shape [lines].
    ends: Ints
    commas: Ints
    #: Bytes that may belong to a number, commas and newlines included.
    kept: int

    @classmethod
    def of(cls, block: bytes) -> Self:
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == _NEWLINE)
        starts = np.empty_like(ends)
        starts[:1] = 0
        starts[1:] = ends[:-1] + 1
        return cls(block, data, starts, ends, np.flatnonzero(data == _COMMA), len(block.translate(None, _REMOVED)))

    def words(self, *, beyond: int) -> NDArray[np.uint64]:
        """The eight bytes from each offset on; zeros behind the block, as far as `beyond`."""
        padded = self.block + bytes(beyond + 8)
        return np.ndarray((len(padded) - 7,), "<u8", padded, 0, (1,))


_IS_KEPT = np.isin(np.arange(256), list(_KEPT))


def _marks(data: NDArray[np.uint8]) -> Ints:
    """Offset of each comma and newline, piece by piece: a large mask would get its memory from the system each time."""
    places = [np.empty(0, np.int64)]
    for first in range(0, len(data), _MASK_BYTES):
        piece = data[first : first + _MASK_BYTES]
        places.append(np.flatnonzero((piece == _NEWLINE) | (piece == _COMMA)) + first)
    return np.concatenate(places)


def _inside(commas: Ints, starts: Ints, ends: Ints, per_line: int) -> bool:
    table = commas.reshape(len(starts), per_line)
    return per_line == 0 or bool((table[:, 0] > starts).all() and (table[:, -1] < ends).all())


def _joined(scan: _Scan, good: Mask) -> bytes:
    """The good lines of a block, one after the other."""
    edges = np.flatnonzero(np.diff(good, prepend=False, append=False))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return b"".join(scan.block[scan.starts[first] : scan.ends[last - 1] + 1] for first, last in pairs)


def _numbers(block: bytes, bounds: NDArray[np.int32], number: int, kind: pa.DataType) -> NDArray[Any]:
    """The numbers at one place of each line, converted by Arrow, shape [lines].

    The whole block stands as one Arrow array of texts, cut at every bound; all but the wanted ones are null, and
    nulls are not converted. Nothing is copied on the way.

    Args:
        block: The lines.
        bounds: By line, its start and both ends of each number, shape [lines, 2 * numbers + 1].
        number: Which of them.
        kind: int64 or float64.
    """
    wanted = np.zeros(bounds.shape, np.bool_)
    wanted[:, 2 * number + 1] = True
    offsets = np.append(bounds.ravel(), np.int32(len(block)))
    texts = pa.Array.from_buffers(
        pa.string(),
        bounds.size,
        [pa.py_buffer(np.packbits(wanted.ravel(), bitorder="little")), pa.py_buffer(offsets), pa.py_buffer(block)],
    )
    values = texts.cast(kind)
    flat = np.frombuffer(values.buffers()[1], np.int64 if pa.types.is_int64(kind) else np.float64, count=bounds.size)
    return np.ascontiguousarray(flat.reshape(bounds.shape)[:, 2 * number + 1])


def _matches(words: NDArray[np.uint64], places: Ints, text: bytes) -> Mask:
    """Whether `text` stands at each place, eight bytes at a time."""
    good = np.ones(len(places), np.bool_)
    for offset in range(0, len(text), 8):
        piece = text[offset : offset + 8]
        want = np.uint64(int.from_bytes(piece, "little"))
        found = words[places + offset]
        if len(piece) < 8:
            found = found & np.uint64((1 << 8 * len(piece)) - 1)
        good &= found == want
    return good


def _canonical_ints(values: Ints, digits: NDArray[Any]) -> Mask:
    """Integers written as JSON has them: no sign, no leading zero, no overflow."""
    good = (digits >= 1) & (digits <= _MAX_DIGITS)
    canonical: Mask = good & (values >= _LEAST[np.where(good, digits, 0)])
    return canonical


def _canonical_floats(data: NDArray[np.uint8], values: Floats, begins: NDArray[Any], limits: NDArray[Any]) -> Mask:
    """Finite numbers written as JSON has them: a digit on both sides of the point, no leading zero."""
    head = data[begins]
    negative = head == _MINUS
    if negative.any():
        begins = begins + negative
        head = data[begins]
    alone = limits - begins == 1
    good = (head - _ZERO < 10) & ((head != _ZERO) | alone | (data[begins + 1] == _POINT))
    canonical: Mask = good & (data[limits - 1] - _ZERO < 10) & np.isfinite(values)
    return canonical
