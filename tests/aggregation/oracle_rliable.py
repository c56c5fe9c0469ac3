"""Our statistics beside rliable's, in a virtual environment that has rliable: `make oracle`.

Points must agree to 1e-12. Bounds are random on both sides: as a share of our draws, each of rliable's must lie
within 4.5 standard errors of its own.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from rliable import library, metrics

from aggregation import statistics as ours

THEIRS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": metrics.aggregate_mean,
    "median": metrics.aggregate_median,
    "iqm": metrics.aggregate_iqm,
    "optimality_gap": metrics.aggregate_optimality_gap,
}
TAIL, ERRORS, OUR_REPS = 0.025, 4.5, 200_000


def matrices(count: int) -> Iterator[np.ndarray]:
    """Random scores of shape [runs, tasks]: skewed, with ties, negative, of very different tasks."""
    generator = np.random.default_rng(0)
    for place in range(count):
        shape = generator.integers(1, 13), generator.integers(1, 31)
        scores = generator.lognormal(0, 1.5, shape)
        if place % 4 == 1:
            scores = np.round(scores)
        elif place % 4 == 2:
            scores = generator.normal(0, 1, shape)
        elif place % 4 == 3:
            scores = scores * generator.lognormal(0, 2, shape[1])
        yield scores


def tasks(scores: np.ndarray) -> list[np.ndarray]:
    return list(scores.T)


def close(what: str, found: object, expected: object, scores: np.ndarray) -> None:
    """Fail where two points differ by more than rounding."""
    error = float(np.max(np.abs(np.asarray(found) - np.asarray(expected))))
    scale = max(1.0, float(np.max(np.abs(scores))))
    if error > 1e-12 * scale:
        sys.exit(f"{what}: ours {found}, rliable {expected}, for scores of shape {scores.shape}\n{scores}")


def compare_points(count: int) -> None:
    for scores in matrices(count):
        for name, theirs in THEIRS.items():
            close(name, ours.point(tasks(scores), name), theirs(scores), scores)
        taus = np.unique(np.concatenate([np.linspace(scores.min() - 1, scores.max() + 1, 50), scores.ravel()]))
        expected = np.array([library.run_score_deviation(scores, tau) for tau in taus])
        close("profile", ours.performance_profile(tasks(scores), taus), expected, np.ones(1))
        other = np.roll(scores, 1, axis=1)[:-1] if len(scores) > 1 else scores[:, ::-1]
        found = ours.probability_of_improvement(tasks(scores), tasks(other))
        close("improvement", found, metrics.probability_of_improvement(scores, other), np.ones(1))
    print(f"points of {count} matrices agree: {', '.join(THEIRS)}, profile, probability of improvement")


def check_bounds(what: str, theirs: np.ndarray, bounds: Callable[[float], tuple[object, object]], reps: int) -> None:
    """Fail where a bound of rliable lies elsewhere among our draws than chance allows.

    Args:
        what: Named in the message.
        theirs: Lower and upper bounds, shape [2, points].
        bounds: Ours, by the share of draws that lie outside on either side.
        reps: rliable's draws.
    """
    spread = ERRORS * np.sqrt(TAIL * (1 - TAIL) * (1 / reps + 1 / OUR_REPS))
    (outer_low, outer_high), (inner_low, inner_high) = bounds(max(TAIL - spread, 0)), bounds(TAIL + spread)
    slack = 1e-6 * max(1.0, float(np.max(np.abs(theirs))))
    low, high = theirs
    fine = (outer_low - slack <= low) & (low <= inner_low + slack)
    fine &= (inner_high - slack <= high) & (high <= outer_high + slack)
    if not np.all(fine):
        sys.exit(f"{what}: rliable {theirs.tolist()}, ours from {bounds(TAIL)}")
    print(f"bounds agree: {what}, rliable with {reps:,} draws, ours with {OUR_REPS:,}")


def compare_bounds(reps: int) -> None:
    for scores in list(matrices(400))[20:400:76]:
        of = f"of {scores.shape[0]} runs × {scores.shape[1]} tasks"
        _, theirs = library.get_interval_estimates(
            {"x": scores}, lambda values: np.array([each(values) for each in THEIRS.values()]), reps=reps
        )
        check_bounds(f"aggregates {of}", theirs["x"], partial(aggregate_bounds, scores), reps)

        taus = np.linspace(scores.min(), scores.max(), 20)
        _, theirs = library.create_performance_profile({"x": scores}, taus, reps=reps)
        check_bounds(f"profile {of}", theirs["x"], partial(profile_bounds, scores, taus), reps)

        pair = scores, scores * 1.2
        _, theirs = library.get_interval_estimates({"x,y": pair}, metrics.probability_of_improvement, reps=reps // 10)
        check_bounds(f"improvement {of}", theirs["x,y"], partial(improvement_bounds, *pair), reps // 10)

    curves = np.random.default_rng(2).lognormal(0, 1, (5, 8, 6)).cumsum(axis=2)
    _, theirs = library.get_interval_estimates(
        {"x": curves},
        lambda values: np.array([metrics.aggregate_iqm(values[..., frame]) for frame in range(values.shape[-1])]),
        reps=reps,
    )
    check_bounds("a curve of 6 points", theirs["x"], partial(curve_bounds, curves), reps)


def aggregate_bounds(scores: np.ndarray, tail: float) -> tuple[np.ndarray, np.ndarray]:
    found = ours.intervals(tasks(scores), tuple(THEIRS), **options(tail)).values()
    return np.array([interval.low for interval in found]), np.array([interval.high for interval in found])


def profile_bounds(scores: np.ndarray, taus: np.ndarray, tail: float) -> tuple[np.ndarray, np.ndarray]:
    band = ours.profile_band(tasks(scores), taus, **options(tail))
    return band.low, band.high


def improvement_bounds(scores: np.ndarray, other: np.ndarray, tail: float) -> tuple[float, float]:
    found = ours.improvement_interval(tasks(scores), tasks(other), **options(tail))
    return found.low, found.high


def curve_bounds(curves: np.ndarray, tail: float) -> tuple[np.ndarray, np.ndarray]:
    band = ours.curve_intervals(list(curves.transpose(1, 0, 2)), "iqm", **options(tail))
    return band.low, band.high


def options(tail: float) -> dict[str, Any]:
    return {"reps": OUR_REPS, "confidence": 1 - 2 * tail, "generator": np.random.default_rng(1)}


def golden() -> None:
    """The table in tests/aggregation/test_rliable_values.py."""
    runs, suite = np.arange(5)[:, None], np.arange(26)[None, :]
    scores = ((7919 * runs + 104729 * suite + runs * suite * 31) % 1000) / 400 - 0.3
    table = {name: float(theirs(scores)) for name, theirs in THEIRS.items()}
    print(
        json.dumps(
            table | {"profile": [float(library.run_score_deviation(scores, tau)) for tau in (0.0, 0.5, 1.0, 2.0)]}
        )
    )
    print(json.dumps({"improvement": float(metrics.probability_of_improvement(scores, scores[::-1, ::-1][:4] + 0.1))}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=400, help="random matrices whose points are compared")
    parser.add_argument("--reps", type=int, default=4000, help="rliable's draws")
    parser.add_argument("--golden", action="store_true", help="print rliable's values of one matrix and stop")
    arguments = parser.parse_args()
    if arguments.golden:
        golden()
        return
    compare_points(arguments.points)
    compare_bounds(arguments.reps)


if __name__ == "__main__":
    main()
