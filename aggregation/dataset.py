"""Writes the Parquet files of one partition of the dataset: `task=<task>/label=<label>/part-<n>.parquet`.

New rows go to the newest file while that is small, else to a new one. Rows that a later resume made void are taken
out of the file they are in. Rows never move between files, so any mix of the earlier and the later version of the
files that a reader may open holds no row twice.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aggregation.run_files import RunCard
from aggregation.run_reader import Reading
from aggregation.schema import EMPTY_SCORES, SCORES
from aggregation.seams import surviving
from aggregation.store import link_or_copy

#: Rows that are held until they are written as one row group.
_GROUP_ROWS = 1 << 18
#: A newest file below this, or below an eighth of its partition, takes new rows.
_SMALL_ROWS = 1 << 16
_REPEATED = ["suite", "method", "train_ratio", "seed", "attempt", "run"]
_EMPTY = "empty.parquet"


def partition_folder(task: str, label: str) -> Path:
    """Where a partition lies in the dataset; unusual characters are percent-encoded, as all Hive readers expect."""
    return Path(f"task={quote(task, safe='')}") / f"label={quote(label, safe='')}"


def write_empty(scores: Path) -> None:
    """Make a dataset without rows readable."""
    pq.write_table(EMPTY_SCORES.empty_table(), scores / _EMPTY)


@dataclass(slots=True)
class Kept:
    """What is left of a run's earlier rows."""

    rows: int = 0
    non_finite: int = 0
    first_step: int | None = None
    last_step: int | None = None

    def add(self, steps: "np.ndarray[tuple[int], np.dtype[np.int64]]", non_finite: int) -> None:
        if len(steps):
            low, high = int(steps.min()), int(steps.max())
            self.first_step = low if self.first_step is None else min(self.first_step, low)
            self.last_step = high if self.last_step is None else max(self.last_step, high)
        self.rows += len(steps)
        self.non_finite += non_finite


#: By run: nothing of it stays (None), or by attempt the step below which its rows stay.
Rules = Mapping[str, Mapping[int, int] | None]


