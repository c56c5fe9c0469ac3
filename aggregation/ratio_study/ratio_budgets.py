"""What each train ratio had scored once all of them had spent the same: frames, updates or hours. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aggregation.curves.axes import TITLES, end_frames, needs, positions
from aggregation.dataset.bins import RunBins
from aggregation.sources.sources import RunInfo
from aggregation.statistics import intervals
from sweeps.contracts import ratio_text

Floats = NDArray[np.float64]
Kind = Literal["frames", "updates", "gpu_hours", "wall_hours"]

_SEED = 0
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class RunTrail:
    """The scores of one run in the order of its frames."""

    run: RunInfo
    #: Frames and scores of its fine bins, and the episodes in each; shape [bins].
    steps: Floats
    scores: Floats
    weights: Floats
    #: How far it came, in frames.
    end: float

    @classmethod
    def of(cls, run: RunInfo, bins: RunBins) -> "RunTrail":
        """From the bins of a run, without the empty ones."""
        held = np.flatnonzero(np.isfinite(bins.mean))
        steps = np.clip(bins.steps[held] - bins.width / 2, run.first_step, run.last_step)
        return cls(run, steps, bins.mean[held], bins.count[held].astype(np.float64), float(end_frames(run)))

    def spent(self, kind: Kind, frames: Floats) -> Floats | None:
        """What it had spent by then; None where that is not known."""
        return positions(self.run, kind, frames)

    def score_at(self, kind: Kind, budget: float, window: float) -> float:
        """The mean of the episodes in the last `window` of a budget, as a share of it.

        Where there is none, the last one before counts, if the run spent the whole budget. NaN else. A run that
        finished on less counts with the end of what it spent.
        """
        ends = self.spent(kind, np.array([self.end]))
        places = self.spent(kind, self.steps)
        if ends is None or places is None:
            return math.nan
        if self.run.state == "finished":
            budget = min(budget, float(ends[0]))
        inside = (places > budget * (1 - window)) & (places <= budget)
        if inside.any():
            return float(np.average(self.scores[inside], weights=self.weights[inside]))
        before = np.flatnonzero(places <= budget)
        return float(self.scores[before[-1]]) if len(before) and ends[0] >= budget else math.nan


@dataclass(frozen=True, slots=True)
class RatioScore:
    """One ratio at a budget."""

    ratio: float
    #: Of the runs with data by seed; None where one did not spend the budget, or had no episode by then.
    scores: dict[int, float | None]
    planned: int
    #: Of the scores; the bounds are None for fewer than two.
    mean: float | None
    low: float | None
    high: float | None
    #: What the budget is in frames, the median over runs.
    frames: float | None

    @property
    def present(self) -> Floats:
        """The scores that there are, shape [runs]."""
        return np.array([score for score in self.scores.values() if score is not None])

    def to_json(self) -> dict[str, Any]:
        return {
            "ratio": self.ratio,
            "scores": [{"seed": seed, "score": score} for seed, score in self.scores.items()],
            "seeds": len(self.present),
            "planned": self.planned,
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "frames": self.frames,
        }


@dataclass(frozen=True, slots=True)
class Budget:
    """The ratios of one task after the same expense."""

    kind: Kind
    value: float
    #: How the value was chosen.
    chosen: str
    ratios: tuple[RatioScore, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "value": self.value,
            "chosen": self.chosen,
            "ratios": [each.to_json() for each in self.ratios],
        }


def equal_budget(
    kind: Kind,
    trails: Sequence[Sequence[RunTrail]],
    ratios: Sequence[float],
    planned: Sequence[int],
    *,
    window: float,
    confidence: float,
    reps: int,
) -> Budget | None:
    """The scores of each ratio at the largest budget that half of the runs of every ratio reached.

    Args:
        kind: What is to be equal.
        trails: The runs with data of each ratio.
        ratios: Their ratios.
        planned: Their runs, those without data included.
        window: The share of the budget, at its end, whose episodes make a run's score.
        confidence: Of the bootstrap intervals.
        reps: Draws.

    Returns:
        None where what some ratio spent is not known.
    """
    reaches = []
    for runs in trails:
        reach = half_reach(kind, runs)
        if reach is None:
            return None
        reaches.append(reach)
    least = int(np.argmin(reaches))
    value = reaches[least]
    if value <= 0:
        return None
    chosen = f"the most {TITLES[kind]} that half of the runs of every ratio reached: {value:,.6g}"
    if max(reaches) > value:
        chosen += f", the reach of ratio {ratio_text(ratios[least])}"
    scores = [
        _ratio_score(kind, value, ratio, runs, count, window, confidence, reps)
        for ratio, runs, count in zip(ratios, trails, planned, strict=True)
    ]
    return Budget(kind, rounded(value), chosen, tuple(scores))


def half_reach(kind: Kind, runs: Sequence[RunTrail]) -> float | None:
    """The most that half of the runs spent; None where what too many spent is not known."""
    ends = [trail.spent(kind, np.array([trail.end])) for trail in runs]
    known = sorted((float(end[0]) for end in ends if end is not None), reverse=True)
    place = math.ceil(len(runs) / 2) - 1
    return known[place] if len(known) > place else None


def missing_budget(kind: Kind) -> str:
    """Why there is nothing to say at equal `kind`."""
    return f"Nothing at equal {TITLES[kind]}: in every ratio half of the runs need {needs(kind)}."


def rounded(value: float) -> float:
    """For JSON, to six digits."""
    return float(f"{value:.{_DIGITS}g}")


def _ratio_score(
    kind: Kind,
    value: float,
    ratio: float,
    runs: Sequence[RunTrail],
    planned: int,
    window: float,
    confidence: float,
    reps: int,
) -> RatioScore:
    scores = {trail.run.key.seed: trail.score_at(kind, value, window) for trail in runs}
    present = np.array([score for score in scores.values() if math.isfinite(score)])
    frames = [found for trail in runs if (found := _frames_at(trail, kind, value)) is not None]
    low = high = None
    if len(present) > 1:
        interval = intervals(
            [present], ["mean"], reps=reps, confidence=confidence, generator=np.random.default_rng(_SEED)
        )["mean"]
        low, high = rounded(interval.low), rounded(interval.high)
    return RatioScore(
        ratio=ratio,
        scores={seed: rounded(score) if math.isfinite(score) else None for seed, score in scores.items()},
        planned=planned,
        mean=rounded(float(present.mean())) if len(present) else None,
        low=low,
        high=high,
        frames=rounded(float(np.median(frames))) if frames else None,
    )


def _frames_at(trail: RunTrail, kind: Kind, value: float) -> float | None:
    """The frames at which a run had spent so much; None where it never did."""
    if kind == "frames":
        return value if trail.end >= value else None
    grid = np.linspace(0.0, trail.end, 2001)
    spent = trail.spent(kind, grid)
    if spent is None or spent[-1] < value:
        return None
    return float(grid[np.searchsorted(spent, value)])
