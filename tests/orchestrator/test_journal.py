"""The journal: what survives a crash at any byte, and what is refused."""

import json
import os
from pathlib import Path

import pytest

from orchestrator.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    NodeJoined,
    RunPlanned,
    StopRequested,
    SweepOpened,
    event_to_json,
)
from orchestrator.journal import Journal, read_journal
from orchestrator.policy import Limits
from sweeps.contracts import Resources, RunKey
from sweeps.errors import JournalError, RootLockedError

KEY = RunKey(suite="gym", task="bsuite/cart-pole", label="dreamerv3_tr0.5", seed=3)
EVENTS: list[Event] = [
    SweepOpened(at=1.5, sweep_id="s", host="höst", pid=1, limits=Limits(max_concurrent=2, retries={"crashed": 1})),
    RunPlanned(at=2.0, key=KEY, group="dreamerv3 × gym", resources=Resources(gpus=0.5, custom={"licence": 1.0})),
    NodeJoined(at=3.0, node="n", cpus=2.0, custom={"licence": 2.0}),
    AttemptStarted(at=4.0, key=KEY, attempt=1, host="h", pid=2, resumed_step=None),
    AttemptEnded(at=5.0, key=KEY, attempt=1, outcome="crashed", cause="a\nb\u2028c", evidence=("x", "y\r")),
]


def write(path: Path, events: list[Event]) -> None:
    with Journal(path) as journal:
        journal.append(events)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_an_absent_journal_holds_nothing(path: Path) -> None:
    """A fresh root has no journal, and reading it creates none."""
    assert list(read_journal(path)) == []
    assert not path.exists()


def test_what_is_written_is_read(path: Path) -> None:
    """Every field of every event comes back, across several openings."""
    write(path, EVENTS[:2])
    write(path, [])
    write(path, EVENTS[2:])

    assert list(read_journal(path)) == EVENTS


def test_an_event_is_one_line(path: Path) -> None:
    """Causes with line breaks of any kind stay within their line."""
    write(path, EVENTS)

    assert len(path.read_bytes().split(b"\n")) == len(EVENTS) + 1
    assert json.loads(path.read_text().split("\n")[1]) == json.loads(json.dumps(event_to_json(EVENTS[1])))


def test_cut_at_any_byte_it_reads_as_a_prefix(path: Path) -> None:
    """A crash while an event is written loses that event, which had no effect yet, and no other."""
    write(path, EVENTS)
    data = path.read_bytes()

    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])

        assert list(read_journal(path)) == EVENTS[: data[:cut].count(b"\n")], cut


def test_a_writer_goes_on_behind_any_cut(path: Path) -> None:
    """The torn end is cut off before anything is appended, so that no line is ever joined to half of another."""
    write(path, EVENTS)
    data = path.read_bytes()
    last = StopRequested(at=9.0)

    for cut in range(0, len(data) + 1, 7):
        path.write_bytes(data[:cut])
        write(path, [last])

        assert list(read_journal(path)) == [*EVENTS[: data[:cut].count(b"\n")], last], cut


def test_a_long_torn_end_is_cut_off_whole(path: Path) -> None:
    """Also where the torn line is longer than what is read at once."""
    write(path, EVENTS)
    with path.open("ab") as file:
        file.write(b"x" * 200_000)
    write(path, [StopRequested(at=9.0)])

    assert list(read_journal(path)) == [*EVENTS, StopRequested(at=9.0)]


@pytest.mark.parametrize(
    "garbage",
    [
        b"not json",
        b'{"event": "RunExploded", "at": 1.0}',
        b'{"event": "StopRequested"}',
        b'{"event": "StopRequested", "at": 1.0, "mood": "bad"}',
        b'{"at": 1.0}',
        b"[]",
        b"null",
        b"\x00" * 12,
        b"\xff\xfe",
        b"",
        b'{"event": "RunFoundDone", "at": 1.0, "key": "a/b"}',
    ],
)
def test_garbage_in_the_middle_is_refused_with_its_place(path: Path, garbage: bytes) -> None:
    """Events behind a line that cannot be read would be applied to a state that never was."""
    write(path, EVENTS)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], garbage, *lines[2:]]))

    with pytest.raises(JournalError, match=r"journal\.jsonl:3 is no event .* new root=") as refusal:
        list(read_journal(path))

    assert "\n" not in str(refusal.value)


def test_who_was_taken_for_dead_writes_nothing_more(path: Path) -> None:
    """Another orchestrator may have gone on with the journal meanwhile."""

    def check() -> None:
        if path.stat().st_size:
            raise RootLockedError("taken over")

    with Journal(path, check) as journal:
        journal.append(EVENTS[:1])
        with pytest.raises(RootLockedError):
            journal.append(EVENTS[1:])

    assert list(read_journal(path)) == EVENTS[:1]


def test_a_failed_append_leaves_a_torn_end_at_most(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk a part of a line may be written; what is appended once there is room again is not joined to it."""
    write_some = os.write

    def write_half(descriptor: int, data: memoryview) -> int:
        if len(data) > 20:
            return write_some(descriptor, data[:20])
        raise OSError(28, "No space left on device")

    with Journal(path) as journal:
        journal.append(EVENTS[:1])
        # The disk itself is the fake here: a real full one is in test_cli.py.
        monkeypatch.setattr(os, "write", write_half)
        with pytest.raises(OSError, match="No space left") as told:
            journal.append(EVENTS[1:2])
        assert told.value.filename == str(path)
        monkeypatch.undo()
        journal.append(EVENTS[2:])

    assert list(read_journal(path)) == [EVENTS[0], *EVENTS[2:]]


def test_a_journal_that_somebody_else_wrote_to_is_left_alone(path: Path) -> None:
    """An orchestrator that slept while another one came, drove the root and went: what it knows is stale."""
    with Journal(path) as journal:
        journal.append(EVENTS[:1])
        with Journal(path) as other:
            other.append(EVENTS[1:2])
        with pytest.raises(JournalError, match="another one has driven the root meanwhile"):
            journal.append(EVENTS[2:])

    assert list(read_journal(path)) == EVENTS[:2]
