"""The two tables beside the dataset: one row per run, one row per bad line."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aggregation.arrow_columns import numbers, table
from aggregation.record import Fault
from aggregation.schema import FAULTS, RUNS
from aggregation.seams import gap_frames
from aggregation.state import RunState

_SECONDS_PER_HOUR = 3600


def runs_table(states: Iterable[RunState]) -> pa.Table:
    """One row per run, in the order of their keys."""
    return table([_run_row(state) for state in sorted(states, key=lambda each: each.card.key)], RUNS)


def faults_table(
    earlier: pa.Table | None,
    *,
    alive: Collection[tuple[str, str]],
    fresh: Mapping[tuple[str, str], Sequence[Fault]],
) -> pa.Table:
    """One row per bad line: those of earlier collections, as far as their logs were not read anew, and the fresh ones.

    Args:
        earlier: The published table.
        alive: Run and path of the logs whose earlier bad lines stay.
        fresh: By run and path, the bad lines of this collection.
    """
    kept = table([], FAULTS)
    if earlier is not None:
        places = zip(earlier.column("run").to_pylist(), earlier.column("path").to_pylist(), strict=True)
        stays = [place in alive for place in places]
        kept = earlier.take(numbers(np.flatnonzero(stays), pa.int64()))
    rows = []
    for run, path in sorted(fresh):
        place = {"run": run, "path": path}
        rows += [place | {name: getattr(fault, name) for name in FAULTS.names[2:]} for fault in fresh[run, path]]
    whole = pa.concat_tables([kept, table(rows, FAULTS)])
    order = pc.sort_indices(whole, sort_keys=[(name, "ascending") for name in ("run", "path", "line", "offset")])
    return whole.take(order)


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
        "path": str(state.path),
    }