class Partition:
    """The files of one task and label, on their way from one generation to the next.

    Args:
        earlier: The partition's folder in the published generation; None where there is none.
        target: Its folder in the new generation.
        number: Of the new generation; names a new file.
        gone: Runs whose earlier rows all go.
    """

    def __init__(self, *, earlier: Path | None, target: Path, number: int, gone: frozenset[str] = frozenset()) -> None:
        self._target = target
        self._name = f"part-{number:06d}.parquet"
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._files: list[Path] = []
        rules = dict.fromkeys(gone)
        for path in sorted(earlier.glob("part-*.parquet")) if earlier is not None else ():
            target.mkdir(parents=True, exist_ok=True)
            copy = target / path.name
            link_or_copy(path, copy)
            if not gone or filter_file(copy, rules) is None or pq.read_metadata(copy).num_rows:
                self._files.append(copy)
            else:
                copy.unlink()

    def append(self, card: RunCard, reading: Reading) -> None:
        """Take the new rows of a run."""
        if not len(reading.steps):
            return
        if self._writer is None:
            self._open()
        self._held.append(_table(card, reading))
        self._held_rows += len(reading.steps)
        if self._held_rows >= _GROUP_ROWS:
            self._write_held()

    def close(self, rules: Rules) -> dict[str, Kept]:
        """Finish the files, take out what `rules` say, and return what is left of the runs they name."""
        if self._writer is not None:
            self._write_held()
            self._writer.close()
            self._writer = None
            fresh = self._target / self._name
            _sync(_fresh(fresh))
            _fresh(fresh).replace(fresh)
            if fresh not in self._files:
                self._files.append(fresh)
        left = {run: Kept() for run in rules}
        if rules:
            for path in self._files:
                for run, kept in (filter_file(path, rules) or {}).items():
                    _add(left[run], kept)
        return left

    def _open(self) -> None:
        """Start a new file, or a longer version of the newest one while that is small."""
        self._target.mkdir(parents=True, exist_ok=True)
        sizes = [pq.read_metadata(path).num_rows for path in self._files]
        newest = self._files[-1] if sizes and sizes[-1] < max(_SMALL_ROWS, sum(sizes) // 8) else None
        if newest is not None:
            self._name = newest.name
        self._writer = _writer(_fresh(self._target / self._name))
        if newest is not None:
            self._held.append(pq.read_table(newest, partitioning=None))
            self._held_rows += self._held[-1].num_rows

    def _write_held(self) -> None:
        if self._held:
            assert self._writer is not None
            self._writer.write_table(pa.concat_tables(self._held).unify_dictionaries())
        self._held, self._held_rows = [], 0


def filter_file(path: Path, rules: Rules) -> dict[str, Kept] | None:
    """Take out of a file what `rules` say; return what is left of the runs they name, None where it holds none.

    The file is replaced, never changed, since earlier generations share it.
    """
    left: dict[str, Kept] = {}
    dropped = 0
    with pq.ParquetFile(path) as file:
        writer = None
        for group in range(file.num_row_groups):
            table = file.read_row_group(group).unify_dictionaries()
            stays, found = _staying(table, rules)
            for run, kept in found.items():
                _add(left.setdefault(run, Kept()), kept)
            dropped += int(np.count_nonzero(~stays))
            if writer is None:
                writer = _writer(_fresh(path))
            if stays.any():
                writer.write_table(table.filter(pa.array(stays)))
        if writer is not None:
            writer.close()
            if dropped:
                _sync(_fresh(path))
                _fresh(path).replace(path)
            else:
                _fresh(path).unlink()
    return left or None


def _staying(table: pa.Table, rules: Rules) -> "tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], dict[str, Kept]]":
    runs = table.column("run").combine_chunks()
    runs = runs.chunk(0) if isinstance(runs, pa.ChunkedArray) else runs
    index = runs.indices.to_numpy(zero_copy_only=False)
    stays = np.ones(table.num_rows, np.bool_)
    left: dict[str, Kept] = {}
    for number, run in enumerate(runs.dictionary.to_pylist()):
        if run not in rules:
            continue
        rows = np.flatnonzero(index == number)
        if not len(rows):
            continue
        limits = rules[run]
        part = table.take(pa.array(rows))
        steps = part.column("step").to_numpy()
        if limits is None:
            good = np.zeros(len(rows), np.bool_)
        else:
            good = surviving(part.column("attempt").to_numpy(), steps, limits)
        stays[rows] = good
        nulls = np.asarray(part.column("score").is_null().to_numpy())
        left[run] = Kept()
        left[run].add(steps[good], int(np.count_nonzero(nulls & good)))
    return stays, left


def _add(total: Kept, part: Kept) -> None:
    for step in (part.first_step, part.last_step):
        if step is not None:
            total.first_step = step if total.first_step is None else min(total.first_step, step)
            total.last_step = step if total.last_step is None else max(total.last_step, step)
    total.rows += part.rows
    total.non_finite += part.non_finite


def _table(card: RunCard, reading: Reading) -> pa.Table:
    rows = len(reading.steps)
    zeros = pa.array(np.zeros(rows, np.int32))

    def word(text: str) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(zeros, pa.array([text]))

    ratio = card.train_ratio
    lengths = reading.lengths
    return pa.Table.from_arrays(
        [
            word(card.key.suite),
            word(card.method),
            pa.nulls(rows, pa.float64()) if ratio is None else pa.array(np.full(rows, ratio)),
            pa.array(np.full(rows, card.key.seed, np.int32)),
            pa.array(reading.attempts),
            pa.array(reading.steps),
            # from_pandas turns NaN into null
            pa.array(reading.scores, from_pandas=reading.non_finite > 0),
            pa.nulls(rows, pa.int64()) if lengths is None else pa.array(lengths, from_pandas=True).cast(pa.int64()),
            word(str(card.key)),
        ],
        schema=SCORES,
    )


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        SCORES,
        compression="zstd",
        compression_level=1,
        use_dictionary=_REPEATED,
        column_encoding={"step": "DELTA_BINARY_PACKED", "length": "DELTA_BINARY_PACKED", "score": "PLAIN"},
    )


def _fresh(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
