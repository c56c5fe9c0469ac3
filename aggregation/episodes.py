"""Reads the dataset of a store back, one run at a time: what exports, plots and reports start from."""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aggregation.dataset import partition_folder
from aggregation.store import Generation, Store
from aggregation.tables import read_table
from sweeps.contracts import RunKey
from sweeps.errors import LogError, UnknownNameError

_COLUMNS = ["run", "step", "score"]


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


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a published dataset that were asked for, in the order of label, task, suite and seed."""

    generation: Generation
    #: Rows of runs.parquet.
    rows: list[dict[str, object]]

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
        """Read the runs that have episodes, one partition in memory at a time."""
        folder, held = None, dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]()
        for row in self.rows:
            key = RunKey.parse(str(row["run"]))
            if folder != (wanted := partition_folder(key.task, key.label)):
                folder, held = wanted, _partition(self.generation.scores / wanted)
            if str(key) in held:
                steps, scores = held.pop(str(key))
                order = np.argsort(steps, kind="stable")
                ratio = row["train_ratio"]
                yield Episodes(
                    key,
                    str(row["method"]),
                    ratio if isinstance(ratio, float) else None,
                    steps[order],
                    scores[order],
                )


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
    generation = Store(store).current()
    if generation is None:
        raise LogError(f"{store} holds no dataset yet; run `dreamsweep aggregate` on it first.")
    rows = read_table(generation.runs_table).to_pylist()
    for kind, wanted in (("suite", suites), ("task", tasks), ("label", labels)):
        allowed = {str(row[kind]) for row in rows}
        for name in wanted or ():
            if name not in allowed:
                raise UnknownNameError(kind, name, allowed, where=str(store))
        rows = [row for row in rows if not wanted or row[kind] in wanted]
    rows.sort(key=lambda row: (row["label"], row["task"], row["suite"], row["seed"]))
    return Runs(generation, rows)


def _partition(folder: Path) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Steps and scores by run."""
    pieces: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {}
    for path in sorted(folder.glob("part-*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1 << 20, columns=_COLUMNS):
                runs = batch.column("run")
                index = runs.indices.to_numpy(zero_copy_only=False)
                steps = batch.column("step").to_numpy()
                scores = batch.column("score").to_numpy(zero_copy_only=False)
                edges = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(index)]
                names = runs.dictionary.to_pylist()
                for first, last in itertools.pairwise(edges):
                    if last > first:
                        pieces.setdefault(names[index[first]], []).append((steps[first:last], scores[first:last]))
    return {
        run: (np.concatenate([steps for steps, _ in parts]), np.concatenate([scores for _, scores in parts]))
        for run, parts in pieces.items()
    }
