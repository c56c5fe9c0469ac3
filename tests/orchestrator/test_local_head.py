"""The head that a sweep starts on this machine is killed: the sweep goes on with another one."""

import getpass
import json
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
from doomed_sweep import DoomedSweep, end
from fakes.fake_runs import wait_until


@pytest.mark.ray
@pytest.mark.timeout(200)
def test_a_sweep_survives_the_death_of_its_head(tmp_path: Path) -> None:
    """The trainers go with it; the orchestrator starts another one, and tries their runs again at no cost."""
    sweep = DoomedSweep(tmp_path, None, seeds=2, episodes=100)
    orchestrator = sweep.start("canary=false", "retry.crashed=0", "retry.out_of_memory=0")
    try:
        wait_until(lambda: len(sweep.trainers()) == 4, limit_s=60)
        time.sleep(1.0)  # past a checkpoint
        (opened,) = sweep.events("SweepOpened")
        folder = Path(tempfile.gettempdir()) / f"dreamsweep-{getpass.getuser()}" / opened["sweep_id"]
        head = json.loads((folder / "head.json").read_text())["pid"]
        os.kill(head, signal.SIGKILL)
        code = orchestrator.wait(timeout=120)
    finally:
        end(orchestrator)

    assert sweep.problems() == []
    assert code == 0, sweep.last_words()
    outcomes = [event["outcome"] for event in sweep.events("AttemptEnded")]
    assert sorted(outcomes) == ["succeeded"] * 4 + ["worker_lost"] * 2
    assert sweep.attempts == 6
    assert len(sweep.events("SweepOpened")) == 1
