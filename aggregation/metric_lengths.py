"""Episode lengths from the dataset of metrics: DreamerV3 writes them to metrics.jsonl alone."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aggregation.arrow_columns import numbers_of
from aggregation.bins import RunBins
from aggregation.dataset import partition_folder
from aggregation.schema import METRIC_ROWS
from aggregation.sources import RunInfo

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What `aggregate --metrics 'episode/length'` collects.
NAME = "episode/length"


def with_metric_lengths(pairs: Iterable[tuple[RunInfo, RunBins]]) -> Iterator[tuple[RunInfo, RunBins]]:
    """The same runs; bins without any length have those of the dataset of metrics, where it holds them."""
    for folder, group in groupby(pairs, key=lambda pair: _folder(pair[0])):
        found: dict[str, tuple[Ints, Floats]] | None = None
        for run, bins in group:
            if bins.length is not None and np.isfinite(bins.length).any():
                yield run, bins
                continue
            if found is None:
                found = _lengths(folder)
            place = str(run.stored)
            yield run, _binned(bins, *found[place]) if place in found else bins


def _folder(run: RunInfo) -> Path:
    return run.source.generation.folder(METRIC_ROWS) / partition_folder(run.stored.task, run.stored.label)


def _lengths(folder: Path) -> dict[str, tuple[Ints, Floats]]:
    """Steps and lengths by run."""
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        return {}
    rows = pq.read_table(parts, columns=["run", "step", "value"], filters=[("name", "==", NAME)], partitioning=None)
    rows = rows.unify_dictionaries().combine_chunks()
    if not rows.num_rows:
        return {}
    runs, *columns = [rows.column(name).chunk(0) for name in ("run", "step", "value")]
    owner, steps, values = numbers_of(runs.indices), *map(numbers_of, columns)
    return {
        name: (steps[owner == place], values[owner == place]) for place, name in enumerate(runs.dictionary.to_pylist())
    }


def _binned(bins: RunBins, steps: Ints, lengths: Floats) -> RunBins:
    size = len(bins.count)
    good = np.isfinite(lengths)
    index = np.minimum(steps[good] // bins.width, size - 1)
    count = np.bincount(index, minlength=size)
    total = np.bincount(index, lengths[good], size)
    mean = np.divide(total, count, out=np.full(size, np.nan), where=count > 0)
    return replace(bins, length=mean)
