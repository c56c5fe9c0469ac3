"""The replay-ratio study: what a method scores at each train ratio for the same frames, updates and hours. Pure.

Definitions are in docs/ratio_study.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregation.curves.axes import gpu_hours, needs, wall_hours
from aggregation.evaluation.scales import RAW, Scale
from aggregation.ratio_study.ratio_budgets import Budget, Kind, RunTrail, equal_budget, missing_budget, rounded
from aggregation.ratio_study.ratio_families import RatioFamily, ratio_families
from aggregation.ratio_study.ratio_frontier import Frontier, frontiers
from aggregation.ratio_study.ratio_verdict import Recommendation, recommendation, wilson_interval
from aggregation.sources.sources import RunInfo, Sources
from aggregation.statistics import Interval, intervals

Floats = NDArray[np.float64]

_SEED = 0
_METRICS = ("mean", "median", "iqm")
WINDOW = 0.1
FRACTIONS = (0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class RatioRuns:
    """How far the runs of one ratio on one task are."""

    ratio: float
    planned: int
    with_data: int
    #: Of those with data, the ones that are known to be over and did not finish, or still run.
    unfinished: int


@dataclass(frozen=True, slots=True)
class TaskStudy:
    """One task."""

    task: str
    runs: tuple[RatioRuns, ...]
    #: At most one of each kind.
    budgets: tuple[Budget, ...]
    frontiers: tuple[Frontier, ...]
    #: One for each budget.
    recommended: tuple[Recommendation, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "runs": [asdict(each) for each in self.runs],
            "budgets": [each.to_json() for each in self.budgets],
            "frontiers": [each.to_json() for each in self.frontiers],
            "recommended": [each.to_json() for each in self.recommended],
        }


@dataclass(frozen=True, slots=True)
class PairedChance:
    """How likely a run at one ratio beats the run of the same task and seed at another."""

    ratio: float
    other: float
    #: A tie counts half; every task weighs the same.
    chance: float
    #: Wilson's interval.
    low: float
    high: float
    pairs: int
    tasks: int


@dataclass(frozen=True, slots=True)
class AggregateScore:
    """One ratio over tasks."""

    ratio: float
    runs: int
    #: By metric, the value with its bootstrap interval.
    metrics: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class AggregateBudget:
    """All tasks together, each at its own budget of this kind."""

    kind: Kind
    #: Tasks on which every ratio has a score.
    tasks: tuple[str, ...]
    ratios: tuple[AggregateScore, ...]
    #: The lower ratio first.
    pairs: tuple[PairedChance, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "tasks": list(self.tasks),
            "ratios": [
                {
                    "ratio": each.ratio,
                    "runs": each.runs,
                    **{
                        name: {part: rounded(value) for part, value in asdict(interval).items()}
                        for name, interval in each.metrics.items()
                    },
                }
                for each in self.ratios
            ],
            "pairs": [asdict(each) for each in self.pairs],
        }


@dataclass(frozen=True, slots=True)
class RatioStudy:
    """One method of one suite at two train ratios or more."""

    suite: str
    #: The method, with its further options and its source where needed.
    name: str
    #: Ascending, and the label of each.
    ratios: tuple[float, ...]
    labels: tuple[str, ...]
    tasks: tuple[TaskStudy, ...]
    aggregate: tuple[AggregateBudget, ...]
    #: What the aggregate's scores are.
    unit: str
    #: Which hours `hours` of a frontier are; None for none.
    hours: Kind | None
    window: float
    confidence: float
    #: What was left out, and why.
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Numbers to six digits, null for what is not there.

        {"suite", "name", "ratios": [r], "labels": [r], "unit", "hours": "gpu_hours" | "wall_hours" | null,
         "window", "confidence", "notes": [text],
         "tasks": [{"task",
            "runs": [r × {"ratio", "planned", "with_data", "unfinished"}],
            "budgets": [{"kind": "frames" | "updates" | "gpu_hours" | "wall_hours", "value", "chosen": text,
                "ratios": [r × {"ratio", "scores": [{"seed", "score"}], "seeds", "planned", "mean", "low", "high",
                                "frames"}]}],
            "frontiers": [{"fraction", "score", "ratios": [r × {"ratio", "reached", "runs", "frames", "updates",
                "hours", "is_best_of_updates", "is_best_of_hours"}]}],
            "recommended": [per budget {"kind", "ratio", "mean", "seeds", "next_best", "next_mean", "next_seeds",
                "difference", "low", "high", "verdict": "better" | "no difference seen" | "too few seeds",
                "not_seen_worse": [ratio]}]}],
         "aggregate": [{"kind", "tasks": [name],
            "ratios": [r × {"ratio", "runs", "mean" | "median" | "iqm": {"point", "low", "high"}}],
            "pairs": [{"ratio", "other", "chance", "low", "high", "pairs", "tasks"}]}]}

        A task lists only the ratios that have data on it.
        """
        return {
            "suite": self.suite,
            "name": self.name,
            "ratios": list(self.ratios),
            "labels": list(self.labels),
            "tasks": [each.to_json() for each in self.tasks],
            "aggregate": [each.to_json() for each in self.aggregate],
            "unit": self.unit,
            "hours": self.hours,
            "window": self.window,
            "confidence": self.confidence,
            "notes": list(self.notes),
        }


