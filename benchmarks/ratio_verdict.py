"""How often the replay-ratio study names a better ratio: where all are the same, and where one is.

Scores are drawn from normal distributions of one spread; the best ratio lies so many standard deviations above the
others.

    python -m benchmarks ratio_verdict --draws 2000
"""

import argparse

import numpy as np

from aggregation.ratio_study.ratio_budgets import RatioScore
from aggregation.ratio_study.ratio_verdict import recommendation

SHIFTS = (0, 1, 2, 3)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    print(f"{'ratios':>6}{'seeds':>7}" + "".join(f"{f'+{shift} sd':>9}" for shift in SHIFTS))
    for ratios in (2, 4, 8):
        for seeds in (3, 5, 10):
            named = [named_right(ratios, seeds, shift, draws) for shift in SHIFTS]
            print(f"{ratios:6}{seeds:7}" + "".join(f"{100 * share:8.1f}%" for share in named), flush=True)


def named_right(ratios: int, seeds: int, shift: float, draws: int) -> float:
    """How often the first ratio is named as better; any of them where all are the same."""
    named = 0
    for draw in range(draws):
        generator = np.random.default_rng([draw, ratios, seeds])
        scores = generator.standard_normal((ratios, seeds))
        scores[0] += shift
        advice = recommendation("frames", [scored(place, row) for place, row in enumerate(scores)], confidence=0.95)
        assert advice is not None
        named += advice.verdict == "better" and (not shift or advice.ratio == 1.0)
    return named / draws


def scored(place: int, scores: np.ndarray) -> RatioScore:
    seeds = dict(enumerate(scores.tolist()))
    return RatioScore(2.0**place, seeds, len(seeds), mean=0.0, low=None, high=None, frames=None)


if __name__ == "__main__":
    main()
