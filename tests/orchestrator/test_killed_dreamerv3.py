"""The real trainer with an agent that acts at random, killed four times; with one that learns it is `make chaos`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from killed_dreamerv3 import OVERRIDES, attempts_of, killed_sweep


@pytest.mark.trainer
def test_dreamerv3_killed_four_times_ends_with_every_step_counted_once(tmp_path: Path) -> None:
    """Each attempt resumes from a later checkpoint, the last one ends, and no step stands twice in the dataset."""
    scores = killed_sweep(tmp_path, method="random", steps=40_000)

    assert len(scores) > 100


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
        overrides += ["method=random", "steps=40000", f"root={root}"]
        command = [sys.executable, "-m", "orchestrator.cli", "run", *OVERRIDES, *overrides]
        sweep = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        # The first one is from before the first step; the third has a replay buffer for certain.
        while not list(store.rglob("manifests/000001-000003.json")):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text(encoding="utf-8")
            time.sleep(0.05)
        os.kill(attempts_of(run_dir)[-1]["pid"], signal.SIGKILL)
        code = sweep.wait(timeout=120)
    finally:
        if sweep.poll() is None:
            sweep.send_signal(signal.SIGINT)
            sweep.wait(timeout=60)

    assert code == 0, (tmp_path / "log").read_text(encoding="utf-8")
    first, second = attempts_of(run_dir)
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
