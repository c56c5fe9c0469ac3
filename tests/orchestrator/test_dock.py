"""The orchestrator's end of shipping: in which order things come to the root, and what an attempt is told of it."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.fake_runs import fake_run

from orchestrator.attempts.attempt_log import write_attempt
from orchestrator.attempts.dock import Dock, check_storage
from orchestrator.attempts.shipping import Chunk, Parcel
from orchestrator.root import read_spec
from sweeps.contracts import Attempt, RunSpec
from sweeps.errors import RootError
from sweeps.files import read_records
from sweeps.layout import RunDir, SweepRoot
from sweeps.settings import StorageSettings

STORAGE = StorageSettings(kind="ship", checkpoints="s3://bucket/path")
EXIT = json.dumps({"exit_code": 0, "stopped": ""}).encode()


@pytest.fixture
def root(tmp_path: Path) -> SweepRoot:
    return SweepRoot(tmp_path / "root")


@pytest.fixture
def spec() -> RunSpec:
    return fake_run()


@pytest.fixture
def dock(root: SweepRoot) -> Dock:
    return Dock(root, "s", STORAGE)


@pytest.fixture
def folder(root: SweepRoot, spec: RunSpec) -> RunDir:
    return root.run_dir(spec.key)


def record(number: int, *, outcome: str | None = None, **log_bytes: int) -> Attempt:
    offsets = {f"{name}.jsonl": size for name, size in log_bytes.items()}
    ended_at = None if outcome is None else 9.0
    return Attempt(
        attempt=number, host="h", pid=7, started_at=1.0, ended_at=ended_at, outcome=outcome, log_bytes=offsets
    )


def scores(offset: int, data: bytes) -> tuple[Chunk]:
    return (Chunk("scores.jsonl", offset, data),)


def lines(folder: RunDir) -> list[Attempt]:
    return [Attempt.from_json(line) for line in read_records(folder.attempts)]


def test_a_new_run_is_handed_over_empty(dock: Dock, spec: RunSpec, folder: RunDir) -> None:
    """Where its checkpoints go, and that there is nothing yet."""
    given = dock.hand_over(spec, 1, 0)

    assert (given.store, given.folder) == ("s3://bucket/path", "s/gym/gym_CartPole-v1/fake/0")
    assert (given.sizes, given.torn, given.seams, given.checkpoint, given.is_over) == ({}, frozenset(), {}, "", False)
    assert json.loads(folder.shipped.read_text()) == {"attempt": 1, "sizes": {}, "since": 0, "checkpoint": ""}


def test_a_run_is_handed_over_as_it_stands(dock: Dock, spec: RunSpec) -> None:
    """Sizes, torn ends, where each attempt began, and the checkpoint that must be in the store."""
    dock.hand_over(spec, 1, 0)
    dock.take(spec.key, 1, Parcel(record=record(1, scores=0), chunks=scores(0, b'{"step": 1}\n{"st'), checkpoint="a"))

    given = dock.hand_over(spec, 2, 0)

    assert given.sizes == {"scores.jsonl": 16}
    assert given.torn == {"scores.jsonl"}
    assert given.seams == {1: {"scores.jsonl": 0}}
    assert given.checkpoint == "a"


def test_the_line_of_an_attempt_comes_before_its_bytes(
    dock: Dock, spec: RunSpec, folder: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it they would count as an earlier attempt's; an orchestrator may die in between."""
    dock.hand_over(spec, 1, 0)
    monkeypatch.setattr("orchestrator.attempts.dock._append", _fail)

    with pytest.raises(OSError, match="No space left"):
        dock.take(spec.key, 1, Parcel(record=record(1, scores=0), chunks=scores(0, b"{}\n")))

    assert [line.attempt for line in lines(folder)] == [1]


