"""How quickly views of many runs answer from the cache of bins, beside DuckDB on the same file and on the episodes.

A store of that many runs is made first: 26 tasks, five seeds of as many labels as it takes. With --keep it stays for
the next time.

    python -m benchmarks views --runs 10000 --points 50000 --keep /tmp/views
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aggregation.curves.curve_view import CurveView
from aggregation.curves.curves import curves
from aggregation.curves.smoothing import Smoothing
from aggregation.dataset.arrow_columns import numbers, table, texts
from aggregation.dataset.bin_cache import BinCache
from aggregation.dataset.partition import partition_folder
from aggregation.dataset.schema import RUNS, SCORE_ROWS, SCORES
from aggregation.dataset.store import Generation, Store
from aggregation.evaluation.evaluation import evaluate
from aggregation.pictures.plots import plot_curves
from aggregation.sources.sources import open_sources
from sweeps.contracts import RunKey
from sweeps.settings import Protocol

TASKS, SEEDS, SUITE = 26, 5, "ponds"
FRAMES_PER_EPISODE = 1000


def main() -> None:
    """Make the store, bin it, and time the views."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="a folder for the store, used again when it is there")
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="dreamsweep-views-"))
    try:
        store = folder / f"{arguments.runs}x{arguments.points}"
        if Store(store).current() is None:
            timed("make the store", lambda: make(store, arguments.runs, arguments.points), 1)
        measure(store, arguments.times)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder)


