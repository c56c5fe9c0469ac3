"""Which labels are compared with which: two sides of opened sources, paired and brought to one table of scores."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregation.evaluation.evaluation import Evaluation
from aggregation.sources.sources import RunInfo, Sources
from aggregation.statistics import Interval, difference_intervals
from aggregation.verdicts.comparison import TaskScores
from sweeps.errors import ConfigError
from sweeps.selection import selected


@dataclass(frozen=True, slots=True)
class Pair:
    """Two labels of one suite, each as its evaluation shows it."""

    suite: str
    a: str
    b: str


def pairs(
    sources: Sources,
    a: Path,
    b: Path,
    *,
    a_labels: Collection[str] | None = None,
    b_labels: Collection[str] | None = None,
) -> list[Pair]:
    """Pair each label of one side with that of the same name on the other, or with the only one there.

    Args:
        sources: Both, opened together.
        a: The path of one side, as it was opened.
        b: The path of the other; may be the same.
        a_labels: Only these of the first.
        b_labels: Only these of the second.

    Raises:
        UnknownNameError: a label that its side does not have.
        ConfigError: it is not clear what is to be compared, or the two sides share no suite.
    """
    found: list[Pair] = []
    unclear: list[str] = []
    suites = [suite for suite in sources.suites if _labels(sources, a, suite) and _labels(sources, b, suite)]
    if not suites:
        raise ConfigError(
            f"{a} and {b} share no suite: {_suites(sources, a)} on one side, {_suites(sources, b)} on the other."
        )
    a_chosen, b_chosen = _chosen(sources, a, suites, a_labels), _chosen(sources, b, suites, b_labels)
    for suite in suites:
        firsts, seconds = _labels(sources, a, suite, a_chosen), _labels(sources, b, suite, b_chosen)
        for name, shown in firsts.items():
            if seconds.get(name, shown) != shown:
                found.append(Pair(suite, shown, seconds[name]))
            elif len(seconds) == 1 and (name not in seconds):
                found.append(Pair(suite, shown, next(iter(seconds.values()))))
            else:
                unclear.append(f"{name} with {', '.join(seconds)}")
    if not found and _place(a) == _place(b):
        names = ", ".join(dict.fromkeys(name for suite in suites for name in _labels(sources, a, suite)))
        raise ConfigError(
            f"Both sides are {a}. Say which of its labels to compare, with --label-a and --label-b; it has: {names}."
        )
    if not found:
        raise ConfigError(
            f"It is not clear what is to be compared: {'; '.join(unclear)}. Say which, with --label-a and --label-b."
        )
    return found


def task_scores(evaluation: Evaluation, pair: Pair) -> list[TaskScores]:
    """The scores of both labels on every task that either has."""
    spans = evaluation.scale.spans
    return [
        TaskScores(
            suite=evaluation.suite,
            task=task,
            a=evaluation.cell(task, pair.a),
            b=evaluation.cell(task, pair.b),
            low=0.0 if spans is None else spans[task][0],
        )
        for task in evaluation.tasks
        if evaluation.cells[task, pair.a].with_data or evaluation.cells[task, pair.b].with_data
    ]


def headline_differences(evaluation: Evaluation, pair: Pair, generator: np.random.Generator) -> dict[str, Interval]:
    """How much higher the protocol's aggregates of A are, as they are shown, over the tasks that both have.

    Args:
        evaluation: Of their suite. Where its tasks share no scale, nothing is aggregated.
        pair: The two labels.
        generator: The same state gives the same intervals.
    """
    labels = pair.a, pair.b
    tasks = [task for task in evaluation.tasks if all(evaluation.cells[task, label].with_data for label in labels)]
    if not tasks or not evaluation.is_aggregated:
        return {}
    a, b = ([evaluation.normalised(task, label) for task in tasks] for label in labels)
    found = difference_intervals(a, b, evaluation.protocol.aggregate, generator=generator)
    factor = evaluation.scale.factor
    return {
        metric: Interval(factor * each.point, factor * each.low, factor * each.high) for metric, each in found.items()
    }


def _chosen(sources: Sources, path: Path, suites: Sequence[str], names: Collection[str] | None) -> set[str]:
    """The labels of a side that `names` means; all of them where there are none."""
    allowed = {label for suite in suites for label in _labels(sources, path, suite)}
    return selected("label", names, allowed, where=str(path)) if names else allowed


def _labels(sources: Sources, path: Path, suite: str, wanted: Collection[str] | None = None) -> dict[str, str]:
    """The labels of a side, each with the name under which it is shown."""
    return {
        run.key.label: run.label
        for run in _runs(sources, path)
        if run.key.suite == suite and (wanted is None or run.key.label in wanted)
    }


def _suites(sources: Sources, path: Path) -> str:
    return ", ".join(dict.fromkeys(run.key.suite for run in _runs(sources, path))) or "none"


def _runs(sources: Sources, path: Path) -> Sequence[RunInfo]:
    return [run for run in sources.runs if _place(run.source.path) == _place(path)]


def _place(path: Path) -> Path:
    return path.expanduser().resolve()
