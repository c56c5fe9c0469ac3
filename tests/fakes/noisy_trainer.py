"""A trainer whose scores are noise around a level, for nights: a level that drops is a regression.

Each episode's score is the level, plus the run's own luck, which follows from its seed and its task.
"""

import argparse
import json
import random
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run_dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--task", default="")
    parser.add_argument("--level", type=float, default=100.0)
    parser.add_argument("--spread", type=float, default=10.0)
    #: The run fails on this task.
    parser.add_argument("--fails_on", default="")
    arguments, _ = parser.parse_known_args()  # what suites and methods set for the real one means nothing here
    if arguments.fails_on and arguments.task == arguments.fails_on:
        raise RuntimeError("the reward is a teapot")
    luck = random.Random(f"{arguments.seed} {arguments.task}").gauss(0, arguments.spread)
    with (arguments.run_dir / "scores.jsonl").open("a") as scores:
        for step in range(1, arguments.steps + 1):
            # It learns at first: only the end of the curve is the level.
            score = (arguments.level + luck) * min(1.0, 2 * step / arguments.steps)
            scores.write(json.dumps({"step": step, "episode/score": score}) + "\n")


if __name__ == "__main__":
    main()
