"""A run that is asked to begin from nothing: what is put aside, and that it happens once."""

import os
import signal
from pathlib import Path

import pytest
from command_line import logged_steps, run_dir, run_words, said, started, starts
from fakes.fake_runs import wait_until

from orchestrator.attempts.attempt_log import write_attempt
from orchestrator.attempts.fresh_start import start_afresh
from sweeps.contracts import Attempt
from sweeps.files import read_records
from sweeps.layout import RunDir


def attempt(number: int, set_aside: str = "") -> Attempt:
    return Attempt(attempt=number, host="h", pid=1, started_at=0.0, set_aside=set_aside)


@pytest.fixture
def used(tmp_path: Path) -> RunDir:
    """A run directory with two attempts behind it."""
    run = RunDir(tmp_path)
    for path in (
        run.spec,
        run.scores,
        run.metrics,
        run.stdout,
        run.replay / "chunk.npz",
        run.checkpoints[0] / "latest",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    run.exit_status(1).parent.mkdir()
    run.exit_status(1).write_text("{}")
    write_attempt(run, attempt(1))
    write_attempt(run, attempt(2))
    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_moved_unless_asked(used: RunDir) -> None:
    """An ordinary attempt goes on from what is there."""
    before = names(used.path)

    assert start_afresh(used, 0) == ""
    assert names(used.path) == before


def test_logs_and_checkpoints_are_put_aside(used: RunDir) -> None:
    """What tells of the attempts stays, and so does the output, which goes on in one file."""
    assert start_afresh(used, 3) == "set_aside/3"

    assert names(used.path) == ["attempts", "attempts.jsonl", "run.json", "set_aside", "stdout.log"]
    assert names(used.set_aside(3)) == ["ckpt", "metrics.jsonl", "replay", "scores.jsonl"]
    assert (used.set_aside(3) / "scores.jsonl").read_text() == "scores.jsonl"


def test_an_attempt_that_was_lost_on_the_way_is_repeated(used: RunDir) -> None:
    """It had moved some files and is on no record: the next one moves the rest to the same place."""
    used.set_aside(3).mkdir(parents=True)
    used.scores.rename(used.set_aside(3) / "scores.jsonl")

    assert start_afresh(used, 3) == "set_aside/3"
    assert names(used.set_aside(3)) == ["ckpt", "metrics.jsonl", "replay", "scores.jsonl"]


def test_once_on_record_it_is_not_repeated(used: RunDir) -> None:
    """Later attempts go on from what the fresh one has made; a further request puts that aside as well."""
    start_afresh(used, 3)
    write_attempt(used, attempt(3, "set_aside/3"))
    used.scores.write_text("new")

    assert start_afresh(used, 3) == ""
    assert used.scores.read_text() == "new"
    assert start_afresh(used, 4) == "set_aside/4"
    assert (used.set_aside(4) / "scores.jsonl").read_text() == "new"


def test_a_failed_run_begins_anew_when_it_is_asked_to(
    tmp_path: Path, gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its earlier rows leave the dataset and are kept aside; a plain retry would have gone on from them."""
    root, folder = tmp_path / "root", run_dir(tmp_path / "root")
    words = run_words(root, "steps=30", "flags.step_s=0.03", "retry.out_of_memory=0", "hold_after=null")
    with started(*words) as sweep:
        wait_until(lambda: len(logged_steps(root)) > 3)
        os.kill(starts(root)[0], signal.SIGKILL)
        assert sweep.wait(timeout=60) == 2
    gate.touch()
    before = folder.scores.read_bytes()

    assert said(capsys, "retry", str(root), "--run", "*/0", "--fresh")[0] == 0
    code, out, _ = said(capsys, *words)

    assert code == 0
    assert [Attempt.from_json(record).set_aside for record in read_records(folder.attempts)] == ["", "set_aside/2"]
    assert (folder.set_aside(2) / "scores.jsonl").read_bytes() == before
    assert logged_steps(root) == list(range(1, 31))
    assert "30 episodes of 1 run" in out


def test_fresh_is_for_a_retry_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pausing or cancelling a run puts nothing aside."""
    with pytest.raises(SystemExit):
        said(capsys, "pause", str(tmp_path), "--all", "--fresh")
