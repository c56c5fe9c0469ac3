"""Bootstrap intervals of 26 tasks × 5 runs: ours, and rliable's where `make oracle` has installed it.

The least of three times of ours. rliable takes fewer draws, once, and its time is scaled up: it is proportional to
them.

    python -m benchmarks statistics --reps 50000
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aggregation.statistics import curve_intervals, improvement_interval, intervals, profile_band

AIMS_S = {"four aggregates": 0.5, "profile, 201 thresholds": 1.0, "IQM curve, 30 points": 4.0}

RLIABLE = """\
import json, sys, time
import numpy as np
from rliable import library, metrics
generator = np.random.default_rng(0)
scores, other = generator.lognormal(0, 1, (5, 26)), generator.lognormal(0, 1, (5, 26))
curves = generator.lognormal(0, 1, (5, 26, 30))
four = lambda x: np.array([
    metrics.aggregate_mean(x), metrics.aggregate_median(x),
    metrics.aggregate_iqm(x), metrics.aggregate_optimality_gap(x),
])
iqm = lambda x: np.array([metrics.aggregate_iqm(x[..., frame]) for frame in range(x.shape[-1])])
reps = int(sys.argv[1])
seconds = {}
for name, scale, call in (
    ("four aggregates", 1, lambda n: library.get_interval_estimates({"x": scores}, four, reps=n)),
    ("profile, 201 thresholds", 10,
     lambda n: library.create_performance_profile({"x": scores}, np.linspace(0, 8, 201), reps=n)),
    ("probability of improvement", 50, lambda n: library.get_interval_estimates(
        {"x,y": (scores, other)}, metrics.probability_of_improvement, reps=n)),
    ("IQM curve, 30 points", 10, lambda n: library.get_interval_estimates({"x": curves}, iqm, reps=n)),
):
    started = time.perf_counter()
    call(reps // scale)
    seconds[name] = (time.perf_counter() - started) * scale
print(json.dumps(seconds))
"""


def main() -> None:
    """Print the seconds of both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=50_000)
    parser.add_argument("--rliable", type=Path, default=Path(".venv-oracle/bin/python"), help="a Python that has it")
    arguments = parser.parse_args()
    ours = _ours(arguments.reps)
    theirs = _theirs(arguments.rliable, arguments.reps) if arguments.rliable.exists() else {}
    print(f"{arguments.reps:,} draws of 26 tasks × 5 runs")
    print("| | ours, s | aim, s | rliable, s | ratio |")
    print("|---|---|---|---|---|")
    for name, seconds in ours.items():
        aim = f"{AIMS_S[name]:g}" if name in AIMS_S else ""
        peer = f"{theirs[name]:.1f} | {theirs[name] / seconds:,.0f}" if name in theirs else "|"
        print(f"| {name} | {seconds:.3f} | {aim} | {peer} |")


def _ours(reps: int) -> dict[str, float]:
    generator = np.random.default_rng(0)
    scores, other = list(generator.lognormal(0, 1, (26, 5))), list(generator.lognormal(0, 1, (26, 5)))
    curves = list(generator.lognormal(0, 1, (26, 5, 30)))
    calls: dict[str, Callable[[], object]] = {
        "four aggregates": lambda: intervals(scores, reps=reps, generator=generator),
        "profile, 201 thresholds": lambda: profile_band(scores, np.linspace(0, 8, 201), reps=reps, generator=generator),
        "probability of improvement": lambda: improvement_interval(scores, other, reps=reps, generator=generator),
        "IQM curve, 30 points": lambda: curve_intervals(curves, "iqm", reps=reps, generator=generator),
    }
    return {name: min(_seconds(call) for _ in range(3)) for name, call in calls.items()}


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _theirs(python: Path, reps: int) -> dict[str, float]:
    # One tenth of the draws at first: 50,000 of each would take ten minutes.
    done = subprocess.run([python, "-c", RLIABLE, str(reps // 10)], check=True, stdout=subprocess.PIPE)
    return {name: 10 * seconds for name, seconds in json.loads(done.stdout).items()}


if __name__ == "__main__":
    main()
