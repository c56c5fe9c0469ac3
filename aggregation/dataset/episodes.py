"""Reads the dataset of a store back, one run at a time: what exports, plots and reports start from."""

import itertools
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aggregation.dataset.arrow_columns import numbers_of
from aggregation.dataset.partition import partition_folder
from aggregation.dataset.store import Generation, HeldGeneration, Store
from aggregation.dataset.tables import damaged, is_damage, read_runs_table
from sweeps.contracts import RunKey
from sweeps.errors import LogError
from sweeps.selection import selected

_COLUMNS = ["run", "step", "score"]

#: Steps, scores and, where they were asked for, episode lengths; each of shape [episodes].
Columns = tuple[NDArray[Any], ...]


@dataclass(frozen=True, slots=True)
class Episodes:
    """The episodes of one run. Arrays have shape [episodes], in the order of their steps."""

    key: RunKey
    method: str
    train_ratio: float | None
    #: Environment frames.
    steps: NDArray[np.int64]
    #: NaN where the log held no finite number.
    scores: NDArray[np.float64]
    #: Episode lengths, NaN where the log has none; None where they were not asked for.
    lengths: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a published dataset that were asked for, in the order of label, task, suite and seed."""

    #: Later collections leave it alone as long as these runs are asked for.
    held: HeldGeneration
    #: Rows of runs.parquet.
    rows: list[dict[str, object]]

    @property
    def generation(self) -> Generation:
        return self.held.generation

    def last_steps(self) -> dict[tuple[str, str], int]:
        """By suite and task, the last step of any of its runs."""
        reached: dict[tuple[str, str], int] = {}
        for row in self.rows:
            place = str(row["suite"]), str(row["task"])
            step = row["last_step"]
            if isinstance(step, int):
                reached[place] = max(reached.get(place, 0), step)
        return reached

    def episodes(self) -> Iterator[Episodes]:
        """Read the runs that have episodes: one partition in memory, and the next one on its way."""
        keys = [RunKey.parse(str(row["run"])) for row in self.rows]
        wanted = [partition_folder(key.task, key.label) for key in keys]
        remaining = iter(dict.fromkeys(wanted))
        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(read_partition, self.generation.scores / each) for each in islice(remaining, 1)]
            folder, held = None, dict[str, Columns]()
            for key, row, place in zip(keys, self.rows, wanted, strict=True):
                if folder != place:
                    folder, held = place, {}  # let go of the last one before the next is taken
                    held = ahead.pop().result()
                    ahead = [
                        pool.submit(read_partition, self.generation.scores / each) for each in islice(remaining, 1)
                    ]
                if str(key) in held:
                    steps, scores = held.pop(str(key))[:2]
                    ratio = row["train_ratio"]
                    yield Episodes(key, str(row["method"]), ratio if isinstance(ratio, float) else None, steps, scores)


def open_runs(
    store: Path,
    *,
    suites: Collection[str] | None = None,
    tasks: Collection[str] | None = None,
    labels: Collection[str] | None = None,
) -> Runs:
    """The runs of a store's dataset, or those of some suites, tasks and labels.

    Raises:
        LogError: nothing was collected into the store yet.
        UnknownNameError: a name that no run has.
    """
    if not store.is_dir():
        raise LogError(f"{store} does not exist; expected a sweep root or a store. Check the path.")
    held = Store(store).held()
    if held is None:
        raise LogError(f"{store} holds no dataset yet; run `dreamsweep aggregate` on it first.")
    rows = read_runs_table(held.generation.runs_table)
    for kind, wanted in (("suite", suites), ("task", tasks), ("label", labels)):
        if wanted:
            chosen = selected(kind, wanted, {str(row[kind]) for row in rows}, where=str(store))
            rows = [row for row in rows if row[kind] in chosen]
    rows.sort(key=lambda row: (row["label"], row["task"], row["suite"], row["seed"]))
    return Runs(held, rows)


def read_partition(folder: Path, *, with_lengths: bool = False) -> dict[str, Columns]:
    """Steps, scores and, if wanted, lengths of every run of a partition, in the order of their steps.

    Args:
        folder: `task=<task>/label=<label>` of a dataset; one that does not exist holds no run.
        with_lengths: Read the episode lengths too.

    Raises:
        LogError: one of its files is damaged.
    """
    pieces: dict[str, list[Columns]] = {}
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            _add_rows(pieces, path, with_lengths=with_lengths)
        except (pa.ArrowInvalid, OSError) as error:
            raise (damaged(path, error) if is_damage(error) else error) from None
    return {run: _joined(parts) for run, parts in pieces.items()}


def _add_rows(pieces: dict[str, list[Columns]], path: Path, *, with_lengths: bool) -> None:
    """Add the rows of one file to those of each run."""
    names = [*_COLUMNS, "length"] if with_lengths else _COLUMNS
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1 << 20, columns=names):
            runs = batch.column("run")
            index = numbers_of(runs.indices)
            columns = [numbers_of(batch.column("step")), numbers_of(batch.column("score"))]
            if with_lengths:
                columns.append(numbers_of(batch.column("length").cast(pa.float64())))
            edges = [0, *(np.flatnonzero(index[1:] != index[:-1]) + 1).tolist(), len(index)]
            keys = runs.dictionary.to_pylist()
            for first, last in itertools.pairwise(edges):
                if last > first:
                    rows = tuple(column[first:last] for column in columns)
                    pieces.setdefault(keys[index[first]], []).append(rows)


def _joined(parts: list[Columns]) -> Columns:
    """The pieces of one run, in the order of its steps."""
    columns = parts[0] if len(parts) == 1 else tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    steps = columns[0]
    if (steps[1:] >= steps[:-1]).all():
        return columns
    order = np.argsort(steps, kind="stable")
    return tuple(column[order] for column in columns)