def ratio_study(
    sources: Sources,
    *,
    scale_of: Callable[[str], Scale] = lambda _suite: RAW,
    window: float = WINDOW,
    fractions: Sequence[float] = FRACTIONS,
    confidence: float = 0.95,
    reps: int = 2000,
) -> list[RatioStudy]:
    """One study for each method whose train ratio varies, by suite and name; none where no ratio varies.

    Args:
        sources: What was opened.
        scale_of: From a suite's name to what makes its tasks comparable; used by the aggregate alone.
        window: The share of a budget, at its end, whose episodes make a run's score.
        fractions: Thresholds of the frontiers, between where the runs began and the best ratio's score.
        confidence: Of all intervals.
        reps: Draws of each bootstrap.
    """
    families = ratio_families(sources.runs)
    wanted = [run for family in families for runs in family.runs for run in runs]
    trails = {_place(run): RunTrail.of(run, bins) for run, bins in sources.bins(wanted)}
    study = _Study(scale_of, window, tuple(fractions), confidence, reps)
    return [study.of(family, trails) for family in families]


def _place(run: RunInfo) -> tuple[str, str]:
    return run.source.name, str(run.key)


@dataclass(frozen=True, slots=True)
class _Study:
    """The choices of a study."""

    scale_of: Callable[[str], Scale]
    window: float
    fractions: tuple[float, ...]
    confidence: float
    reps: int

    def of(self, family: RatioFamily, trails: dict[tuple[str, str], RunTrail]) -> RatioStudy:
        notes = list(family.notes)
        by_ratio = [
            [trails[_place(run)] for run in runs if _place(run) in trails and len(trails[_place(run)].steps)]
            for runs in family.runs
        ]
        hours = _hours(by_ratio)
        kinds: list[Kind] = ["frames", "updates", *([hours] if hours else [])]
        if hours is None:
            notes.append(f"Nothing at equal hours: in every ratio half of the runs need {needs('wall_hours')}.")
        elif hours == "wall_hours":
            notes.append("Not every ratio has runs that used a GPU: hours of running stand in place of GPU hours.")
        tasks = []
        for task in dict.fromkeys(run.key.task for runs in family.runs for run in runs):
            on_task = [[trail for trail in runs if trail.run.key.task == task] for runs in by_ratio]
            if sum(bool(runs) for runs in on_task) < 2:
                notes.append(f"{task} is left out: fewer than two ratios have data on it.")
                continue
            tasks.append(self._task(task, family, on_task, kinds, hours))
        without = [kind for kind in kinds if not any(budget.kind == kind for each in tasks for budget in each.budgets)]
        notes += [missing_budget(kind) for kind in without if tasks]
        scale = self.scale_of(family.suite)
        aggregates = [self._aggregate(kind, family.ratios, tasks, scale) for kind in kinds]
        return RatioStudy(
            suite=family.suite,
            name=family.name,
            ratios=family.ratios,
            labels=family.labels,
            tasks=tuple(tasks),
            aggregate=tuple(each for each in aggregates if each is not None),
            unit=scale.name,
            hours=hours,
            window=self.window,
            confidence=self.confidence,
            notes=tuple(notes),
        )

    def _task(
        self,
        task: str,
        family: RatioFamily,
        trails: Sequence[list[RunTrail]],
        kinds: Sequence[Kind],
        hours: Kind | None,
    ) -> TaskStudy:
        counts = [sum(run.key.task == task for run in runs) for runs in family.runs]
        having = [place for place, runs in enumerate(trails) if runs]
        ratios, with_data = [family.ratios[place] for place in having], [trails[place] for place in having]
        planned = [counts[place] for place in having]
        budgets = [
            equal_budget(
                kind,
                with_data,
                ratios,
                planned,
                window=self.window,
                confidence=self.confidence,
                reps=self.reps,
            )
            for kind in kinds
        ]
        there = tuple(budget for budget in budgets if budget is not None)
        ways = []
        if there and (means := [each.mean for each in there[0].ratios if each.mean is not None]):
            ways = frontiers(with_data, ratios, best=max(means), fractions=self.fractions, hours=hours)
        advice = [recommendation(budget.kind, budget.ratios, confidence=self.confidence) for budget in there]
        return TaskStudy(
            task=task,
            runs=tuple(
                RatioRuns(
                    ratio,
                    count,
                    len(runs),
                    sum(trail.run.state not in ("finished", "unknown", "reference") for trail in runs),
                )
                for ratio, count, runs in zip(family.ratios, counts, trails, strict=True)
            ),
            budgets=there,
            frontiers=tuple(ways),
            recommended=tuple(each for each in advice if each is not None),
        )

    def _aggregate(
        self, kind: Kind, ratios: Sequence[float], tasks: Sequence[TaskStudy], scale: Scale
    ) -> AggregateBudget | None:
        """The tasks together; None where there is none on which every ratio has a score."""
        scores: dict[str, list[dict[int, float]]] = {}
        for each in tasks:
            budget = next((budget for budget in each.budgets if budget.kind == kind), None)
            if budget is None or len(budget.ratios) < len(ratios) or not scale.knows(each.task):
                continue
            by_ratio = [_scaled(scale, each.task, ratio.scores) for ratio in budget.ratios]
            if all(by_ratio):
                scores[each.task] = by_ratio
        if not scores:
            return None
        generator = np.random.default_rng(_SEED)
        results = []
        for place, ratio in enumerate(ratios):
            runs = [np.array(list(by_ratio[place].values())) for by_ratio in scores.values()]
            metrics = intervals(runs, _METRICS, reps=self.reps, confidence=self.confidence, generator=generator)
            results.append(AggregateScore(ratio, sum(map(len, runs)), metrics))
        pairs = [
            found
            for low, high in combinations(range(len(ratios)), 2)
            if (found := self._pair(ratios[low], ratios[high], [(each[low], each[high]) for each in scores.values()]))
        ]
        return AggregateBudget(kind, tuple(scores), tuple(results), tuple(pairs))

    def _pair(
        self, ratio: float, other: float, tasks: Sequence[tuple[dict[int, float], dict[int, float]]]
    ) -> PairedChance | None:
        """Over the seeds that both have; None where they share none."""
        wins = []
        for own, others in tasks:
            shared = sorted(own.keys() & others.keys())
            if shared:
                differences = np.array([own[seed] - others[seed] for seed in shared])
                wins.append(0.5 + 0.5 * np.sign(differences))
        if not wins:
            return None
        chance = float(np.mean([each.mean() for each in wins]))
        # Of as many pairs of one weight as estimate the chance equally well.
        pairs = len(wins) ** 2 / sum(1 / len(each) for each in wins)
        low, high = wilson_interval(chance, pairs, self.confidence)
        return PairedChance(ratio, other, rounded(chance), rounded(low), rounded(high), sum(map(len, wins)), len(wins))


def _scaled(scale: Scale, task: str, scores: dict[int, float | None]) -> dict[int, float]:
    present = {seed: score for seed, score in scores.items() if score is not None}
    values = scale.of(task, np.array(list(present.values())))
    return dict(zip(present, values.tolist(), strict=True))


def _hours(trails: Sequence[Sequence[RunTrail]]) -> Kind | None:
    """GPU hours where half of the runs of every ratio have them, else hours of running, else None."""
    for kind, known in (("gpu_hours", gpu_hours), ("wall_hours", wall_hours)):
        if all(sum(known(trail.run) is not None for trail in runs) * 2 >= len(runs) for runs in trails):
            return kind  # type: ignore[return-value]
    return None
