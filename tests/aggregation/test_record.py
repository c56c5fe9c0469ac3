"""The exact reader of one line."""

import math

import pytest

from aggregation.logs.log_format import LogFormat
from aggregation.logs.record import Record, records_of

FORM = LogFormat()

GOOD = [
    (b'{"step": 12, "episode/score": 3.5}', 12, 3.5),
    (b'\xef\xbb\xbf{"step": 12, "episode/score": 3.5}', 12, 3.5),
    (b'{"step": 12, "episode/score": 3.5}\r', 12, 3.5),
    (b'  {"episode/score":3.5,"step":12} ', 12, 3.5),
    (b'{"step": "12", "episode/score": "3.5"}', 12, 3.5),
    (b'{"step": 12.0, "episode/score": 3}', 12, 3.0),
    (b'{"step": 1.2e1, "episode/score": 35e-1}', 12, 3.5),
    (b'{"step": 12, "episode/score": 3.5, "note": {"by": ["me", {"step": 4}]}}', 12, 3.5),
    (b'{"step": 12, "step": 12, "episode/score": 3.5}', 12, 3.5),
    (b'{"st\\u0065p": 12, "episode/score": 3.5}', 12, 3.5),
    (b'{"step": 12, "episode/score": NaN}', 12, math.nan),
    (b'{"step": 12, "episode/score": -Infinity}', 12, math.nan),
    (b'{"step": 12, "episode/score": null}', 12, math.nan),
    (b'{"step": 12, "episode/score": "nan"}', 12, math.nan),
    (b'{"step": 12, "episode/score": 1e999}', 12, math.nan),
]


@pytest.mark.parametrize(("line", "step", "score"), GOOD)
def test_good_line_is_one_record_without_fault(line: bytes, step: int, score: float) -> None:
    """Whatever JSON allows for a step and a score is a good record."""
    (record,), kind = records_of(line, FORM)

    assert kind is None
    assert record.step == step
    assert record.score == score or (math.isnan(record.score) and math.isnan(score))


BAD = [
    (b'{"step": 12, "epi', "torn"),
    (b'{"step": ', "torn"),
    (b"garbage", "garbage"),
    (b'"episode/score": 3.5}', "garbage"),
    (b"\xff\xfe\x00\x01", "nul_bytes"),
    (b"\x00\x00\x00", "nul_bytes"),
    (b"\xc3\x28", "invalid_utf8"),
    (b"[12, 3.5]", "not_an_object"),
    (b"17", "not_an_object"),
    (b"{}", "missing_key"),
    (b'{"step": 12}', "missing_key"),
    (b'{"episode/score": 3.5}', "missing_key"),
    (b'{"outer": {"step": 12, "episode/score": 3.5}}', "missing_key"),
    (b'{"step": 12, "step": 13, "episode/score": 3.5}', "duplicate_key"),
    (b'{"step": 12, "episode/score": 1, "episode/score": 2}', "duplicate_key"),
    (b'{"step": 12.5, "episode/score": 3.5}', "bad_step"),
    (b'{"step": -12, "episode/score": 3.5}', "bad_step"),
    (b'{"step": true, "episode/score": 3.5}', "bad_step"),
    (b'{"step": null, "episode/score": 3.5}', "bad_step"),
    (b'{"step": NaN, "episode/score": 3.5}', "bad_step"),
    (b'{"step": 99999999999999999999, "episode/score": 3.5}', "bad_step"),
    (b'{"step": "twelve", "episode/score": 3.5}', "bad_step"),
    (b'{"step": 12, "episode/score": "high"}', "bad_score"),
    (b'{"step": 12, "episode/score": [3.5]}', "bad_score"),
    (b'{"step": 12, "episode/score": false}', "bad_score"),
    (b'{"step": 007, "episode/score": 3.5}', "garbage"),
    (b'{"step": 12, "episode/score": 3.}', "garbage"),
    (b'{"a":' * 5000, "torn"),
    (b"[" * 100_000, "garbage"),
    (b'{"step": ' + b"9" * 6000 + b', "episode/score": 1}', "garbage"),
]


@pytest.mark.parametrize(("line", "kind"), BAD, ids=lambda value: None if isinstance(value, bytes) else value)
def test_bad_line_is_named_by_its_kind(line: bytes, kind: str) -> None:
    """A line without a good record has a fault of the right kind."""
    assert records_of(line, FORM) == ([], kind)


SALVAGED = [
    (b'{"step": 2, "epi{"step": 3, "episode/score": 1.0}', "joined", [(3, 1.0, 16)]),
    (b'{"step": 3, "episode/score": 1.0}{"step": 4, "episode/score": 2.0}', "joined", [(3, 1.0, 0), (4, 2.0, 33)]),
    (b'{"step": 3, "episode/score": 1.0}xyz', "joined", [(3, 1.0, 0)]),
    (b'\x00\x00{"step": 3, "episode/score": 1.0}', "nul_bytes", [(3, 1.0, 2)]),
    (b'\xff{"step": 3, "episode/score": 1.0}', "invalid_utf8", [(3, 1.0, 1)]),
    ("{é{".encode() + b'{"step": 3, "episode/score": 1.0}', "joined", [(3, 1.0, 4)]),
    (b'{"s' * 3000 + b'{"step": 3, "episode/score": 1.0}', "joined", [(3, 1.0, 9000)]),
]


@pytest.mark.parametrize(("line", "kind", "found"), SALVAGED)
def test_good_record_in_a_bad_line_is_kept(line: bytes, kind: str, found: list[tuple[int, float, int]]) -> None:
    """A good record behind a torn start counts, and its byte position is exact."""
    assert records_of(line, FORM) == ([Record(step, score, None, place) for step, score, place in found], kind)


def test_blank_line_is_neither_record_nor_fault() -> None:
    """White space says nothing."""
    assert [records_of(line, FORM) for line in (b"", b" \t", b"\r", b"\xef\xbb\xbf")] == [([], None)] * 4


def test_other_keys_can_be_named() -> None:
    """A trainer of one's own names its step and its score."""
    form = LogFormat(step_key="frames", score_key="return", length_key="len")

    assert records_of(b'{"frames": 1, "return": 2, "len": 7}', form) == ([Record(1, 2.0, 7, 0)], None)
