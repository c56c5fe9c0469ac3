"""Whether tonight's runs are worse than those of the last nights: the decision of `dreamsweep nightly`. Pure.

A night is judged in two stages. It is *suspicious* where its runs lie low enough among those of the last nights, which
happens by chance too. Suspicious cells are then run again with fresh seeds, and a regression is *confirmed* where
tonight's and the fresh runs together lie so low that chance does it in one night of a hundred, at most.

Both look at sums over tonight's runs, and compare them with the sums of as many runs taken by lot from all nights of
the same cell. (A single cell is suspected by Student's t, which is quick and rough.) Where nothing has changed, every
choice of runs is equally likely to be tonight's: the promise on false alarms rests on that alone, not on the shape of
the scores. It holds for the second stage by itself, and the first can only withhold alarms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aggregation.permutation import p_value, subset_sums
from aggregation.student_t import tail

Floats = NDArray[np.float64]
Verdict = Literal["too little history", "fine", "better", "suspicious", "not confirmed", "regression"]

_LEAST_SPREAD = 0.05  # of the mean; a cell whose runs hardly differ shall not decide over all others
POWER = 0.8
_CELL_DRAWS = 5  # times as many for a single cell among hundreds, which is judged far out in the tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How nights are judged."""

    #: How many false alarms there are in a night at most.
    alpha: float = 0.01
    #: The part of `alpha` for single cells; the rest is for all cells together.
    cells_share: float = 0.3
    #: How often a night is suspicious by chance: once for all cells together, and once for single ones.
    suspicion: float = 0.1
    #: Fresh seeds for each suspicious cell; 0 to decide on tonight's runs alone.
    confirm: int = 3
    #: Nights to have before any is judged.
    least_nights: int = 5
    #: Choices of runs by lot.
    draws: int = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Scores of one cell. Arrays have shape [runs], without missing ones."""

    name: str
    #: Of the last nights.
    history: Floats
    tonight: Floats
    #: Of the fresh seeds of the second stage.
    fresh: Floats
    #: The score that stands for nothing learned, from which relative changes are meant.
    low: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """The first stage."""

    #: The probability of all cells together lying as low by chance, and of lying as high.
    p: float
    p_better: float
    #: Whether all cells together are suspicious.
    whole: bool
    #: Names of cells that are suspicious by themselves.
    cells: tuple[str, ...]

    @property
    def is_raised(self) -> bool:
        return self.whole or bool(self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is said of a night."""

    verdict: Verdict
    #: Cells that count: with runs tonight and a history.
    judged: int
    #: The first stage; None where there is too little history.
    suspicion: Suspicion | None = None
    #: The probability of all cells lying as low by chance, with the fresh runs where there are any.
    p: float | None = None
    #: Names of cells that are confirmed by themselves, and the p-value of each.
    cells: tuple[tuple[str, float], ...] = ()
    #: The relative change of all cells and its standard error; None where no cell has a mean and a spread.
    change: float | None = None
    error: float | None = None
    #: The least drop of all cells that would be confirmed with a probability of 0.8; None where none would.
    smallest: float | None = None


def suspicion(cells: Sequence[Cell], rule: Rule, generator: np.random.Generator) -> Suspicion:
    """The first stage: which cells, or all together, lie low tonight.

    Args:
        cells: Their fresh runs are not looked at. None may be without runs tonight or without history.
        rule: How often a night may be suspicious by chance.
        generator: The same state gives the same answer.
    """
    low, high = _tails([(cell.history, cell.tonight) for cell in cells], rule.draws, generator)
    lone = tuple(cell.name for cell in cells if _predicted_tail(cell) <= rule.suspicion / len(cells))
    return Suspicion(p=low, p_better=high, whole=low <= rule.suspicion, cells=lone)


def judge(cells: Sequence[Cell], nights: int, rule: Rule, generator: np.random.Generator) -> Judgement:
    """Say what a night was.

    Args:
        cells: With the fresh runs of those that were run again: all of them where all together were suspicious.
        nights: How many nights the history holds.
        rule: What holds false alarms down.
        generator: The same state gives the same answer.
    """
    known = [_lifted(cell) for cell in cells if len(cell.tonight) and len(cell.history) >= rule.least_nights]
    if nights < rule.least_nights or not known:
        return Judgement(verdict="too little history", judged=len(known))
    found = suspicion(known, rule, generator)
    p = found.p
    confirmed: tuple[tuple[str, float], ...] = ()
    level = rule.alpha * (1 - rule.cells_share)
    verdict: Verdict
    is_final = not rule.confirm or any(len(cell.fresh) for cell in known)
    if found.is_raised and is_final:
        if found.whole and rule.confirm:
            pairs = [(cell.history, np.concatenate([cell.tonight, cell.fresh])) for cell in known]
            p, _ = _tails(pairs, rule.draws, generator)
        confirmed = _confirmed(known, found, rule, generator)
        verdict = "regression" if confirmed or (found.whole and p <= level) else "not confirmed"
    elif found.is_raised:
        verdict = "suspicious"
    else:
        verdict = "better" if found.p_better <= level else "fine"
    change, error = _change(known)
    return Judgement(
        verdict=verdict,
        suspicion=found,
        p=p,
        cells=confirmed,
        change=change,
        error=error,
        smallest=smallest_drop([(cell.history, len(cell.tonight)) for cell in known], rule),
        judged=len(known),
    )


