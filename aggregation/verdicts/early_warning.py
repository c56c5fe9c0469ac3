"""Whether runs under way do what their reference seeds did at the same step, and what may be the cause. Pure.

A run is told from its references where the mean of its last episodes lies outside all of theirs, and further out than
Student's t allows for one more run, in each of the last two windows and to the same side.

A label is told from its references over all its tasks at once, by permuting runs and references within each task: runs
that all lie a little low say together what none of them says alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aggregation.dataset.bins import RunBins
from aggregation.statistics import probability_of_improvement
from aggregation.student_t import quantile
from aggregation.verdicts.comparison import improvement_p
from sweeps.contracts import Schedule

#: How often a healthy run lies so far out in one window, at most, if scores are normal.
LEVEL = 0.01
#: How often a healthy label is told from its references by chance.
LABEL_LEVEL = 0.001
LEAST_REFERENCES = 3

_WINDOW = 0.1  # of the steps so far
_LEAST_BINS = 2
#: The least spread between seeds that is believed: of their mean, and of the range that they have gone through.
_LEAST_SPREAD = 0.05
_LEAST_RANGE = 0.02
_LABEL_REPS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What may explain that two runs differ. None stands for what is not known."""

    method: str
    #: Replayed time steps per policy step.
    train_ratio: float | None
    schedule: Schedule | None = None
    attempts: int = 0
    #: Bad lines in its log.
    faults: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """Where a run left its references."""

    side: Literal["below", "above"]
    #: The window, in environment frames.
    first: int
    last: int
    score: float
    #: The mean of the references in the same window, and the bounds that one more of them would keep.
    expected: float
    low: float
    high: float
    references: int


def departure(run: RunBins, references: Sequence[RunBins], *, level: float = LEVEL) -> Departure | None:
    """Where a run is outside what its references did; None where it is not, or too little is known.

    Args:
        run: The scores of the run so far.
        references: Those of other seeds, over their whole length. At least three must have come as far.
        level: How often one healthy run may lie outside a window.
    """
    if not len(run.count):
        return None
    now = float(run.steps[-1])
    size = max(_WINDOW * now, _LEAST_BINS * max(each.width for each in (run, *references)))
    if 2 * size > now:
        return None
    earlier = _outside(run, references, now - 2 * size, now - size, level)
    latest = _outside(run, references, now - size, now, level)
    return latest if earlier is not None and latest is not None and earlier.side == latest.side else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDeparture:
    """Where a label as a whole left its references."""

    side: Literal["below", "above"]
    #: The probability that a run of it beats a reference at the same step, the mean over tasks.
    improvement: float
    #: Of that being as far from even by chance.
    p: float
    tasks: int
    runs: int


def label_departure(
    tasks: Sequence[tuple[Sequence[RunBins], Sequence[RunBins]]],
    generator: np.random.Generator,
    *,
    level: float = LABEL_LEVEL,
) -> LabelDeparture | None:
    """Where a label is outside what its references did over its tasks; None where it is not.

    Args:
        tasks: Per task the runs of the label so far, and the references.
        generator: Draws the permutations.
        level: How often a healthy label may be told from them.
    """
    pairs = []
    for runs, references in tasks:
        ends = sorted(float(run.steps[-1]) for run in runs if len(run.count))
        if ends:
            # As far as half of the runs have come; one that has just begun shall not hide the others.
            now = ends[len(ends) // 2]
            size = max(_WINDOW * now, _LEAST_BINS * max(each.width for each in (*runs, *references)))
            sides = [
                np.array([window_mean(each, now - size, now) for each in side if len(each.count)])
                for side in (runs, references)
            ]
            own, others = (side[np.isfinite(side)] for side in sides)
            if size <= now and len(own) and len(others):
                pairs.append((own, others))
    if not pairs:
        return None
    improvement = probability_of_improvement([own for own, _ in pairs], [others for _, others in pairs])
    p = improvement_p(pairs, reps=_LABEL_REPS, generator=generator)
    if p > level:
        return None
    return LabelDeparture(
        side="below" if improvement < 0.5 else "above",
        improvement=improvement,
        p=p,
        tasks=len(pairs),
        runs=sum(len(own) for own, _ in pairs),
    )


def likely_causes(run: Traits, reference: Traits) -> tuple[str, ...]:
    """What is known to differ, the likeliest first; the ratio before all others."""
    causes = []
    if run.train_ratio is not None and reference.train_ratio is not None and run.train_ratio != reference.train_ratio:
        causes.append(
            f"its train_ratio is {run.train_ratio:g}, that of the reference {reference.train_ratio:g}: "
            f"{_times(run.train_ratio / reference.train_ratio)} the gradient updates per step"
        )
    if run.method != reference.method:
        causes.append(f"its method is {run.method}, that of the reference {reference.method}")
    if run.schedule is not None and reference.schedule is not None:
        for name, meaning in _SCHEDULED.items():
            own, other = getattr(run.schedule, name), getattr(reference.schedule, name)
            if own != other:
                causes.append(f"{meaning} is {own}, that of the reference {other}")
    if run.attempts > 1:
        causes.append(
            f"it is in attempt {run.attempts}: what a resume loses (a replay buffer, for one) shows for a while"
        )
    if run.faults:
        causes.append(f"its log has bad lines: {run.faults}")
    return tuple(causes) or (
        "nothing that is recorded differs: the trainer's revision, the environment's version, or the luck of this seed",
    )


_SCHEDULED = {
    "action_repeat": "its action repeat",
    "envs": "its number of environments",
    "batch_size": "its batch size",
    "batch_length": "its batch length",
    "replay_context": "its replay context",
}


def window_mean(bins: RunBins, first: float, last: float) -> float:
    """The mean score of the episodes whose bins end within a window, open at its start; NaN where there is none."""
    inside = (bins.steps > first) & (bins.steps <= last) & (bins.count > 0)
    number = bins.count[inside]
    return float(np.average(bins.mean[inside], weights=number)) if number.sum() else math.nan


def _outside(run: RunBins, references: Sequence[RunBins], first: float, last: float, level: float) -> Departure | None:
    score = window_mean(run, first, last)
    others = np.array([window_mean(each, first, last) for each in references])
    # One that has ended by then tells nothing of this window.
    others = others[np.isfinite(others)]
    if math.isnan(score) or len(others) < LEAST_REFERENCES:
        return None
    expected = float(others.mean())
    gone_through = float(np.ptp(np.concatenate([each.mean[each.count > 0] for each in references])))
    spread = max(float(others.std(ddof=1)), _LEAST_SPREAD * abs(expected), _LEAST_RANGE * gone_through)
    half = quantile(1 - level / 2, len(others) - 1) * spread * math.sqrt(1 + 1 / len(others))
    low, high = min(expected - half, float(others.min())), max(expected + half, float(others.max()))
    if low <= score <= high:
        return None
    return Departure(
        side="below" if score < low else "above",
        first=round(first),
        last=round(last),
        score=score,
        expected=expected,
        low=low,
        high=high,
        references=len(others),
    )


def _times(factor: float) -> str:
    return f"{factor:.3g} times" if factor > 1 else f"1/{1 / factor:.3g} of"