def _fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_end_is_on_record_when_all_has_arrived(
    dock: Dock, spec: RunSpec, folder: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the outcome, nor the exit status, nor the marker comes before the last byte."""
    dock.hand_over(spec, 1, 0)
    whole = Parcel(
        record=record(1, outcome="succeeded", scores=0), chunks=scores(0, b"{}\n"), exit_status=EXIT, is_all=True
    )
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.attempts.dock._append", _fail)
        with pytest.raises(OSError, match="No space left"):
            dock.take(spec.key, 1, whole)
    assert [line.outcome for line in lines(folder)] == [None]
    assert not folder.exit_status(1).exists()
    assert not folder.done.exists()

    dock.take(spec.key, 1, whole)

    assert [line.outcome for line in lines(folder)] == ["succeeded"]
    assert folder.exit_status(1).read_bytes() == EXIT
    assert json.loads(folder.done.read_text()) == {"attempt": 1, "ended_at": 9.0}
    assert folder.scores.read_bytes() == b"{}\n"


def test_an_end_that_nobody_marked_is_marked(root: SweepRoot, spec: RunSpec, folder: RunDir) -> None:
    """The orchestrator died between the exit status and the marker: the next attempt has nothing to train."""
    dock = Dock(root, "s", STORAGE)
    dock.hand_over(spec, 1, 0)
    dock.take(spec.key, 1, Parcel(record=record(1, outcome="succeeded"), exit_status=EXIT, is_all=True))
    folder.done.unlink()

    again = Dock(root, "s", STORAGE)
    assert again.hand_over(spec, 2, 0).is_over
    again.take(spec.key, 2, Parcel(is_all=True))

    assert folder.done.exists()


def test_a_failure_is_no_success(dock: Dock, spec: RunSpec, folder: RunDir) -> None:
    """Losses that were NaN, say: the program itself ended with 0."""
    dock.hand_over(spec, 1, 0)
    dock.take(spec.key, 1, Parcel(record=record(1, outcome="diverged"), exit_status=EXIT, is_all=True))

    assert not folder.done.exists()
    assert not dock.hand_over(spec, 2, 0).is_over


def test_the_spec_is_frozen_by_the_first_attempt(dock: Dock, spec: RunSpec, folder: RunDir) -> None:
    """It adds its host. Until then the root knows what was launched; other small files follow the trainer."""
    dock.hand_over(spec, 1, 0)
    assert read_spec(folder) == spec
    for number in (b"1", b"2"):
        dock.take(spec.key, 1, Parcel(files={"run.json": number, "config.yaml": number}, record=record(1)))

    assert folder.spec.read_bytes() == b"1"
    assert (folder.path / "config.yaml").read_bytes() == b"2"


def test_a_file_that_lost_bytes_is_filled_up(
    dock: Dock, spec: RunSpec, folder: RunDir, caplog: pytest.LogCaptureFixture
) -> None:
    """A host that went down, or a hand that cut it: what comes next stays where attempts.jsonl says it is."""
    dock.hand_over(spec, 1, 0)
    with caplog.at_level(logging.WARNING):
        dock.take(spec.key, 1, Parcel(record=record(1), chunks=scores(4, b"{}\n")))

    assert folder.scores.read_bytes() == b"\n\n\n\n{}\n"
    assert "has lost 4 bytes" in caplog.text


def test_an_attempt_may_have_begun_once_it_was_handed_over(dock: Dock, spec: RunSpec) -> None:
    """Its lease must run out before another one starts, even if it never said a word."""
    assert not dock.was_handed_over(spec.key, 1)
    dock.hand_over(spec, 1, 0)
    assert dock.was_handed_over(spec.key, 1)
    assert not dock.was_handed_over(spec.key, 2)


def test_a_fresh_start_forgets_what_was(dock: Dock, spec: RunSpec, folder: RunDir) -> None:
    """Its logs begin anew, and checkpoints of earlier attempts are not gone on from; also not by later ones."""
    dock.hand_over(spec, 1, 0)
    dock.take(spec.key, 1, Parcel(record=record(1, scores=0), chunks=scores(0, b"{}\n"), checkpoint="a"))

    fresh = dock.hand_over(spec, 2, 2)
    assert (fresh.sizes, fresh.seams, fresh.since, fresh.checkpoint) == ({}, {}, 2, "")
    assert fresh.set_aside == "set_aside/2"
    set_aside = replace(record(2, scores=0), set_aside=fresh.set_aside)
    dock.take(spec.key, 2, Parcel(record=set_aside, chunks=scores(0, b"[]\n"), checkpoint="b"))
    later = dock.hand_over(spec, 3, 2)

    assert (folder.set_aside(2) / "scores.jsonl").read_bytes() == b"{}\n"
    assert folder.scores.read_bytes() == b"[]\n"
    assert (later.sizes, later.since, later.checkpoint, later.set_aside) == ({"scores.jsonl": 3}, 2, "b", "")
    assert later.seams == {2: {"scores.jsonl": 0}}


def test_trouble_with_the_store_is_told_once(dock: Dock, spec: RunSpec, caplog: pytest.LogCaptureFixture) -> None:
    """Until it is another one, or comes again."""
    dock.hand_over(spec, 1, 0)
    with caplog.at_level(logging.WARNING):
        for trouble in ("no route", "no route", "", "no route"):
            dock.take(spec.key, 1, Parcel(trouble=trouble))

    assert caplog.text.count("its checkpoints cannot be stored: no route") == 2


@pytest.mark.parametrize(("before", "now"), [("ship", "shared"), ("shared", "ship")])
def test_storages_are_not_mixed_in_a_run(root: SweepRoot, spec: RunSpec, folder: RunDir, before: str, now: str) -> None:
    """One that is done may be of either."""
    folder.path.mkdir(parents=True)
    write_attempt(folder, record(1))
    if before == "ship":
        Dock(root, "s", STORAGE).hand_over(spec, 1, 0)
    other = STORAGE if now == "ship" else StorageSettings()

    with pytest.raises(RootError, match=f"was begun with storage={before}"):
        check_storage(root, [spec.key], other)
    folder.done.write_text("{}")
    check_storage(root, [spec.key], other)
