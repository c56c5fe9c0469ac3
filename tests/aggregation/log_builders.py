"""Builds logs and run directories for tests."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from aggregation.dataset.store import Store
from sweeps.contracts import Attempt, Resources, RunKey, RunSpec, Schedule, TrainerSource

LOG = "scores.jsonl"
METRICS = "metrics.jsonl"


def line(step: int, score: float = 1.0) -> bytes:
    """One line as DreamerV3 writes it, newline included."""
    return json.dumps({"step": step, "episode/score": float(score)}).encode() + b"\n"


def log_text(points: Iterable[tuple[int, float]]) -> bytes:
    return b"".join(line(step, score) for step, score in points)


def metrics_text(points: Iterable[tuple[int, float]], *, with_lengths: bool = False) -> bytes:
    """Lines of metrics.jsonl as DreamerV3 writes them."""
    records = [
        {"step": step, "train/loss": float(value), "fps/policy": 2.0 * value, "replay/size": 1.0}
        | ({"episode/length": 10.0 * step + value} if with_lengths else {})
        for step, value in points
    ]
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def write_foreign(
    top: Path, content: bytes, *, task: str = "dmc_walker_walk", label: str = "dreamerv3", seed: int = 0
) -> Path:
    """A log in the layout task/method/seed; returns its path."""
    path = top / task / label / str(seed) / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_launched(
    root: Path,
    content: bytes | None,
    *,
    attempts: Sequence[Attempt] = (),
    seed: int = 0,
    label: str = "dreamerv3",
    action_repeat: int = 1,
    adapter: str = "dreamerv3",
    trainer: dict[str, Any] | None = None,
    log: str = LOG,
    is_done: bool = False,
) -> Path:
    """A run directory of a sweep root; returns the path of its log."""
    (root / "sweep.yaml").parent.mkdir(parents=True, exist_ok=True)
    (root / "sweep.yaml").touch()
    key = RunKey(suite="dmc_proprio", task="dmc_walker_walk", label=label, seed=seed)
    spec = RunSpec(
        key=key,
        method="dreamerv3",
        train_ratio=512.0 if label.endswith("_tr512") else None,
        trainer_task=key.task,
        schedule=Schedule(steps=1000, action_repeat=action_repeat),
        source=TrainerSource(adapter=adapter),
        trainer=trainer or {"adapter": adapter},
        resources=Resources(gpus=0.5),
    )
    folder = root / "runs" / str(key)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(spec.to_json()))
    write_attempts(folder, attempts)
    if content is not None:
        (folder / log).write_bytes(content)
    if is_done:
        (folder / "done").touch()
    return folder / log


def write_attempts(folder: Path, attempts: Sequence[Attempt]) -> None:
    text = "".join(json.dumps(attempt.to_json()) + "\n" for attempt in attempts)
    (folder / "attempts.jsonl").write_text(text)


def attempt(number: int, resumed_step: int | None, log_bytes: int, *, metrics_bytes: int = 0, **fields: Any) -> Attempt:
    return Attempt(
        attempt=number,
        host="a",
        pid=1,
        started_at=100.0 * number,
        resumed_step=resumed_step,
        log_bytes={LOG: log_bytes, METRICS: metrics_bytes},
        **fields,
    )


def dataset(store: Path) -> pd.DataFrame:
    """Every row of the dataset, read as a user reads it, in an order of its own."""
    frame = pd.read_parquet(store / "scores")
    for name in ("suite", "method", "run", "task", "label"):
        frame[name] = frame[name].astype(str)
    return frame.sort_values(["run", "attempt", "step", "score"]).reset_index(drop=True)


def points(store: Path) -> list[tuple[str, int, int, float | None]]:
    """Run, attempt, step and score of every row; None for null."""
    frame = dataset(store)
    columns = [frame[name].tolist() for name in ("run", "attempt", "step", "score")]
    return [
        (run, number, step, None if score != score else score)
        for run, number, step, score in zip(*columns, strict=True)
    ]


def metric_points(store: Path) -> list[tuple[str, int, int, str, float | None]]:
    """Run, attempt, step, name and value of every metric."""
    frame = pd.read_parquet(store / "metrics")
    for name in ("run", "name"):
        frame[name] = frame[name].astype(str)
    frame = frame.sort_values(["run", "name", "attempt", "step", "value"])
    columns = [frame[name].tolist() for name in ("run", "attempt", "step", "name", "value")]
    return [(*row[:4], None if row[4] != row[4] else row[4]) for row in zip(*columns, strict=True)]


def published_rows(store: Path) -> dict[str, dict[str, Any]]:
    """The rows of runs.parquet by run."""
    rows = pd.read_parquet(store / "runs.parquet").to_dict("records")
    return {row["run"]: row for row in rows}


def generation(store: Path) -> int:
    current = Store(store).current()
    assert current is not None
    return current.number
