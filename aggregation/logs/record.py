"""The exact reader of one log line: every good record in it, and what is wrong with the rest.

It defines what a good record is. template.py reads ordinary lines faster and must agree with it on each.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aggregation.logs.log_format import LogFormat

#: Above this, records inside a broken line are looked for as flat objects only, which takes linear time.
_NESTED_SEARCH_CHARS = 4096
_FLAT_OBJECT = re.compile(r"\{[^{}]*\}")
_OBJECT_START = re.compile(r'\{(?=\s*")')
_MAX_STEP = 2**63 - 1
_BLANK = " \t\r\n"
_EXCERPT_BYTES = 96


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys as they stand, duplicates included."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs)
_DUPLICATE = object()


@dataclass(frozen=True, slots=True)
class Record:
    """One good record of a line."""

    step: int
    #: NaN where the log held NaN, an infinity or null; in a log of metrics, always.
    score: float
    length: int | None
    #: Bytes from the start of the line to the record's brace.
    position: int
    #: In a log of metrics, the wanted ones by name, NaN as in `score`.
    metrics: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One bad line of one file."""

    #: torn, joined, garbage, nul_bytes, invalid_utf8, not_an_object, missing_key, duplicate_key, bad_step, bad_score,
    #: long_line, torn_tail, or broken_archive.
    kind: str
    #: Counted from 1.
    line: int
    #: Of the line's first byte.
    offset: int
    bytes: int
    #: The first bytes, with unprintable ones escaped.
    excerpt: str
    #: Good records that were kept from the line all the same.
    kept: int = 0


def excerpt(line: bytes) -> str:
    """The start of a bad line, printable."""
    head = line[:_EXCERPT_BYTES].decode("utf-8", errors="backslashreplace")
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in head)
    return shown + ("…" if len(line) > _EXCERPT_BYTES else "")


def records_of(line: bytes, form: LogFormat) -> tuple[list[Record], str | None]:
    """The good records of one line, in order, and the kind of its fault, None where nothing is wrong.

    A line with nothing but white space has neither.
    """
    if form.metrics is not None and (quick := flat_metrics(line, form)) is not None:
        return [quick], None
    body = line.removeprefix(b"\xef\xbb\xbf")  # editors on Windows put a byte order mark before the first line
    shift = len(line) - len(body)
    try:
        text, exact = body.decode("utf-8"), True
    except UnicodeDecodeError:
        # One character for each byte, so that positions stay true.
        text, exact = body.decode("latin-1"), False
    if not text.strip(_BLANK):
        return [], None
    whole = _decode(text.strip(_BLANK))
    if isinstance(whole, _Pairs):
        found = _record(whole, form, shift + len(text) - len(text.lstrip(_BLANK)))
        if isinstance(found, Record):
            return [found], None if exact else "invalid_utf8"
        return [], found if exact else "invalid_utf8"
    records = list(_salvaged(text, form, shift, exact=exact))
    if "\0" in text:
        return records, "nul_bytes"
    if not exact:
        return records, "invalid_utf8"
    if records:
        return records, "joined"
    if whole is not None:
        return records, "not_an_object"
    body_text = text.strip(_BLANK)
    return records, "torn" if body_text.startswith("{") and not body_text.endswith("}") else "garbage"


def flat_records(chunk: bytes, form: LogFormat) -> Iterator[Record]:
    """Good records without nested values anywhere in `chunk`; for lines too long to be held."""
    yield from _salvaged(chunk.decode("latin-1"), form, 0, exact=False)


def _salvaged(text: str, form: LogFormat, shift: int, *, exact: bool) -> Iterator[Record]:
    for start, pairs in _objects(text):
        before = len(text[:start].encode()) if exact else start
        found = _record(pairs, form, shift + before)
        if isinstance(found, Record):
            yield found


def flat_metrics(line: bytes, form: LogFormat) -> Record | None:
    """The record of an ordinary line of metrics; None for any other, which the exact way decides."""
    try:
        values = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    # Every pair has its colon: with no more colons than keys, none is there twice, and no value is an object.
    if not isinstance(values, dict) or line.count(b":") != len(values):
        return None
    found = _metrics_record(values, form, 0) if form.step_key in values else None
    return found if isinstance(found, Record) else None


def _objects(text: str) -> Iterator[tuple[int, _Pairs]]:
    if len(text) > _NESTED_SEARCH_CHARS:
        for match in _FLAT_OBJECT.finditer(text):
            pairs = _decode(match.group())
            if isinstance(pairs, _Pairs):
                yield match.start(), pairs
        return
    end = 0
    for match in _OBJECT_START.finditer(text):
        if match.start() < end:
            continue  # inside an object that was read already
        try:
            pairs, end = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        yield match.start(), pairs


def _decode(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):  # ValueError covers integers of more digits than Python converts
        return None


def _record(pairs: _Pairs, form: LogFormat, position: int) -> Record | str:
    """The record that an object holds, or the kind of its fault."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values and not _same(values[key], value):
            value = _DUPLICATE
        values[key] = value
    if form.metrics is not None:
        return _metrics_record(values, form, position)
    if form.step_key not in values or form.score_key not in values:
        return "missing_key"
    if _DUPLICATE in (values[form.step_key], values[form.score_key]):
        return "duplicate_key"
    step = _whole_number(values[form.step_key])
    if step is None:
        return "bad_step"
    score = _number(values[form.score_key])
    if score is None:
        return "bad_score"
    length = _whole_number(values.get(form.length_key))
    return Record(step, score if math.isfinite(score) else math.nan, length, position)


def _metrics_record(values: Mapping[str, Any], form: LogFormat, position: int) -> Record | str:
    """The wanted numbers of one line; texts, lists and images are no metrics."""
    assert form.metrics is not None
    if form.step_key not in values:
        return "missing_key"
    metrics = []
    for key, value in values.items():
        if key == form.step_key or not is_wanted(key, form.metrics):
            continue
        if value is _DUPLICATE:
            return "duplicate_key"
        number = _number(value)
        if number is not None:
            metrics.append((key, number if math.isfinite(number) else math.nan))
    if values[form.step_key] is _DUPLICATE:
        return "duplicate_key"
    step = _whole_number(values[form.step_key])
    if step is None:
        return "bad_step"
    return Record(step, math.nan, None, position, tuple(metrics))


@lru_cache(maxsize=1 << 14)
def is_wanted(key: str, pattern: str) -> bool:
    """Whether a metric's name matches as a whole."""
    return re.fullmatch(pattern, key) is not None


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other or (one != one and other != other))


def _number(value: Any) -> float | None:
    """A score as a float; NaN for null; None for what is no number."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:  # an integer beyond the largest float
        return math.inf


def _whole_number(value: Any) -> int | None:
    """A step as an int: `12`, `12.0`, `1.2e1`, `"12"`; None for a fraction, a negative or no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
        number = float(number) if isinstance(number, str) else number
    except ValueError:
        return None
    if isinstance(number, float) and not number.is_integer():
        return None  # also NaN and the infinities
    return int(number) if 0 <= number <= _MAX_STEP else None
