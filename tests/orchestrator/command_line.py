"""The command line under test: sweeps of small trainers on `cluster=process`, here or as processes of their own."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_runs import FAKE_COMMAND

from orchestrator.cli import main
from sweeps.contracts import RunKey
from sweeps.files import read_records
from sweeps.layout import RunDir, SweepRoot

CHECKPOINTING_TRAINER = Path(__file__).parents[1] / "fakes" / "checkpointing_trainer.py"


def run_words(root: Path, *overrides: str, command: str = FAKE_COMMAND) -> list[str]:
    """`run` with the fake trainer, or with another command, under a root."""
    return [
        "run",
        "suite=gym",
        "task=gym_CartPole-v1",
        "trainer=command",
        f"trainer.command='{command}'",
        "trainer.grace_s=2",
        "cluster=process",
        "cluster.cpus=4",
        "canary=false",
        "steps=5",
        f"root={root}",
        *overrides,
    ]


@contextlib.contextmanager
def started(*words: str) -> "Iterator[subprocess.Popen[str]]":
    """`dreamsweep` as a process of its own, in a session of its own; killed where a test leaves it behind."""
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]", *, limit_s: float = 60.0) -> tuple[int, str, str]:
    """Exit code, output and errors of a process, once it has ended."""
    out, err = process.communicate(timeout=limit_s)
    return process.returncode, out, err


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command that runs here."""
    capsys.readouterr()
    code = main(words)
    return code, *capsys.readouterr()


def status(capsys: pytest.CaptureFixture[str], root: Path) -> dict[str, Any]:
    """What `status --json` tells."""
    code, out, err = said(capsys, "status", str(root), "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def states(capsys: pytest.CaptureFixture[str], root: Path) -> dict[str, str]:
    """The state of every run, by its seed."""
    return {run["run"].rsplit("/", 1)[1]: run["state"] for run in status(capsys, root)["runs"]}


def run_dir(root: Path, seed: int = 0) -> RunDir:
    return SweepRoot(root).run_dir(RunKey(suite="gym", task="gym_CartPole-v1", label="dreamerv3", seed=seed))


def starts(root: Path, seed: int = 0) -> list[int]:
    """The process ids of every fake trainer that a run has had."""
    path = run_dir(root, seed).path / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def logged_steps(root: Path, seed: int = 0) -> list[int]:
    """The steps of every episode that a run has logged, in the order of the log."""
    return [int(record["step"]) for record in read_records(run_dir(root, seed).scores)]
