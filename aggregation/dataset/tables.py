"""The table of runs beside the dataset, and how small tables are read and written."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aggregation.dataset.arrow_columns import table
from aggregation.dataset.schema import RUNS
from aggregation.dataset.state import RunState
from aggregation.logs.seams import gap_frames
from sweeps.errors import LogError
from sweeps.layout import SweepRoot

_SECONDS_PER_HOUR = 3600


def runs_table(states: Iterable[RunState]) -> pa.Table:
    """One row per run, in the order of their keys."""
    return table([_run_row(state) for state in sorted(states, key=lambda each: each.card.key.order)], RUNS)


def read_runs_table(path: Path) -> list[dict[str, Any]]:
    """The rows of the table of runs.

    Raises:
        LogError: the file is damaged.
    """
    try:
        return list(read_table(path).to_pylist())
    except (pa.ArrowInvalid, OSError) as error:
        raise (damaged(path, error) if is_damage(error) else error) from None


def damaged(path: Path, error: Exception) -> LogError:
    """What to say of a file, or of some file of a store, that cannot be read."""
    name = SweepRoot(path).collected.name
    collected = next((folder for folder in path.parents if folder.name == name), path)
    return LogError(
        f"{path} is damaged: {error}. The logs are untouched: remove {collected}, collect them with "
        f"`dreamsweep aggregate`, and import references once more."
    )


def is_damage(error: Exception) -> bool:
    """Whether an error of pyarrow's tells of a file's content; those of the system have a number."""
    return isinstance(error, pa.ArrowInvalid) or (isinstance(error, OSError) and error.errno is None)


def read_table(path: Path) -> pa.Table:
    """Read a table; `pyarrow.parquet.read_table` would import pandas for it."""
    with pq.ParquetFile(path) as file:
        return file.read()


def write_table(content: pa.Table, path: Path) -> None:
    """Write a table."""
    pq.write_table(content, path, compression="zstd")


def _run_row(state: RunState) -> dict[str, object]:
    key = state.card.key
    return {
        "run": state.key,
        "suite": key.suite,
        "task": key.task,
        "label": key.label,
        "method": state.card.method,
        "train_ratio": state.card.train_ratio,
        "seed": key.seed,
        "state": state.state,
        "attempts": state.attempts or len(state.segments),
        "rows": state.rows,
        "dropped": state.dropped,
        "non_finite": state.non_finite,
        "faults": sum(state.faults.values()),
        "pending_bytes": state.pending_bytes,
        "gap_frames": gap_frames(state.segments),
        "first_step": state.first_step,
        "last_step": state.last_step,
        "fps": state.last_step / state.seconds if state.last_step is not None and state.seconds > 0 else None,
        "gpu_hours": state.seconds * state.card.gpus / _SECONDS_PER_HOUR if state.card.is_launched else None,
        "path": state.file,
    }
