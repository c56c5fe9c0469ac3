"""The real trainer, killed again and again in the middle of a sweep, with SIGKILL and as soon as it has a checkpoint.

    python tests/orchestrator/killed_dreamerv3.py      # with an agent that learns; a part of `make chaos`

Each attempt must resume from a later checkpoint, the last one must end, and no step may stand twice in the dataset.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from orchestrator.command_line.adopted_run import newest_checkpoint

_REPOSITORY = Path(__file__).parents[2]
KILLS = 4
_LIMIT_S = 600.0
OVERRIDES = (
    "cluster=process",
    "trainer=dreamer_pypi",
    "suite=gym",
    "task=gym_CartPole-v1",
    "trainer.log_every_s=1",
    "trainer.save_every_s=1",
    "retry.out_of_memory=10",
    "retry.delay_s=0.1",
    "hold_after=null",
)


def killed_sweep(folder: Path, *, method: str, steps: int) -> pd.DataFrame:
    """Run CartPole under a folder, kill its trainer four times, and check what must hold.

    Returns: the dataset.

    Raises:
        AssertionError: with what does not hold.
    """
    root = folder / "root"
    run_dir = root / f"runs/gym/gym_CartPole-v1/{method}/0"
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "orchestrator.cli", "run", *OVERRIDES]
        sweep = subprocess.Popen(
            [*command, f"method={method}", f"steps={steps}", f"root={root}"],
            stdout=log,
            stderr=log,
            cwd=_REPOSITORY,
            start_new_session=True,
        )
    try:
        for number in range(1, KILLS + 1):
            _await_checkpoint(run_dir, number)
            os.kill(attempts_of(run_dir)[-1]["pid"], signal.SIGKILL)
        code = sweep.wait(timeout=_LIMIT_S)
    finally:
        if sweep.poll() is None:
            sweep.send_signal(signal.SIGINT)
            sweep.wait(timeout=60)
    attempts = attempts_of(run_dir)
    assert code == 0, (folder / "log").read_text(encoding="utf-8")
    assert [attempt["outcome"] for attempt in attempts] == ["out_of_memory"] * KILLS + ["succeeded"]
    resumed = [attempt["resumed_step"] for attempt in attempts[1:]]
    assert all(step > 0 for step in resumed), resumed
    assert resumed == sorted(resumed), resumed
    scores = pd.read_parquet(root / "scores")
    assert scores["step"].is_unique
    assert scores["step"].max() <= steps
    assert set(scores["attempt"]) <= set(range(1, KILLS + 2))
    return scores


def attempts_of(run_dir: Path) -> list[dict[str, Any]]:
    path = run_dir / "attempts.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _await_checkpoint(run_dir: Path, number: int) -> None:
    """Wait until attempt `number` runs and has written a checkpoint beyond the one that it resumed from."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        attempts = attempts_of(run_dir)
        if len(attempts) == number and attempts[-1]["pid"] and (run_dir / "scores.jsonl").exists():
            _, step = newest_checkpoint(run_dir)
            # Not the one from before the first step, however long a slow machine takes for that.
            if step > (attempts[-1]["resumed_step"] or 0):
                return
        time.sleep(0.05)
    raise AssertionError(f"attempt {number} wrote no checkpoint: {attempts}")


def main() -> None:
    """Print what came of an agent that learns."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dreamsweep-killed-") as folder:
        scores = killed_sweep(Path(folder), method="cartpole_fast", steps=2_000)
        attempts = attempts_of(Path(folder) / "root/runs/gym/gym_CartPole-v1/cartpole_fast/0")
    resumed = [attempt["resumed_step"] for attempt in attempts]
    print(
        f"killed {KILLS} times in {time.monotonic() - began:.0f} s; its attempts resumed from the policy steps "
        f"{resumed}; {len(scores)} episodes up to step {scores['step'].max()}, each once"
    )


if __name__ == "__main__":
    main()
