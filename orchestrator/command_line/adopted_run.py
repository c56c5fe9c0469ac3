"""Copies one folder of the official trainer into a sweep root, as a run of it.

A run directory appears under its name whole, or not at all: it is made under `<root>/.adopting/` first.

    run.json          the spec of the grid, with `adopted_from`
    attempts.jsonl    one attempt, or one for each stretch where the trainer had started again
    scores.jsonl  metrics.jsonl  config.yaml    copies, uncompressed
    ckpt/ or checkpoint.pkl/    only for a run that goes on: the checkpoint that it goes on from
    done              last, for a run whose log reaches the budget
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from aggregation.logs.foreign_log import ForeignLog, Restart, log_of, open_log
from aggregation.logs.log_format import METRICS_FILE, LogFormat
from orchestrator.trainers import checkpoint
from sweeps.contracts import Attempt, RunSpec
from sweeps.files import write_atomically
from sweeps.layout import RunDir, SweepRoot


def newest_checkpoint(folder: Path) -> tuple[Path | None, int]:
    """The newest whole checkpoint of a folder, and its policy step."""
    newest, step = None, 0
    for where in RunDir(folder).checkpoints:
        state = checkpoint.inspect(where)
        if state.whole:
            newest, step = state.whole[-1], state.step or 0
    return newest, step


def take_in(root: SweepRoot, folder: Path, spec: RunSpec, log: ForeignLog, saved: Path | None) -> None:
    """Copy a folder into the root as a run of it.

    Args:
        saved: the checkpoint that the run goes on from; None for a run that is done.

    Raises:
        OSError: it cannot be copied; the root is as it was.
    """
    target = root.run_dir(spec.key)
    made = RunDir(root.adopting / str(spec.key).replace("/", "+"))
    shutil.rmtree(made.path, ignore_errors=True)
    made.path.mkdir(parents=True)
    is_done = saved is None
    try:
        for name in (LogFormat().file, METRICS_FILE, "config.yaml"):
            path = log_of(folder, name)
            if path is not None:
                _copy(path, made.path / name)
        if saved is not None:
            _copy_checkpoint(saved, made)
        record = {**spec.to_json(), "adopted_from": str(folder)}
        write_atomically(made.spec, json.dumps(record, indent=2) + "\n")
        lines = [attempt.to_json() for attempt in attempts(folder, spec, log.restarts, is_done=is_done)]
        write_atomically(made.attempts, "".join(json.dumps(line) + "\n" for line in lines))
        if is_done:
            record = {"attempt": lines[-1]["attempt"], "ended_at": None, "adopted_from": str(folder)}
            write_atomically(made.done, json.dumps(record) + "\n")
        target.path.parent.mkdir(parents=True, exist_ok=True)
        made.path.rename(target.path)
    finally:
        shutil.rmtree(made.path.parent, ignore_errors=True)


def attempts(folder: Path, spec: RunSpec, restarts: Sequence[Restart], *, is_done: bool) -> list[Attempt]:
    """What is known of a folder's attempts; those of a run that goes on end with 0, since the next one is the first."""
    count = len(restarts) + 1
    first = 1 if is_done else 1 - count
    config, repeat = folder / "config.yaml", spec.schedule.action_repeat
    return [
        Attempt(
            attempt=first + place,
            host="",
            pid=0,
            started_at=config.stat().st_mtime,  # the trainer writes it when it starts
            outcome="succeeded" if is_done and place == count - 1 else "worker_lost",
            cause=f"adopted from {folder}",
            # A line at the step of the restart is void; one at the checkpoint's own would stay.
            resumed_step=max(0, restart.step - 1) // repeat if restart else None,
            log_bytes=restart.log_bytes if restart else {},
        )
        for place, restart in enumerate([None, *restarts])
    ]


def _copy_checkpoint(source: Path, made: RunDir) -> None:
    """Copy one checkpoint as the only one of its folder, its `done` last and then `latest`."""
    target = made.path / source.parent.name / source.name
    target.mkdir(parents=True)
    for path in sorted(source.iterdir(), key=lambda each: each.name == "done"):
        _copy(path, target / path.name)
    write_atomically(target.parent / "latest", source.name)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, uncompressed, to where it survives a crash."""
    with open_log(source) as file, open(target, "wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())
