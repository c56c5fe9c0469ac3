"""How long a report takes and how large it is, from the dataset of a sweep: 130 runs, 26 × 5 × 5, and 10,000.

python -m benchmarks report
python -m benchmarks report --grids 55x20x10 --episodes 2000
"""

import argparse
import datetime
import tempfile
import time
from pathlib import Path

import numpy as np

from aggregation.dataset.collect import collect
from aggregation.report.payload import Circumstances
from aggregation.report.report import write_report
from aggregation.sources.sources import open_sources

MADE = Circumstances(at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), version="benchmark")


def write_logs(top: Path, tasks: int, labels: int, seeds: int, episodes: int) -> int:
    """Logs of learning curves with noise; returns how many runs there are."""
    generator = np.random.default_rng(0)
    steps = np.arange(1, episodes + 1) * 1000
    for task in range(tasks):
        for label in range(labels):
            pace = steps[-1] / generator.uniform(1, 8)
            for seed in range(seeds):
                scores = 900 * (1 - np.exp(-steps / pace)) + generator.normal(0, 40, episodes)
                folder = top / f"dmc_task_{task:02d}" / f"dreamerv3_tr{2 ** (label + 3)}" / str(seed)
                folder.mkdir(parents=True)
                lines = [
                    f'{{"step": {step}, "episode/score": {score:.1f}}}\n'
                    for step, score in zip(steps.tolist(), scores.tolist(), strict=True)
                ]
                (folder / "scores.jsonl").write_text("".join(lines))
    return tasks * labels * seeds


def measure(tasks: int, labels: int, seeds: int, episodes: int) -> None:
    """Collect once, then write the report without and with the cache of bins."""
    with tempfile.TemporaryDirectory() as place:
        logs, store = Path(place, "logs"), Path(place, "store")
        runs = write_logs(logs, tasks, labels, seeds, episodes)
        collect([logs], store, suite="dmc_proprio")
        seconds = []
        for _ in range(2):
            begun = time.perf_counter()
            with open_sources([store]) as sources:
                report = write_report(sources, Path(place, "index.html"), MADE)
            seconds.append(time.perf_counter() - begun)
        first, again = seconds
        grid = f"{tasks} × {labels} × {seeds}"
        size = report.bytes / 1e6
        print(f"| {grid} | {runs:,} | {episodes:,} | {first:.1f} | {again:.1f} | {size:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", nargs="+", default=["26x5x1", "26x5x5", "50x20x10"], help="tasks x labels x seeds")
    parser.add_argument("--episodes", type=int, default=1000, help="of each run")
    arguments = parser.parse_args()
    print("| tasks × labels × seeds | runs | episodes of each | seconds | seconds with bins cached | MB |")
    print("|---|---|---|---|---|---|")
    for grid in arguments.grids:
        tasks, labels, seeds = map(int, grid.split("x"))
        measure(tasks, labels, seeds, arguments.episodes)


if __name__ == "__main__":
    main()
