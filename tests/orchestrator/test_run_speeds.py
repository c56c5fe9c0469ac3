"""How fast earlier runs went, as their logs tell."""

import json
from pathlib import Path

import pytest

from orchestrator.command_line.run_speeds import run_speeds
from sweeps.contracts import RunKey, RunSpec, Schedule, TrainerSource
from sweeps.cost import Measurement
from sweeps.layout import RunDir, SweepRoot


def past_run(root: Path, seed: int = 0, *, done: bool = True) -> RunDir:
    """A run of 2,000 steps whose only attempt took 30 seconds."""
    key = RunKey(suite="gym", task="gym_CartPole-v1", label="plain_tr16", seed=seed)
    spec = RunSpec(
        key=key,
        method="plain",
        train_ratio=16.0,
        trainer_task="gym_CartPole-v1",
        schedule=Schedule(steps=2000),
        source=TrainerSource(adapter="dreamer_pypi"),
    )
    run_dir = SweepRoot(root).run_dir(key)
    run_dir.path.mkdir(parents=True)
    run_dir.spec.write_text(json.dumps(spec.to_json()))
    run_dir.attempts.write_text(json.dumps({"attempt": 1, "started_at": 100.0, "ended_at": 130.0}) + "\n")
    lines = [
        f'{{"step": 1, "train/opt/loss": NaN, "fps/policy": {speed}, "fps/train": 7.0}}\n'
        for speed in (5.0, 100.0, 100.0)
    ]
    run_dir.metrics.write_text("".join(lines))
    if done:
        run_dir.done.touch()
    return run_dir


def test_speed_and_start_up_come_from_the_logs(tmp_path: Path) -> None:
    """The first figure counts the compilation; what the attempt took beside training is start-up."""
    past_run(tmp_path)

    assert list(run_speeds([tmp_path])) == [
        Measurement(
            suite="gym",
            method="plain",
            train_ratio=16.0,
            policy_steps_per_s=100.0,
            startup_s=10.0,
            root=str(tmp_path),
        )
    ]


def test_a_run_that_has_not_ended_tells_its_speed(tmp_path: Path) -> None:
    """Its start-up is not known."""
    past_run(tmp_path, done=False)

    assert [(one.policy_steps_per_s, one.startup_s) for one in run_speeds([tmp_path])] == [(100.0, None)]


def test_a_program_without_metrics_is_measured_by_its_attempt(tmp_path: Path) -> None:
    """2,000 steps in 30 seconds from start to end."""
    past_run(tmp_path).metrics.unlink()

    assert [(one.policy_steps_per_s, one.startup_s) for one in run_speeds([tmp_path])] == [
        (pytest.approx(2000 / 30), pytest.approx(0.0))
    ]


@pytest.mark.parametrize("file", ["spec", "attempts"])
def test_what_cannot_be_read_tells_nothing(tmp_path: Path, file: str) -> None:
    """A run with a torn file is left out."""
    past_run(tmp_path, 0)
    getattr(past_run(tmp_path, 1), file).write_text('{"torn')

    assert len(list(run_speeds([tmp_path]))) == 1


def test_three_runs_of_a_label_are_enough(tmp_path: Path) -> None:
    """A plan does not read a thousand logs."""
    for seed in range(5):
        past_run(tmp_path, seed)

    assert len(list(run_speeds([tmp_path, tmp_path / "nowhere"]))) == 3
