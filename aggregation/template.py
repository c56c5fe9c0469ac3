"""The fast reader of ordinary log lines: a whole block at once, in numpy and Arrow.

Nearly every line of a log has one shape, such as `{"step": <int>, "episode/score": <number>}`. A template holds the
bytes between the numbers of one sample line. A block is checked against it with 8-byte compares, stripped down to
its digits, and converted by Arrow's CSV reader. Lines that differ in any way are left to record.py.
"""

import json
import re
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from aggregation.log_format import LogFormat

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_KEPT = b"0123456789.-,\n"
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
        length = keys.index(form.length_key) if form.length_key in keys else None
        return cls(tuple(texts), keys.index(form.step_key), keys.index(form.score_key), length)

    def read(self, block: bytes) -> Lines:
        """Read the lines of `block` that have exactly this shape. `block` ends with a newline."""
        starts, ends = _line_bounds(block)
        index = np.arange(len(starts))
        good = self._fitting(block, starts, ends)
        origin = starts
        if not good.all():
            index, origin = index[good], starts[good]
            block = _joined(block, starts, ends, good)
            starts, ends = _line_bounds(block) if block else (starts[:0], ends[:0])
        if not len(index):
            return self._nothing()
        return self._converted(block, starts, ends, index, origin)

    def _nothing(self) -> Lines:
        none = np.empty(0, np.int64)
        return Lines(none, none, none, np.empty(0), None)

    def _fitting(self, block: bytes, starts: Ints, ends: Ints) -> Mask:
        """Which lines hold this template's texts and nothing but digits, points and signs between them."""
        numbers = len(self.texts) - 1
        data = np.frombuffer(block, np.uint8)
        commas = np.flatnonzero(data == _COMMA)
        good = np.ones(len(starts), np.bool_)
        if len(commas) != len(starts) * (numbers - 1) or not _inside(commas, starts, ends, numbers - 1):
            good = np.diff(np.searchsorted(commas, ends), prepend=0) == numbers - 1
            commas = commas[np.repeat(good, np.diff(np.searchsorted(commas, ends), prepend=0))]
        marks = np.zeros((len(starts), max(numbers - 1, 1)), np.int64)
        marks[good, : numbers - 1] = commas.reshape(-1, numbers - 1) if numbers > 1 else 0
        beyond = max(map(len, self.texts)) + 8
        padded = block + bytes(beyond)  # so that a compare may look past the last line
        words = np.ndarray((len(padded) - 7,), "<u8", padded, 0, (1,))
        last = ends - len(self.texts[-1])
        places = [starts, *(marks[:, column] for column in range(numbers - 1)), last]
        for number in range(numbers):
            # Each number has at least one character before the next text begins.
            good &= places[number + 1] > places[number] + len(self.texts[number])
        for place, text in zip(places, self.texts, strict=True):
            good &= _matches(words, np.where(good, place, 0) if not good.all() else place, text)
        removed = sum(len(text.translate(None, _KEPT)) for text in self.texts)
        if good.all() and len(block) - len(block.translate(None, _REMOVED)) == removed * len(starts):
            return good
        kept = np.concatenate([[0], np.cumsum(_IS_KEPT[data])])
        fits: Mask = good & (ends - starts - (kept[ends] - kept[starts]) == removed)
        return fits

    def _converted(self, block: bytes, starts: Ints, ends: Ints, index: Ints, origin: Ints) -> Lines:
        """Convert a block in which every line fits."""
        numbers = len(self.texts) - 1
        names = [str(number) for number in range(numbers)]
        types = {name: pa.float64() for name in names} | {names[self.step]: pa.int64()}
        try:
            table = pyarrow.csv.read_csv(
                pa.py_buffer(block.translate(None, _REMOVED)),
                read_options=pyarrow.csv.ReadOptions(
                    column_names=names, use_threads=False, block_size=max(len(block), 1)
                ),
                parse_options=pyarrow.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
                convert_options=pyarrow.csv.ConvertOptions(column_types=types, null_values=[]),
            )
        except pa.ArrowInvalid:
            return self._nothing()  # some line holds no number at all: record.py tells which
        columns = [table.column(number).combine_chunks().to_numpy() for number in range(numbers)]
        data = np.frombuffer(block, np.uint8)
        commas = np.flatnonzero(data == _COMMA).reshape(len(starts), numbers - 1)
        begins = [starts + len(self.texts[0])]
        begins += [commas[:, number] + len(self.texts[number + 1]) for number in range(numbers - 1)]
        limits = [*(commas[:, number] for number in range(numbers - 1)), ends - len(self.texts[-1])]
        good = np.ones(len(starts), np.bool_)
        for number, (begin, limit) in enumerate(zip(begins, limits, strict=True)):
            if number == self.step:
                good &= _canonical_ints(columns[number], limit - begin)
            else:
                good &= _canonical_floats(data, columns[number], begin, limit)
        length = None if self.length is None else columns[self.length]
        if length is not None:
            good &= (length >= 0) & (length <= 2**53) & (length == np.floor(length))
        if good.all():
            return Lines(index, origin, columns[self.step], columns[self.score], length)
        return Lines(
            index[good],
            origin[good],
            columns[self.step][good],
            columns[self.score][good],
            None if length is None else length[good],
        )


_IS_KEPT = np.isin(np.arange(256), list(_KEPT))


def _line_bounds(block: bytes) -> tuple[Ints, Ints]:
    """Offset of the first byte and of the newline of each line."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1] + 1
    return starts, ends


def _inside(commas: Ints, starts: Ints, ends: Ints, per_line: int) -> bool:
    table = commas.reshape(len(starts), per_line)
    return per_line == 0 or bool((table[:, 0] > starts).all() and (table[:, -1] < ends).all())


def _joined(block: bytes, starts: Ints, ends: Ints, good: Mask) -> bytes:
    """The good lines of a block, one after the other."""
    edges = np.flatnonzero(np.diff(good, prepend=False, append=False))
    return b"".join(
        block[starts[first] : ends[last - 1] + 1] for first, last in zip(edges[::2], edges[1::2], strict=True)
    )


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


def _canonical_ints(values: Ints, digits: Ints) -> Mask:
    """Integers written as JSON has them: no sign, no leading zero, no overflow."""
    good = (digits >= 1) & (digits <= _MAX_DIGITS)
    canonical: Mask = good & (values >= _LEAST[np.where(good, digits, 0)])
    return canonical


def _canonical_floats(data: NDArray[np.uint8], values: Floats, begins: Ints, limits: Ints) -> Mask:
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
