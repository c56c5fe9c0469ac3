"""The real trainer, killed again and again in the middle of a sweep."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

_KILLS = 4
_OVERRIDES = [
    "cluster=process",
    "trainer=dreamer_pypi",
    "method=random",
    "suite=gym",
    "task=gym_CartPole-v1",
    "steps=40000",
    "trainer.log_every_s=1",
    "trainer.save_every_s=1",
    "retry.out_of_memory=10",
    "retry.delay_s=0.1",
    "hold_after=null",
]


@pytest.mark.trainer
def test_dreamerv3_killed_four_times_ends_with_every_step_counted_once(tmp_path: Path) -> None:
    """Each attempt resumes from a later checkpoint, the last one ends, and no step stands twice in the dataset."""
    root = tmp_path / "root"
    run_dir = root / "runs/gym/gym_CartPole-v1/random/0"
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "orchestrator.cli", "run", *_OVERRIDES, f"root={root}"]
        sweep = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        for number in range(1, _KILLS + 1):
            _await_checkpoint(run_dir, number)
            os.kill(_attempts(run_dir)[-1]["pid"], signal.SIGKILL)
        code = sweep.wait(timeout=120)
    finally:
        if sweep.poll() is None:
            sweep.send_signal(signal.SIGINT)
            sweep.wait(timeout=60)

    attempts = _attempts(run_dir)
    assert code == 0, (tmp_path / "log").read_text(encoding="utf-8")
    assert [attempt["outcome"] for attempt in attempts] == ["out_of_memory"] * _KILLS + ["succeeded"]
    resumed = [attempt["resumed_step"] for attempt in attempts[1:]]
    assert all(step > 0 for step in resumed)
    assert resumed == sorted(resumed)
    scores = pd.read_parquet(root / "scores")
    assert scores["step"].is_unique
    assert scores["step"].max() <= 40_000
    assert set(scores["attempt"]) <= {1, 2, 3, 4, 5}


@pytest.mark.trainer
def test_dreamerv3_goes_on_from_the_store(tmp_path: Path) -> None:
    """With storage=ship a retry has a folder of its own: checkpoint and replay buffer come from the store."""
    root, store = tmp_path / "root", tmp_path / "store"
    run_dir = root / "runs/gym/gym_CartPole-v1/random/0"
    overrides = [
        "storage=ship",
        f"storage.checkpoints='file://{store}'",
        f"storage.local_dir={tmp_path}/local",
        "storage.interval_s=0.5",
    ]
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "orchestrator.cli", "run", *_OVERRIDES, *overrides, f"root={root}"]
        sweep = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        # The first one is from before the first step; the third has a replay buffer for certain.
        while not list(store.rglob("manifests/000001-000003.json")):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text(encoding="utf-8")
            time.sleep(0.05)
        os.kill(_attempts(run_dir)[-1]["pid"], signal.SIGKILL)
        code = sweep.wait(timeout=120)
    finally:
        if sweep.poll() is None:
            sweep.send_signal(signal.SIGINT)
            sweep.wait(timeout=60)

    assert code == 0, (tmp_path / "log").read_text(encoding="utf-8")
    first, second = _attempts(run_dir)
    assert (first["outcome"], second["outcome"]) == ("out_of_memory", "succeeded")
    assert second["resumed_step"] > 0
    assert second["repairs"][0].startswith("fetched the checkpoint 000001-")
    output = (run_dir / "stdout.log").read_text(encoding="utf-8")
    assert f"Loading checkpoint: {tmp_path}/local/" in output
    assert "Error loading chunk" not in output
    scores = pd.read_parquet(root / "scores")
    assert scores["step"].is_unique
    assert sorted(set(scores["attempt"])) == [1, 2]
    # Of a run that is done the checkpoint stays, and the replay buffer goes.
    assert len(list(store.rglob("manifests/*.json"))) == 1
    assert list(store.rglob("*.npz")) == []


def _attempts(run_dir: Path) -> list[dict[str, Any]]:
    path = run_dir / "attempts.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _await_checkpoint(run_dir: Path, number: int) -> None:
    """Wait until attempt `number` runs and has written a checkpoint of its own."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        attempts = _attempts(run_dir)
        latest = next(
            (path for name in ("ckpt", "checkpoint.pkl") if (path := run_dir / name / "latest").exists()), None
        )
        if len(attempts) == number and attempts[-1]["pid"] and latest is not None:
            age = latest.stat().st_mtime - attempts[-1]["started_at"]
            # Not the one from before the first step.
            if age > 1.0 and (run_dir / "scores.jsonl").exists():
                return
        time.sleep(0.05)
    raise AssertionError(f"attempt {number} wrote no checkpoint: {attempts}")
