"""False alarms of `compare`, and false alarms and power of `nightly`, simulated from the spread of real seeds.

Nights follow each other as they do in a nightly: each is judged beside the last ones, suspicious cells are run again
with fresh seeds, and a confirmed night does not join the history. Scores have the means and the spreads of the seeds of
Atari100k's published DreamerV3 runs; their shape is that of all those seeds together, or heavy-tailed.

    python -m benchmarks power --nights 3000
"""

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aggregation.verdicts.comparison import TaskScores, compare
from aggregation.verdicts.regression import Cell, Floats, Rule, judge

SCORES = Path("../shared/data/score_files/atari100k-dreamerv3.json.gz")
GRIDS = ((3, 1), (8, 3), (24, 1))
DROPS = (0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Spread:
    """The seeds that scores are drawn like. Arrays have shape [tasks], residuals [seeds of all tasks]."""

    mean: Floats
    deviation: Floats
    residuals: Floats

    def drawn(self, task: int, runs: int, shape: str, drop: float, generator: np.random.Generator) -> Floats:
        """Scores of so many runs of a task that has lost a part of its mean."""
        if shape == "seeds":
            noise = self.residuals[generator.integers(len(self.residuals), size=runs)]
        else:
            noise = generator.standard_t(3, runs) / np.sqrt(3)
        return self.mean[task] * (1 - drop) + self.deviation[task] * noise


def main() -> None:
    """Print false alarms and the share of drops that are confirmed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=200, help="judged for each figure")
    parser.add_argument("--scores", type=Path, default=SCORES, help="a score file with several seeds per task")
    parser.add_argument("--history", type=int, default=20, help="nights that are looked back on")
    parser.add_argument("--confirm", type=int, nargs="*", default=[0, 3], help="fresh seeds of the second stage")
    arguments = parser.parse_args()
    if not arguments.scores.exists():
        print(f"{arguments.scores} does not exist; name a published score file with --scores.")
        return
    spread = read_spread(arguments.scores)
    compare_equals(spread, arguments.nights // 4)
    print(f"{arguments.nights:,} nights each, {arguments.history} nights of history, drops of all tasks at once")
    print("| tasks × seeds | fresh seeds | scores | suspicious, % | false alarms, % | extra runs, % |", end="")
    print("".join(f" drop {drop:.0%} confirmed, % |" for drop in DROPS), "smallest drop told, % |")
    print("|---|---|---|---|---|---|" + "---|" * (len(DROPS) + 1))
    for tasks, seeds in GRIDS:
        for confirm in arguments.confirm:
            for shape in ("seeds", "heavy tails"):
                rule = Rule(confirm=confirm, draws=2000)  # enough for a share of 1 in 100
                simulation = Simulation(spread, tasks, seeds, arguments.history, rule, shape)
                quiet = Tally(simulation, arguments.nights, 0.0)
                found = [Tally(simulation, max(arguments.nights // 5, 1), drop) for drop in DROPS]
                print(
                    f"| {tasks} × {seeds} | {confirm} | {shape} | {quiet.suspicious:.1f} | {quiet.alarms:.2f} "
                    f"| {quiet.extra:.0f} |",
                    " | ".join(f"{each.alarms:.0f}" for each in found),
                    f"| {quiet.smallest:.0f} |",
                    flush=True,
                )


def compare_equals(spread: Spread, count: int) -> None:
    """Print how often `compare` finds a difference between two sides that are drawn alike."""
    print(f"{count:,} comparisons of equals over {len(spread.mean)} tasks, at 5 %")
    print("| runs of A and B | scores | any task, % | all tasks, % |\n|---|---|---|---|")
    generator = np.random.default_rng(0)
    for a, b in ((2, 2), (3, 3), (5, 5), (2, 10)):
        for shape in ("seeds", "heavy tails"):
            lone = whole = 0
            for _ in range(count):
                tasks = [
                    TaskScores(
                        suite="",
                        task=str(task),
                        a=spread.drawn(task, a, shape, 0.0, generator),
                        b=spread.drawn(task, b, shape, 0.0, generator),
                    )
                    for task in range(len(spread.mean))
                ]
                found = compare(tasks, reps=1000, generator=generator)
                lone += any(task.verdict != "no difference seen" for task in found.tasks)
                whole += found.verdict != "no difference seen"
            print(f"| {a} and {b} | {shape} | {100 * lone / count:.1f} | {100 * whole / count:.1f} |", flush=True)


class Simulation:
    """Nights of one grid, one after the other."""

    def __init__(self, spread: Spread, tasks: int, seeds: int, history: int, rule: Rule, shape: str) -> None:
        self._spread, self._tasks, self._seeds, self._history = spread, tasks, seeds, history
        self._shape = shape
        self.rule = rule

    def nights(self, count: int, drop: float, generator: np.random.Generator) -> Iterator[tuple[str, int, float]]:
        """Each night's verdict, the runs that it took beyond the planned ones, and the smallest drop it told.

        A drop hits every night but those of the history before; such nights never join it.
        """
        judged = 0
        while judged < count:
            chosen = generator.choice(len(self._spread.mean), self._tasks, replace=False)
            past = [[self._draw(task, self._seeds, 0.0, generator) for task in chosen] for _ in range(self._history)]
            for _ in range(min(10, count - judged)):
                cells = [
                    Cell(
                        name=str(task),
                        history=np.concatenate([night[place] for night in past[-self._history :]]),
                        tonight=self._draw(task, self._seeds, drop, generator),
                        fresh=np.empty(0),
                    )
                    for place, task in enumerate(chosen)
                ]
                told = judge(cells, self._history, self.rule, generator)
                if told.verdict == "suspicious" and told.suspicion is not None:
                    rerun = {cell.name for cell in cells} if told.suspicion.whole else set(told.suspicion.cells)
                    cells = [self._again(cell, drop, generator) if cell.name in rerun else cell for cell in cells]
                    told = judge(cells, self._history, self.rule, generator)
                yield told.verdict, sum(len(cell.fresh) for cell in cells), told.smallest or np.nan
                judged += 1
                if not drop and told.verdict != "regression":
                    past.append([np.concatenate([cell.tonight, cell.fresh]) for cell in cells])

    def _again(self, cell: Cell, drop: float, generator: np.random.Generator) -> Cell:
        return replace(cell, fresh=self._draw(int(cell.name), self.rule.confirm, drop, generator))

    def _draw(self, task: int, runs: int, drop: float, generator: np.random.Generator) -> Floats:
        return self._spread.drawn(task, runs, self._shape, drop, generator)

    @property
    def runs(self) -> int:
        return self._tasks * self._seeds


class Tally:
    """Shares in percent of many nights."""

    def __init__(self, simulation: Simulation, nights: int, drop: float) -> None:
        told = list(simulation.nights(nights, drop, np.random.default_rng(0)))
        verdicts = Counter(verdict for verdict, _, _ in told)
        self.alarms = 100 * verdicts["regression"] / nights
        self.suspicious = 100 * (verdicts["regression"] + verdicts["not confirmed"]) / nights
        self.extra = 100 * sum(extra for _, extra, _ in told) / (nights * simulation.runs)
        self.smallest = 100 * float(np.nanmedian([smallest for _, _, smallest in told]))


def read_spread(path: Path) -> Spread:
    """The final scores of each task's seeds, as the protocol of Atari100k takes them."""
    seeds: dict[str, list[float]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for run in json.load(file):
            xs = np.array(run["xs"], float)
            ys = np.array([np.nan if y is None else y for y in run["ys"]], float)
            final = ys[(xs >= 390e3) & (xs <= 400e3) & np.isfinite(ys)]
            if len(final):
                seeds.setdefault(run["task"], []).append(final.mean())
    tasks = [np.array(each) for each in seeds.values() if len(each) > 1 and np.std(each) > 0]
    residuals = np.concatenate([(each - each.mean()) / each.std(ddof=1) for each in tasks])
    return Spread(
        mean=np.array([each.mean() for each in tasks]),
        deviation=np.array([each.std(ddof=1) for each in tasks]),
        residuals=residuals / residuals.std(),
    )


if __name__ == "__main__":
    main()
