"""Runs of the fake trainer, as `trainer=command` composes them."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeps.contracts import Resources, RunKey, RunSpec, Schedule, TrainerSource

FAKE_TRAINER = Path(__file__).with_name("fake_trainer.py")
FAKE_COMMAND = (
    f"{sys.executable} -u {FAKE_TRAINER} --run_dir {{run_dir}} --steps {{steps}} --seed {{seed}} --task {{task}} "
    f"--ratio {{train_ratio}} {{flags}}"
)


def run_key(seed: int = 0) -> RunKey:
    return RunKey(suite="gym", task="gym_CartPole-v1", label="fake", seed=seed)


def fake_run(
    mode: str = "train",
    *,
    seed: int = 0,
    steps: int = 5,
    step_s: float = 0.0,
    resources: Resources | None = None,
    environ: dict[str, str] | None = None,
    **options: Any,
) -> RunSpec:
    """A run of the fake trainer; `options` are those of `trainer:`."""
    trainer = {
        "adapter": "command",
        "command": FAKE_COMMAND,
        "startup_deadline_s": 0,
        "heartbeat_s": 0,
        "grace_s": 5.0,
        **options,
    }
    return RunSpec(
        key=run_key(seed),
        method="fake",
        train_ratio=None,
        trainer_task="gym_CartPole-v1",
        schedule=Schedule(steps=steps),
        source=TrainerSource(adapter="command"),
        trainer=trainer,
        flags={"mode": mode, "step_s": step_s},
        environ=environ or {},
        resources=resources or Resources(cpus=1.0),
    )


def is_alive(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def processes_with(word: str) -> list[int]:
    """The processes that have a word, such as a folder, in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in words and int(folder.name) != os.getpid() and is_alive(int(folder.name)):
            found.append(int(folder.name))
    return found


def wait_until(is_true: Callable[[], object], *, limit_s: float = 20.0) -> None:
    """Poll for something that another process brings about."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, f"did not come true within {limit_s:g} s"
        time.sleep(0.02)
