"""`dreamsweep nightly` over several nights, with a trainer whose level drops when it is told to."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import said

from aggregation.verdicts.night_history import NightRun, read_history, write_history
from sweeps.layout import NightlyRoot

TRAINER = Path(__file__).parents[1] / "fakes" / "noisy_trainer.py"
TASKS = "dmc_walker_walk,dmc_cheetah_run,dmc_finger_spin"


def words(
    root: Path, revision: str, *options: str, level: float = 100.0, seeds: str = "0,1", more: str = ""
) -> list[str]:
    command = f"{sys.executable} {TRAINER} --run_dir {{run_dir}} --seed {{seed}} --task {{task}} --steps {{steps}}"
    return [
        "nightly",
        "suite=dmc_proprio",
        f"task={TASKS}",
        f"seed={seeds}",
        "trainer=command",
        f"trainer.command='{command} --level {level} {more}'",
        f"trainer.revision={revision}",
        "cluster=process",
        "cluster.cpus=4",
        "canary=false",
        "steps=160",
        "retry.crashed=0",
        f"root={root}",
        *options,
    ]


def night(capsys: pytest.CaptureFixture[str], *args: Any, **kwargs: Any) -> tuple[int, dict[str, Any]]:
    """Exit code and what is told of a night."""
    code, out, err = said(capsys, *words(*args, **kwargs), "--json")
    assert out, err
    found: dict[str, Any] = json.loads(out)
    return code, found


def with_history(root: Path, nights: int) -> None:
    """Let the first night that was really run stand for several, each with luck of its own."""
    path = NightlyRoot(root).history
    source = np.random.default_rng(0)
    first = read_history(path)
    rows: list[NightRun] = []
    for number in range(1, nights + 1):
        rows += [
            replace(run, night=number, score=float(source.normal(100, 10)), verdict="fine", revision=f"r{number}")
            for run in first
        ]
    write_history(path, rows)


def test_a_regression_is_confirmed_with_fresh_seeds_and_stands_until_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first night has nothing beside it; a healthy one is fine; a level that drops by a quarter exits with 4."""
    root = tmp_path / "nightly"
    code, first = night(capsys, root, "r1")
    assert (code, first["verdict"], first["done"]) == (0, "too little history", 6)
    assert "unchanged, nothing to run. It was not judged.\n" in said(capsys, *words(root, "r1"))[1]
    with_history(root, 8)

    code, healthy = night(capsys, root, "r9", level=103)
    assert (code, healthy["verdict"], healthy["night"]) == (0, "fine", 9)
    assert healthy["compared_nights"] == list(range(1, 9))
    assert 0 < healthy["smallest"] < 0.3

    code, worse = night(capsys, root, "r10", level=75)
    assert (code, worse["verdict"], worse["before"]) == (4, "regression", "r9")
    assert (worse["done"], worse["fresh"], worse["failed"]) == (15, 9, 0)
    assert worse["change"] < -0.15
    assert Path(worse["report"]).read_text(encoding="utf-8").startswith("<!")
    rows = read_history(NightlyRoot(root).history)
    assert {run.seed for run in rows if run.night == 10} == {10_000, 10_001, 10_500, 10_501, 10_502}

    code, out, _ = said(capsys, *words(root, "r10", level=75))
    assert (code, "unchanged, nothing to run" in out, "stands as regression" in out) == (4, True, True)

    code, out, _ = said(capsys, *words(root, "r10", "--accept", "--json", level=75))
    told = json.loads(out)
    assert (code, told["accepted"], told["baseline"]) == (0, [10], 10)
    assert told["summary"].startswith("night 10: accepted as the new level.")
    assert said(capsys, *words(root, "r10", level=75))[0] == 0


def test_a_night_is_continued_and_not_begun_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that was cut off before its verdict keeps its folder and its seeds, and nothing is run twice."""
    root = tmp_path / "nightly"
    assert night(capsys, root, "r1")[1]["night"] == 1
    record = NightlyRoot(root).night("0001-r1").path / "night.json"
    cut_off = {
        name: json.loads(record.read_text())[name] for name in ("night", "name", "digest", "revision", "own_seeds")
    }
    record.write_text(json.dumps(cut_off))
    started = (NightlyRoot(root).night("0001-r1").journal).read_bytes().count(b"AttemptStarted")

    code, again = night(capsys, root, "r1")
    assert (code, again["night"], again["done"]) == (0, 1, 6)
    assert NightlyRoot(root).night("0001-r1").journal.read_bytes().count(b"AttemptStarted") == started


def test_a_task_that_fails_is_no_regression_and_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It exits with 2, and the summary says so."""
    root = tmp_path / "nightly"
    code, told = night(capsys, root, "r1", more="--fails_on dmc_finger_spin")

    assert (code, told["done"], told["failed"]) == (2, 4, 2)
    assert "2 FAILED\n2 failed: The trainer failed: RuntimeError: the reward is a teapot" in told["summary"]
    assert sum(run.score is None for run in read_history(NightlyRoot(root).history)) == 2


def test_a_night_without_a_single_score_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trainer that calls its scores otherwise from tonight on would be fine for ever."""
    root = tmp_path / "nightly"
    code, told = night(capsys, root, "r1", "trainer.score_key=renamed")

    assert (code, told["done"], told["unscored"]) == (2, 6, 6)
    assert "6 runs WITHOUT A SCORE" in told["summary"]
    assert night(capsys, root, "r1", "trainer.score_key=renamed")[0] == 2


def test_what_cannot_be_a_nightly_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is run."""
    root = tmp_path / "nightly"
    for said_of_it, line in {
        "names no revision": words(root, "''"),
        "is too large": words(root, "r1", seeds="[900]"),
        "nightly.alpha": words(root, "r1", "nightly.alpha=2"),
        "nothing to accept": words(root, "r1", "--accept"),
    }.items():
        code, _, err = said(capsys, *line)
        assert (code, said_of_it in err) == (1, True), err
