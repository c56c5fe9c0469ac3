"""Reading a log: every good record and every fault by its place, whichever way it is read."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_builders import line, log_text

import aggregation.logs.reader as reader_module
from aggregation.logs.log_format import LogFormat
from aggregation.logs.reader import Place, read_log
from aggregation.logs.record import records_of
from aggregation.logs.template import Template

FORM = LogFormat()


def rows_and_faults(path: Path, *, is_over: bool = False, form: LogFormat = FORM) -> tuple[list[Any], list[Any], Place]:
    place = Place()
    rows: list[Any] = []
    faults: list[Any] = []
    for block in read_log(path, form, place=place, is_over=is_over):
        scores = [None if score != score else score for score in block.scores.tolist()]
        rows += zip(block.starts.tolist(), block.steps.tolist(), scores, strict=True)
        faults += [(fault.kind, fault.line, fault.offset, fault.kept) for fault in block.faults]
    return rows, faults, place


def expected(content: bytes) -> tuple[list[Any], list[Any]]:
    """What the exact reader of lines makes of complete lines, one by one."""
    rows: list[Any] = []
    faults: list[Any] = []
    offset = 0
    for number, text in enumerate(content.split(b"\n")[:-1], start=1):
        records, kind = records_of(text, FORM)
        rows += [(offset + r.position, r.step, None if r.score != r.score else r.score) for r in records]
        if kind is not None:
            faults.append((kind, number, offset, len(records)))
        offset += len(text) + 1
    return rows, faults


NUMBERS = st.one_of(
    st.integers(0, 2**64).map(str),
    st.floats(width=32).map(repr),
    st.floats().map(repr),
    st.sampled_from(
        [
            "0",
            "00",
            "007",
            "-0",
            "-0.0",
            "0.0",
            "1.",
            ".5",
            "-.5",
            "+1",
            "1e5",
            "1E5",
            "5e-324",
            "1e999",
            "NaN",
            "-Infinity",
            "null",
            "true",
            "1.2.3",
            "1-2",
            "--",
            "-",
            "0x1F",
            "1_000",
            "0.1000000000000000055511151231257827",
            "123456789012345678",
            "1234567890123456789",
            "271.97601318359375",
        ]
    ),
    st.just(""),
)
ORDINARY = st.builds(
    lambda step, score: f'{{"step": {step}, "episode/score": {score}}}'.encode(),
    st.integers(0, 10**9),
    st.floats(-1e6, 1e6, width=32),
)
ODD = st.builds(
    lambda template, step, score: template.replace("S", step).replace("V", score).encode(),
    st.sampled_from(
        [
            '{"step": S, "episode/score": V}',
            '{"step": S, "episode/score": V}\r',
            '{"step":S,"episode/score":V}',
            '{"step": S , "episode/score": V}',
            '{"episode/score": V, "step": S}',
            '{"step": S, "episode/score": V, "episode/length": S}',
            '{"step": S, "episode/score": V, "x": "a,b"}',
            '{"step": S, "epi{"step": S, "episode/score": V}',
            '{"step": S, "episode/score": V}{"step": S, "episode/score": V}',
            '{"stop": S, "episode/score": V}',
            ', {"step": S "episode/score": V}',
            '{"step": S, "episode/score": V',
        ]
    ),
    NUMBERS,
    NUMBERS,
)
NOISE = st.one_of(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), ODD)
LINES = st.lists(st.one_of(ORDINARY, ORDINARY, ORDINARY, NOISE), max_size=30)


@settings(deadline=None, max_examples=400)
@given(lines=LINES, size=st.sampled_from([7, 64, 1 << 19]))
def test_fast_and_exact_reading_agree_on_any_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], size: int
) -> None:
    """However a file is cut into blocks, it gives the rows and faults of its lines read one by one."""
    content = b"".join(text + b"\n" for text in lines)
    path = tmp_path_factory.getbasetemp() / "agree.jsonl"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "BLOCK_BYTES", size)
        rows, faults, place = rows_and_faults(path)

    assert (rows, faults) == expected(content)
    assert (place.offset, place.lines, place.pending_bytes) == (len(content), len(lines), 0)


@settings(deadline=None, max_examples=300)
@given(lines=st.lists(ODD, min_size=1, max_size=12))
def test_template_of_any_line_agrees_with_the_exact_reader(lines: list[bytes]) -> None:
    """What a template accepts is what the exact reader reads; what it does not accept it leaves alone."""
    templates = [Template.from_line(text, FORM) for text in lines]
    block = b"".join(text + b"\n" for text in lines)
    for template in filter(None, templates):
        found = template.read(block)
        for index, step, score in zip(found.index.tolist(), found.steps.tolist(), found.scores.tolist(), strict=True):
            records, kind = records_of(lines[index], FORM)
            assert kind is None
            assert [(r.step, r.score) for r in records] == [(step, score)]


@settings(deadline=None, max_examples=300)
@given(
    lines=st.lists(st.tuples(ORDINARY, st.integers(0, 60), st.sampled_from([b"", b"7", b"0", b".", b"-", b"12"]))),
    colon=st.sampled_from([b": ", b":", b":  "]),
)
def test_digit_amid_the_text_is_no_number(lines: list[tuple[bytes, int, bytes]], colon: bytes) -> None:
    """Where only digits were put in, a block without them is regular; still each line is read as it stands."""
    texts = [text.replace(b": ", colon)[:at] + piece + text.replace(b": ", colon)[at:] for text, at, piece in lines]
    block = b"".join(text + b"\n" for text in texts)
    template = Template.from_line(line(1)[:-1].replace(b": ", colon), FORM)
    assert template is not None
    found = template.read(block)

    for index, step, score in zip(found.index.tolist(), found.steps.tolist(), found.scores.tolist(), strict=True):
        records, kind = records_of(texts[index], FORM)
        assert (kind, [(r.step, r.score) for r in records]) == (None, [(step, score)])


def test_ordinary_lines_are_read_by_the_template() -> None:
    """The fast path takes every line of the usual form, negative, whole and long scores included."""
    scores = [0.0, -1.5, 271.97601318359375, 27.0, 1.099999986588955, -0.25, 1000.0]
    block = log_text((step * 1000, score) for step, score in enumerate(scores))
    template = Template.from_line(block.split(b"\n")[0], FORM)

    assert template is not None
    found = template.read(block)
    assert found.index.tolist() == list(range(len(scores)))
    assert found.scores.tolist() == scores


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_file_cut_at_any_byte_reads_as_a_prefix(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A growing file never shows a row that it will not have when it is whole."""
    lines = data.draw(st.lists(ORDINARY, min_size=1, max_size=8))
    content = b"".join(text + b"\n" for text in lines)
    cut = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    path.write_bytes(content)
    whole, _, _ = rows_and_faults(path)
    path.write_bytes(content[:cut])
    rows, faults, place = rows_and_faults(path)

    assert faults == []
    assert rows == whole[: len(rows)]
    assert len(rows) >= content[:cut].count(b"\n")
    assert place.offset == (cut if place.in_line else content[:cut].rfind(b"\n") + 1)
    assert place.in_line == (len(rows) > content[:cut].count(b"\n"))