def make(store: Path, runs: int, points: int) -> None:
    """Write a dataset as a collection would: one part per partition."""
    generation = Generation(store / ".collected" / "000001")
    generation.scores.mkdir(parents=True)
    generator = np.random.default_rng(0)
    noise = generator.normal(size=points + 4096)
    rows = []
    labels = -(-runs // (TASKS * SEEDS))
    for number in range(TASKS * labels):
        task, label = f"task_{number // labels:02d}", f"method{number % labels:03d}"
        seeds = min(SEEDS, runs - len(rows))
        if seeds <= 0:
            break
        folder = generation.scores / partition_folder(task, label)
        folder.mkdir(parents=True)
        parts = []
        for seed in range(seeds):
            steps = np.arange(1, points + 1, dtype=np.int64) * FRAMES_PER_EPISODE + seed
            shift = int(generator.integers(0, 4096))
            scores = np.round(500 * (1 - np.exp(-4 * steps / steps[-1])) + 30 * noise[shift : shift + points], 1)
            key = RunKey(suite=SUITE, task=task, label=label, seed=seed)
            parts.append((key, steps, scores))
            rows.append(run_row(key, steps))
        write_part(folder / "part-000001.parquet", parts)
    pq.write_table(table(rows, RUNS), generation.runs_table)
    pq.write_table(RUNS.empty_table(), generation.faults_table)
    (store / ".collected" / "current").symlink_to("000001")


def write_part(path: Path, parts: list[tuple[RunKey, np.ndarray, np.ndarray]]) -> None:
    """The rows of some runs."""
    sizes = [len(steps) for _, steps, _ in parts]
    total = sum(sizes)

    def words(values: list[str]) -> pa.Array:
        index = np.repeat(np.arange(len(values), dtype=np.int32), sizes)
        return pa.DictionaryArray.from_arrays(numbers(index, pa.int32()), texts(values))

    columns = {
        "suite": words([key.suite for key, _, _ in parts]),
        "method": words([key.label for key, _, _ in parts]),
        "train_ratio": pa.nulls(total, pa.float64()),
        "seed": numbers(np.repeat(np.arange(len(parts), dtype=np.int32), sizes), pa.int32()),
        "attempt": numbers(np.ones(total, np.int32), pa.int32()),
        "step": numbers(np.concatenate([steps for _, steps, _ in parts]), pa.int64()),
        "score": numbers(np.concatenate([scores for _, _, scores in parts]), pa.float64()),
        "length": pa.nulls(total, pa.int64()),
        "run": words([str(key) for key, _, _ in parts]),
    }
    content = pa.Table.from_arrays([columns[name] for name in SCORES.names], schema=SCORES)
    pq.write_table(
        content,
        path,
        row_group_size=1 << 18,
        compression="zstd",
        compression_level=1,
        use_dictionary=SCORE_ROWS.repeated,
        column_encoding=SCORE_ROWS.encodings,
    )


def run_row(key: RunKey, steps: np.ndarray) -> dict[str, object]:
    """The run's row of runs.parquet."""
    known = {
        "run": str(key),
        "suite": key.suite,
        "task": key.task,
        "label": key.label,
        "method": key.label,
        "train_ratio": None,
        "seed": key.seed,
        "state": "finished",
        "attempts": 1,
        "rows": len(steps),
        "first_step": int(steps[0]),
        "last_step": int(steps[-1]),
        "fps": None,
        "gpu_hours": None,
        "path": f"/logs/{key}/scores.jsonl",
    }
    return {name: known.get(name, 0) for name in RUNS.names}


def measure(store: Path, times: int) -> None:
    """Print the seconds of each view, the best of some."""
    generation = Store(store).current()
    assert generation is not None
    cache = generation.path.parent / "bins"
    shutil.rmtree(cache, ignore_errors=True)
    (generation.path.parent / "windows.json").unlink(missing_ok=True)
    timed("bin every run, the first time", lambda: BinCache(generation).update(), 1)
    size = sum(path.stat().st_size for path in cache.glob("*.parquet"))
    rows = sum(pq.read_metadata(path).num_rows for path in cache.glob("*.parquet"))
    print(f"{'':44}  {rows:,} bins, {size / 1e6:.0f} MB beside {dataset_bytes(generation) / 1e6:,.0f} MB of episodes")
    touch_one(generation)
    timed("bin again, one of the partitions changed", lambda: BinCache(generation).update(), 1)
    timed("open the store: a table of all runs", lambda: open_sources([store]).close(), times)
    plain = CurveView(points=60, band="std", aggregate_band="std")
    with open_sources([store]) as sources:
        timed("every bin of every run", lambda: sum(len(bins.mean) for _, bins in sources.bins()), times)
    with open_sources([store], tasks=["task_03"]) as sources:
        timed("curves of one task, mean and std", lambda: curves(sources, plain), times)
    with open_sources([store], labels=["method003"]) as sources:
        timed("curves of one label, every task", lambda: curves(sources, plain), times)
    with open_sources([store]) as sources:
        timed("curves of every task", lambda: curves(sources, plain), times)
        timed(
            "aggregate of every label over all tasks",
            lambda: curves(sources, plain, with_tasks=False, with_aggregates=True),
            times,
        )
    last = Protocol(name="last", last=0.05, scores=(0, 1000), aggregate=["mean", "median"])
    with open_sources([store]) as sources:
        timed("table from the episodes, the first time", lambda: evaluate(sources, last), 1)
        timed("table, remembered", lambda: evaluate(sources, last), times)
        timed("table with aggregates and their intervals", lambda: evaluate(sources, last).headlines, times)
    pictures(store, times)
    beside_duckdb(generation, cache, times)


def pictures(store: Path, times: int) -> None:
    """Curves as they are drawn: quartiles of smooth curves, bootstrap bands, aggregates, and the picture itself."""
    smooth = CurveView(points=60, centre="median", band="quantiles", smoothing=Smoothing("ema", 0.9))
    with open_sources([store]) as sources:
        timed("medians, quartiles, smoothed: every task", lambda: curves(sources, smooth), times)
    few = [f"method{number:03d}" for number in range(5)]
    with open_sources([store], labels=few) as sources, tempfile.TemporaryDirectory() as folder:
        what = f"{TASKS} tasks × {len(few)} labels × {SEEDS} seeds"
        timed(f"{what}: curves", lambda: curves(sources, CurveView(points=60), with_aggregates=True), times)
        drawn = CurveView(points=60, band="bootstrap")
        timed("the same with bootstrap bands", lambda: curves(sources, drawn, with_aggregates=True), times)
        timed(
            "the same as PNG and SVG",
            lambda: plot_curves(sources, Path(folder), view=drawn, with_aggregates=True),
            1,
        )


def beside_duckdb(generation: Generation, cache: Path, times: int) -> None:
    """The same questions as SQL."""
    bins, episodes = f"{cache}/*.parquet", f"{generation.scores}/**/*.parquet"
    one = "where task = 'task_03'"
    by_bin = (
        "select task, label, point, avg(score) as centre, stddev_pop(score) from (select task, label, seed, "
        "bin * width * 60 // {span} as point, sum(count * mean) / sum(count) as score from '{bins}' {where} "
        "group by all) group by task, label, point"
    )
    with duckdb.connect() as connection:
        ask = connection.execute
        span = ask(f"select max((bin + 1) * width) from '{bins}'").fetchall()[0][0]
        every = by_bin.format(span=span, bins=bins, where="where count > 0")
        timed(
            "DuckDB on the bins: one task",
            lambda: ask(by_bin.format(span=span, bins=bins, where=one)).fetchall(),
            times,
        )
        timed("DuckDB on the bins: every task", lambda: ask(every).fetchall(), times)
        timed(
            "DuckDB on the bins: aggregate",
            lambda: ask(f"select label, point, avg(centre), stddev_pop(centre) from ({every}) group by all").fetchall(),
            times,
        )
        raw = (
            f"select label, seed, step * 60 // {span} as point, avg(score) from read_parquet('{episodes}', "
            f"hive_partitioning=true) {one} group by all"
        )
        timed("DuckDB on the episodes: one task", lambda: ask(raw).fetchall(), 1)


def touch_one(generation: Generation) -> None:
    """Let one partition look as if it had been written anew."""
    part = next(iter(sorted(generation.scores.rglob("part-*.parquet"))))
    part.touch()
    generation.runs_table.touch()


def dataset_bytes(generation: Generation) -> int:
    return sum(path.stat().st_size for path in generation.scores.rglob("*.parquet"))


def timed(what: str, act: Callable[[], object], times: int) -> None:
    """Print what something takes: the best of some times."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - start)
    print(f"{what:44}{min(seconds):9.3f} s", flush=True)


if __name__ == "__main__":
    main()
