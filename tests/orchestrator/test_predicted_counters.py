"""What a plan predicts, against the counters of a real run of the official trainer."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.trainers import dreamer_pypi
from sweeps import ratio
from sweeps.contracts import Schedule


@pytest.mark.trainer
def test_steps_frames_and_updates_are_those_of_a_real_run(tmp_path: Path) -> None:
    """Seven environments, action repeat 4, ratio 16: updates are exact at the last checkpoint, frames within the end.

    The trainer writes no checkpoint at its end, so that its last one is compared, wherever that lies.
    """
    for package in ("jax", "elements", "gymnasium"):
        pytest.importorskip(package)
    schedule = Schedule(steps=1001, action_repeat=4, envs=7, batch_size=8, batch_length=16)
    command = [sys.executable, str(dreamer_pypi.install() / "dreamerv3" / "start.py"), "--configs", "gym", "debug"]
    flags = {
        "task": "gym_CartPole-v1",
        "logdir": tmp_path,
        "batch_size": schedule.batch_size,
        "batch_length": schedule.batch_length,
        "env.gym.repeat": schedule.action_repeat,
        "run.envs": schedule.envs,
        "run.steps": schedule.steps,
        "run.train_ratio": 16,
        "run.log_every": 1,
        "run.save_every": 1,
        "run.report_every": 0,
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    subprocess.run([*command, *words], check=True, capture_output=True, timeout=200)

    saved = max(path for path in tmp_path.glob("c*/2*/agent.pkl") if (path.parent / "done").exists())
    step = pickle.loads((saved.parent / "step.pkl").read_bytes())
    updates = pickle.loads(saved.read_bytes())["counters"]["updates"]
    span = step - ratio.first_update_step(schedule)
    last_frame = json.loads((tmp_path / "scores.jsonl").read_text().splitlines()[-1])["step"]

    assert updates == 1 + span * 16 // ratio.batch_steps(schedule)
    assert 0 < updates <= ratio.updates(schedule, 16)
    assert step <= ratio.final_step(schedule) == 1008
    assert last_frame <= ratio.final_step(schedule) * schedule.action_repeat