def test_torn_last_line_waits_until_the_run_is_over(tmp_path: Path) -> None:
    """An incomplete tail is pending while the file may grow, and a fault once it cannot."""
    path = tmp_path / "scores.jsonl"
    path.write_bytes(line(1) + b'{"step": 2, "epi')

    assert rows_and_faults(path)[1:] == ([], Place(offset=34, lines=1, pending_bytes=16))
    assert rows_and_faults(path, is_over=True)[1] == [("torn_tail", 2, 34, 0)]


def test_whole_last_line_without_newline_is_kept(tmp_path: Path) -> None:
    """A record is a record before its newline comes."""
    path = tmp_path / "scores.jsonl"
    path.write_bytes(line(1) + line(2)[:-1])

    assert [step for _, step, _ in rows_and_faults(path)[0]] == [1, 2]


def test_empty_file_has_neither_rows_nor_faults(tmp_path: Path) -> None:
    """The trainer makes the file before it has anything to say."""
    path = tmp_path / "scores.jsonl"
    path.touch()

    assert rows_and_faults(path, is_over=True) == ([], [], Place())


def test_very_long_line_is_searched_without_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line too long to hold is one fault, and good records in it, also across windows, are kept."""
    monkeypatch.setattr(reader_module, "BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(reader_module, "LONG_LINE_BYTES", 1 << 14)
    monkeypatch.setattr(reader_module, "_OVERLAP_BYTES", 1 << 8)
    junk = b"x" * 30_000
    content = line(1) + junk + line(2)[:-1] + junk + line(3)[:-1] + b"\n" + line(4)
    path = tmp_path / "scores.jsonl"
    path.write_bytes(content)
    rows, faults, place = rows_and_faults(path)

    start = len(line(1))
    assert [step for _, step, _ in rows] == [1, 2, 3, 4]
    assert [start for start, _, _ in rows][1:3] == [start + 30_000, start + 60_000 + len(line(2)) - 1]
    assert faults == [("long_line", 2, start, 2)]
    assert (place.offset, place.lines) == (len(content), 3)


def test_a_sparse_gap_of_nul_bytes_is_one_fault(tmp_path: Path) -> None:
    """After a power cut a file may hold 100 MB of NUL bytes before the next good line."""
    path = tmp_path / "scores.jsonl"
    with path.open("wb") as file:
        file.write(line(1))
        file.seek(100_000_000)
        file.write(line(2) + line(3))
    rows, faults, _ = rows_and_faults(path)

    assert [step for _, step, _ in rows] == [1, 2, 3]
    assert faults == [("long_line", 2, len(line(1)), 1)]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_log_reads_as_the_plain_one(tmp_path: Path, suffix: str) -> None:
    """Compressing a finished log changes nothing about it."""
    content = log_text((step, step / 8) for step in range(5000))
    plain, packed = tmp_path / "scores.jsonl", tmp_path / f"scores.jsonl{suffix}"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content) if suffix == ".gz" else pa.compress(content, "zstd", asbytes=True))

    assert rows_and_faults(packed) == rows_and_faults(plain)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_log_that_breaks_off_keeps_what_came_before(tmp_path: Path, suffix: str) -> None:
    """A copy that was cut short is told and read as far as it goes."""
    rng = np.random.default_rng(0)
    content = log_text((step, float(score)) for step, score in enumerate(rng.normal(size=50_000)))
    data = gzip.compress(content) if suffix == ".gz" else pa.compress(content, "zstd", asbytes=True)
    path = tmp_path / f"scores.jsonl{suffix}"
    path.write_bytes(data[: len(data) // 2])
    rows, faults, _ = rows_and_faults(path)

    assert 0 < len(rows) < 50_000
    assert [kind for kind, *_ in faults] == ["broken_archive"]


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Line numbers and offsets go on behind the last complete line."""
    path = tmp_path / "scores.jsonl"
    path.write_bytes(line(1) + b'{"step": 2, "epi')
    place = Place()
    list(read_log(path, FORM, place=place))
    with path.open("ab") as file:
        file.write(line(3))
    (block,) = read_log(path, FORM, place=place)

    assert block.steps.tolist() == [3]
    assert [(fault.kind, fault.line, fault.offset) for fault in block.faults] == [("joined", 2, len(line(1)))]
