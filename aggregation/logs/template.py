"""The fast reader of ordinary log lines: a whole block at once, in numpy and Arrow.

Nearly every line of a log has one shape, such as `{"step": <int>, "episode/score": <number>}`. A template holds the
bytes between the numbers of one sample line. A block is checked against it with 8-byte compares, and the numbers
between are converted by Arrow where they stand. Lines that differ in any way are left to record.py.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aggregation.logs.log_format import LogFormat

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Bytes = bytes | bytearray | memoryview

_KEPT = b"0123456789.-,\n"
_BEFORE_NUMBER = b" :"
_AFTER_NUMBER = b" }"
_MASK_BYTES = 1 << 17
_REMOVED = bytes(byte for byte in range(256) if byte not in _KEPT)
_NUMBER = re.compile(rb"(?<=[:\s])-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?=\s*[,}])")
_NEWLINE, _COMMA, _MINUS, _POINT, _ZERO, _ONE = b"\n,-.01"
#: The bytes from a comma to a 9: all that a number may have, and two that it may not, which Arrow refuses.
_AMONG_NUMBERS = b",-./0123456789"


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

    def read(self, block: Bytes) -> Lines:
        """Read the lines of `block` that have exactly this shape. `block` ends with a newline."""
        data = np.frombuffer(block, np.uint8)
        places = self._regular(data)
        if places is not None:
            lines = self._converted(block, data, places, np.arange(len(places.starts)), places.starts)
            if lines is not None:
                return lines
        return self._irregular(bytes(block))

    def _irregular(self, block: bytes) -> Lines:
        """Read a block in which some line may have another shape."""
        scan = _Scan.of(block)
        good = self._fitting(scan)
        index, origin = np.arange(len(scan.starts)), scan.starts
        count = len(index)
        if not good.all():
            index, origin = index[good], origin[good]
            block = _joined(scan, good)
        data = np.frombuffer(block, np.uint8)
        places = self._regular(data) if len(index) else None
        if places is None:
            return self._nothing(count)
        # None where some line holds no number at all: record.py tells which.
        lines = self._converted(block, data, places, index, origin)
        return self._nothing(count) if lines is None else replace(lines, count=count)

    def _regular(self, data: NDArray[np.uint8]) -> "_Places | None":
        """The places of the numbers in a block in which every line has this shape; None for any other.

        The texts are compared where commas and newlines say that they stand. What lies between consists of digits,
        points and signs where the block has as many of these as the texts and the places leave room for.
        """
        numbers = len(self.texts) - 1
        marks, digits = _marks(data)
        count, rest = divmod(len(marks), numbers)
        if rest or not count:
            return None
        table = marks.reshape(count, numbers)
        ends = table[:, -1]
        tail, head = self.texts[-1], self.texts[0]
        if ends[-1] != len(data) - 1 or data[: len(head)].tobytes() != head or ends[0] < len(tail):
            return None
        if data[len(data) - 1 - len(tail) : -1].tobytes() != tail:
            return None
        turn = tail + b"\n" + head
        if not _stands(data, ends[:-1] - len(tail), turn):
            return None
        for number in range(1, numbers):
            if not _stands(data, table[:, number - 1], self.texts[number]):
                return None
        starts = np.empty(count, np.int64)
        starts[0] = 0
        np.add(ends[:-1], 1, out=starts[1:])
        bounds = np.empty(2 * numbers * count + 1, np.int32)
        bounds[-1] = len(data)
        pairs = bounds[:-1].reshape(count, 2 * numbers)
        np.add(starts, len(head), out=pairs[:, 0], casting="same_kind")
        for number in range(numbers - 1):
            pairs[:, 2 * number + 1] = table[:, number]
            np.add(table[:, number], len(self.texts[number + 1]), out=pairs[:, 2 * number + 2], casting="same_kind")
        np.subtract(ends, len(tail), out=pairs[:, -1], casting="same_kind")
        sizes = pairs[:, 1::2] - pairs[:, ::2]
        among_texts = sum(byte in _AMONG_NUMBERS for text in self.texts for byte in text)
        if sizes.min() < 1 or digits != int(sizes.sum(dtype=np.int64)) + among_texts * count:
            return None
        return _Places(starts, bounds, sizes)

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

    def _converted(
        self, block: Bytes, data: NDArray[np.uint8], places: "_Places", index: Ints, origin: Ints
    ) -> Lines | None:
        """Convert a block in which every line fits; None where one of its numbers cannot be converted."""
        numbers = len(self.texts) - 1
        try:
            columns = [
                _numbers(block, places.bounds, number, numbers, pa.int64() if number == self.step else pa.float64())
                for number in range(numbers)
            ]
        except pa.ArrowInvalid:
            return None
        good: Mask | None = None
        pairs = places.bounds[:-1].reshape(len(index), 2 * numbers)
        for number in range(numbers):
            begins, limits = pairs[:, 2 * number].astype(np.int64), pairs[:, 2 * number + 1]
            canonical = _canonical(data, begins, places.sizes[:, number])
            if number != self.step:
                canonical &= data[limits - np.int64(1)] - _ZERO < 10
                canonical &= np.isfinite(columns[number])
            good = canonical if good is None else good & canonical
        assert good is not None
        negative = columns[self.step] < 0
        if negative.any():
            good &= ~negative
        length = None if self.length is None else columns[self.length]
        if length is not None:
            good &= (length >= 0) & (length <= 2**53) & (length == np.floor(length))
        lines = Lines(index, origin, columns[self.step], columns[self.score], length, len(index))
        return lines if good.all() else lines.only(good)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the numbers stand in a block in which every line fits."""

    #: Offset of the first byte of each line, shape [lines].
    starts: Ints
    #: By line, both ends of each number; then the block's size. Shape [lines * 2 * numbers + 1].
    bounds: NDArray[np.int32]
    #: Bytes of each number, shape [lines, numbers].
    sizes: NDArray[np.int32]


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