def smallest_drop(cells: Sequence[tuple[Floats, int]], rule: Rule, *, power: float = POWER) -> float | None:
    """The least relative drop of all cells' scores that is confirmed with the probability `power`; None for none.

    Sums over runs are taken as normal. Those of the two stages share tonight's runs, so that their correlation is the
    root of the ratio of what is known at each.

    Args:
        cells: The scores of the last nights, two or more, and how many runs a night has.
        rule: The levels of both stages, and the fresh seeds.
        power: Between 0 and 1.
    """
    first = math.sqrt(sum(_information(history, runs) for history, runs in cells))
    second = math.sqrt(sum(_information(history, runs + rule.confirm) for history, runs in cells))
    if not first:
        return None
    screen = NormalDist().inv_cdf(1 - rule.suspicion) if rule.confirm else -math.inf
    final = NormalDist().inv_cdf(1 - rule.alpha * (1 - rule.cells_share))
    low, high = 0.0, 1.0
    for _ in range(30):
        drop = (low + high) / 2
        enough = _both_above(screen - drop * first, final - drop * second, first / second) >= power
        low, high = (low, drop) if enough else (drop, high)
    return high if high < 1 else None


def _lifted(cell: Cell) -> Cell:
    """A cell whose scores are counted from the one that stands for nothing learned."""
    scores = {name: getattr(cell, name) - cell.low for name in ("history", "tonight", "fresh")}
    return Cell(name=cell.name, **scores)


def _tails(pairs: Sequence[tuple[Floats, Floats]], draws: int, generator: np.random.Generator) -> tuple[float, float]:
    """The probability of all cells together lying as low by chance, and of them lying as high.

    Each cell weighs its runs by the mean over the variance, as is best against one relative change of all cells. Both
    are those of all its runs, so that the weights do not depend on which of them are tonight's.

    Args:
        pairs: Per cell the runs of the last nights and tonight's.
        draws: How many choices.
        generator: Draws them.
    """
    observed, drawn = 0.0, np.zeros(draws)
    for history, tonight in pairs:
        runs = np.concatenate([tonight, history])
        mean, spread = abs(float(runs.mean())), _spread(runs)
        if spread:
            weighed = (runs - runs.mean()) * (mean / spread**2)
            observed += float(weighed[: len(tonight)].sum())
            drawn += subset_sums(weighed, len(tonight), draws, generator)
    return p_value(-observed, -drawn), p_value(observed, drawn)


def _confirmed(
    cells: Sequence[Cell], found: Suspicion, rule: Rule, generator: np.random.Generator
) -> tuple[tuple[str, float], ...]:
    """Suspicious cells that lie low with their fresh runs too, at a level that is shared among all cells."""
    level = rule.alpha * rule.cells_share / len(cells)
    confirmed = []
    for cell in cells:
        if cell.name in found.cells:
            runs = np.concatenate([cell.tonight, cell.fresh, cell.history])
            taken = len(cell.tonight) + len(cell.fresh)
            drawn = subset_sums(runs, taken, _CELL_DRAWS * rule.draws, generator)
            p = p_value(-float(runs[:taken].sum()), -drawn)
            if p <= level:
                confirmed.append((cell.name, p))
    return tuple(confirmed)


def _predicted_tail(cell: Cell) -> float:
    """The probability of tonight's mean lying as low, if runs were normal; quick and rough, for the first stage."""
    distance = float(cell.tonight.mean() - cell.history.mean())
    spread = _spread(cell.history)
    if not spread:
        return 0.0 if distance < 0 else 1.0
    t = distance / (spread * math.sqrt(1 / len(cell.tonight) + 1 / len(cell.history)))
    return tail(-t, len(cell.history) - 1)


def _change(cells: Sequence[Cell]) -> tuple[float | None, float | None]:
    """The relative change of all cells, weighed by what is known of each, and its standard error."""
    total = known = 0.0
    for cell in cells:
        tonight = np.concatenate([cell.tonight, cell.fresh])
        information = _information(cell.history, len(tonight))
        mean = float(cell.history.mean())
        if information:
            total += information * float(tonight.mean() - mean) / abs(mean)
            known += information
    return (total / known, 1 / math.sqrt(known)) if known else (None, None)


def _information(history: Floats, runs: int) -> float:
    """What so many runs tell of a relative change: one over the variance of its estimate."""
    spread, mean = _spread(history), float(history.mean())
    if not spread or not mean:
        return 0.0
    # The spread of few runs is low as often as high, which makes its inverse too high on average.
    correction = max(len(history) - 3, 1) / max(len(history) - 1, 1)
    return correction * (mean / spread) ** 2 / (1 / runs + 1 / len(history))


def _spread(runs: Floats) -> float:
    """The standard deviation of runs, but not less than a part of their mean."""
    return max(float(runs.std(ddof=1)) if len(runs) > 1 else 0.0, _LEAST_SPREAD * abs(float(runs.mean())))


def _both_above(first: float, second: float, correlation: float) -> float:
    """The probability that two standard normal values lie above two bounds."""
    if correlation >= 1:
        return 1 - NormalDist().cdf(max(first, second))
    values = np.linspace(max(first, -8.0), 8.0, 400)
    density = np.exp(-values * values / 2) / math.sqrt(2 * math.pi)
    rest = math.sqrt(1 - correlation**2)
    above = [NormalDist().cdf((correlation * value - second) / rest) for value in values.tolist()]
    return float(np.trapezoid(density * above, values)) if first < 8 else 0.0
