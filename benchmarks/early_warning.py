"""How often early warnings are raised for healthy runs, and for runs that learn more slowly.

Each published seed is held beside the other seeds of its task, at several steps: as it is, and learning so many times
more slowly (its scores stretched over the steps). A label is two of the seeds of each task beside the others.

    python -m benchmarks early_warning
"""

import argparse
from pathlib import Path

import numpy as np

from aggregation.dataset.bins import bins_of
from aggregation.dataset.episodes import Episodes
from aggregation.sources.sources import open_sources
from aggregation.verdicts.early_warning import departure, label_departure

SCORES = Path("../shared/data/score_files")
PARTS = (0.1, 0.2, 0.3, 0.5, 1.0)
FACTORS = (1, 2, 4, 16)
LABEL_SEEDS = 2


def main() -> None:
    """Print the share of runs that are told from the others, and whether the label is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, default=SCORES, help="a folder of published score files")
    arguments = parser.parse_args()
    files = sorted(arguments.scores.glob("*-dreamerv3.json.gz"))
    if not files:
        print(f"{arguments.scores} holds no *-dreamerv3.json.gz; name a folder of score files with --scores.")
        return
    columns = " | ".join(f"at {part:.0%}" for part in PARTS)
    print(f"runs told from the others, in percent; * where the label as a whole is\n| | slower | {columns} |")
    print("|---|---|" + "---|" * len(PARTS))
    for file in files:
        with open_sources([file]) as sources:
            tasks: dict[str, list[Episodes]] = {}
            for run, episodes in sources.episodes():
                tasks.setdefault(run.key.task, []).append(episodes)
        kept = [seeds for seeds in tasks.values() if len(seeds) >= 4]
        for factor in FACTORS:
            cells = [_cell(kept, factor, part) for part in PARTS]
            print(f"| {file.name.partition('-')[0]} | {factor} × | {' | '.join(cells)} |", flush=True)


def _cell(tasks: list[list[Episodes]], factor: int, part: float) -> str:
    told = looked = 0
    label = []
    for seeds in tasks:
        whole = [bins_of(seed.steps, seed.scores) for seed in seeds]
        slow = []
        for seed in seeds:
            so_far = seed.steps <= part * seed.steps[-1]
            scores = seed.scores[np.arange(len(seed.scores)) // factor]
            slow.append(bins_of(seed.steps[so_far], scores[so_far]))
        for place, run in enumerate(slow):
            looked += 1
            told += departure(run, [*whole[:place], *whole[place + 1 :]]) is not None
        label.append((slow[:LABEL_SEEDS], whole[LABEL_SEEDS:]))
    mark = "*" if label_departure(label, np.random.default_rng(0)) is not None else ""
    return f"{100 * told / looked:.1f}{mark}"


if __name__ == "__main__":
    main()