def _marks(data: NDArray[np.uint8]) -> tuple[Ints, int]:
    """Offset of each comma and newline, and the count of bytes from comma to 9; in pieces that fit the cache."""
    places = [np.empty(0, np.int64)]
    digits = 0
    shifted = np.empty(min(len(data), _MASK_BYTES), np.uint8)
    mask, other = np.empty_like(shifted, np.bool_), np.empty_like(shifted, np.bool_)
    for first in range(0, len(data), _MASK_BYTES):
        piece = data[first : first + _MASK_BYTES]
        size = len(piece)
        np.subtract(piece, _COMMA, out=shifted[:size])
        np.less(shifted[:size], len(_AMONG_NUMBERS), out=mask[:size])
        digits += int(np.count_nonzero(mask[:size]))
        np.equal(piece, _NEWLINE, out=mask[:size])
        np.equal(piece, _COMMA, out=other[:size])
        np.logical_or(mask[:size], other[:size], out=mask[:size])
        places.append(np.flatnonzero(mask[:size]) + first)
    return np.concatenate(places), digits


def _stands(data: NDArray[np.uint8], places: Ints, text: bytes) -> bool:
    """Whether `text` stands at each of the ascending places."""
    if not len(places):
        return True
    if places[-1] + len(text) > len(data):
        return False
    windows = np.ndarray((len(data) - len(text) + 1,), f"V{len(text)}", data, 0, (1,))
    return windows[places].tobytes() == text * len(places)


def _inside(commas: Ints, starts: Ints, ends: Ints, per_line: int) -> bool:
    table = commas.reshape(len(starts), per_line)
    return per_line == 0 or bool((table[:, 0] > starts).all() and (table[:, -1] < ends).all())


def _joined(scan: _Scan, good: Mask) -> bytes:
    """The good lines of a block, one after the other."""
    edges = np.flatnonzero(np.diff(good, prepend=False, append=False))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return b"".join(scan.block[scan.starts[first] : scan.ends[last - 1] + 1] for first, last in pairs)


def _numbers(block: Bytes, bounds: NDArray[np.int32], number: int, numbers: int, kind: pa.DataType) -> NDArray[Any]:
    """The numbers at one place of each line, converted by Arrow, shape [lines].

    The whole block stands as one Arrow array of texts, cut at every bound; all but the wanted ones are null, and
    nulls are not converted. Nothing is copied on the way.

    Args:
        block: The lines.
        bounds: As in `_Places`.
        number: Which of them.
        numbers: Of each line.
        kind: int64 or float64.
    """
    count = len(bounds) - 1
    wanted = np.zeros(2 * numbers * 8, np.bool_)  # repeats with every eighth line at the latest
    wanted[2 * number :: 2 * numbers] = True
    bitmap = np.packbits(wanted, bitorder="little").tobytes() * (-(-count // len(wanted)))
    texts = pa.Array.from_buffers(pa.string(), count, [pa.py_buffer(bitmap), pa.py_buffer(bounds), pa.py_buffer(block)])
    values = texts.cast(kind)
    flat = np.frombuffer(values.buffers()[1], np.int64 if pa.types.is_int64(kind) else np.float64, count=count)
    return np.ascontiguousarray(flat[2 * number :: 2 * numbers])


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


def _canonical(data: NDArray[np.uint8], begins: Ints, sizes: NDArray[np.int32]) -> Mask:
    """Numbers that begin as JSON has them: with a digit, and no zero before another."""
    head = data[begins]
    good: Mask = head - _ONE < 9
    if good.all():
        return good
    negative = head == _MINUS
    if negative.any():
        begins, sizes = begins + negative, sizes - negative
        head = data[begins]
    zero = head == _ZERO
    good = (head - _ONE < 9) | (zero & (sizes == 1))
    good |= zero & (data[begins + 1] == _POINT)
    return good
