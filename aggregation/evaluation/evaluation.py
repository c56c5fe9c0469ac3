"""From curves to numbers: what each seed scored in a protocol's window, and what the seeds say together.

A seed's score is the mean of its episodes in the window; a task's is the mean over the seeds that have one. Every
number keeps its coverage: seeds with data, seeds planned, and how far the others are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aggregation.dataset.window_scores import Progress, Window
from aggregation.evaluation.cells import Cell, Floats, Missing, best_of, mean_interval
from aggregation.evaluation.scales import Scale, protocol_scale
from aggregation.sources.sources import RunInfo, Sources, label_order
from aggregation.statistics import CONFIDENCE, REPS, Interval, LeaveOneOut, intervals, leave_one_task_out
from sweeps.errors import ConfigError, LogError, UnknownNameError
from sweeps.protocols import protocol_of, read_suite
from sweeps.settings import Protocol

#: Where there are many labels, each gets fewer draws, so that they all take a second.
_FEWEST_REPS, _REPS_OF_ALL = 2_000, 200_000
#: Metrics that compare with the score of 1.
_AGAINST_ONE = ("optimality_gap", "capped_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """An aggregate of one label over its tasks, on the shared scale."""

    label: str
    metric: str
    #: With the interval of a bootstrap over the seeds within each task.
    value: Interval
    #: Between which values it moves when one task is left out; None where there is only one.
    without_one: LeaveOneOut | None
    #: Those that have data, of which the aggregate is.
    tasks: tuple[str, ...]

    def to_json(self, scale: Scale) -> dict[str, Any]:
        shown = [scale.shown(each, self.metric) for each in (self.value.point, self.value.low, self.value.high)]
        left = self.without_one
        return {
            "label": self.label,
            "metric": self.metric,
            "value": shown[0],
            "low": shown[1],
            "high": shown[2],
            "unit": scale.unit,
            "tasks": len(self.tasks),
            "leave_one_task_out": None
            if left is None
            else {
                "low": scale.shown(left.low, self.metric),
                "low_without": self.tasks[left.low_without],
                "high": scale.shown(left.high, self.metric),
                "high_without": self.tasks[left.high_without],
            },
        }


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One suite by one protocol."""

    suite: str
    #: With what was set in its place.
    protocol: Protocol
    scale: Scale
    #: In the suite's own order where it is known, else by name.
    tasks: tuple[str, ...]
    #: By method, ratio and name.
    labels: tuple[str, ...]
    windows: Mapping[str, Window]
    cells: Mapping[tuple[str, str], Cell]
    #: Whether a file describes the suite.
    is_known: bool = True
    #: Tasks that the suite has and no run; empty where the suite is not known.
    absent_tasks: tuple[str, ...] = ()
    reps: int = REPS
    confidence: float = CONFIDENCE
    #: By source, how it was named and where it lies.
    sources: Mapping[str, str] = field(default_factory=dict)

    def cell(self, task: str, label: str) -> Floats:
        """Scores of the seeds planned, shape [seeds]."""
        return self.cells[task, label].scores

    def normalised(self, task: str, label: str) -> Floats:
        """The same on the shared scale."""
        return self.cells[task, label].normalised

    def best(self, task: str) -> frozenset[str]:
        """The label with the highest mean, and those that the intervals do not tell from it."""
        means = {label: self.cells[task, label].mean for label in self.labels}
        return best_of({label: mean for label, mean in means.items() if mean is not None})

    @property
    def is_aggregated(self) -> bool:
        """Whether the tasks share a scale, so that numbers over them mean something."""
        return self.scale.spans is not None or len(self.tasks) == 1

    @cached_property
    def headlines(self) -> tuple[Headline, ...]:
        """By metric, then by label; a label without any data has none."""
        return self._aggregates(None)

    @cached_property
    def shared_tasks(self) -> tuple[str, ...]:
        """Tasks on which every label that has data at all has some."""
        having = [label for label in self.labels if self._with_data(label)]
        return tuple(task for task in self.tasks if all(task in self._with_data(label) for label in having))

    @cached_property
    def shared_headlines(self) -> tuple[Headline, ...]:
        """The headlines on the shared tasks alone; empty where those are all that any label has, or none."""
        wider = any(len(self._with_data(label)) > len(self.shared_tasks) for label in self.labels)
        return self._aggregates(self.shared_tasks) if wider and self.shared_tasks else ()

    def _means_something(self, metric: str) -> bool:
        """Whether a metric can be taken: without a scale nothing is 1, and tasks cannot be put together."""
        return self.is_aggregated and (self.scale.spans is not None or metric not in _AGAINST_ONE)

    def _with_data(self, label: str) -> list[str]:
        return [task for task in self.tasks if self.cells[task, label].with_data]

    def _aggregates(self, only: Sequence[str] | None) -> tuple[Headline, ...]:
        metrics = [metric for metric in self.protocol.aggregate if self._means_something(metric)]
        found: dict[tuple[str, str], Headline] = {}
        for label in self.labels if metrics else ():
            tasks = tuple(task for task in self._with_data(label) if only is None or task in only)
            if not tasks:
                continue
            scores = [self.normalised(task, label) for task in tasks]
            # The same draws for each label, so that equal scores have equal intervals.
            generator = np.random.default_rng(0)
            bounds = intervals(scores, metrics, reps=self.reps, confidence=self.confidence, generator=generator)
            for metric in metrics:
                found[metric, label] = Headline(
                    label=label,
                    metric=metric,
                    value=bounds[metric],
                    without_one=leave_one_task_out(scores, metric),
                    tasks=tasks,
                )
        return tuple(found[metric, label] for metric in metrics for label in self.labels if (metric, label) in found)

    def to_json(self) -> dict[str, Any]:
        return {
            "suite": self.suite,
            "protocol": self.protocol.model_dump(mode="json"),
            "unit": self.scale.name,
            "confidence": self.confidence,
            "tasks": list(self.tasks),
            "labels": list(self.labels),
            "windows": {task: list(window) for task, window in self.windows.items()},
            "absent_tasks": list(self.absent_tasks),
            "cells": [
                {**self.cells[task, label].to_json(), "is_best": label in self.best(task)}
                for task in self.tasks
                for label in self.labels
            ],
            "headlines": [headline.to_json(self.scale) for headline in self.headlines],
            "shared_tasks": list(self.shared_tasks),
            "shared_headlines": [headline.to_json(self.scale) for headline in self.shared_headlines],
            "sources": dict(self.sources),
        }


def evaluate(
    sources: Sources,
    protocol: Protocol | None = None,
    *,
    suite: str | None = None,
    config_dir: Path | None = None,
    reps: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate the runs of one suite.

    Args:
        sources: What was opened.
        protocol: None for the suite's own. One that says nothing of a scale takes the suite's.
        suite: Which; may be left out where there is only one.
        config_dir: A user's own config directory.
        reps: Draws of the bootstrap; None for 10,000, or fewer where there are more than 20 labels.
        progress: Called with the partitions read and to read.

    Raises:
        UnknownNameError: no run is of that suite.
        ConfigError: there are several suites and none was named, or the normaliser lacks a task.
        LogError: no run has an episode in its window.
    """
    name = _suite(sources, suite)
    runs = [run for run in sources.runs if run.key.suite == name]
    known = read_suite(name, config_dir)
    used = protocol_of(name, config_dir) if protocol is None else protocol
    own = protocol_of(name, config_dir)
    if used.normaliser is None and used.scores is None:
        used = used.model_copy(update={"normaliser": own.normaliser, "scores": own.scores})
    if not used.aggregate:
        used = used.model_copy(update={"aggregate": own.aggregate or ["mean", "median"]})
    order = {task: place for place, task in enumerate(known.tasks)} if known is not None else {}
    tasks = tuple(
        sorted(dict.fromkeys(run.key.task for run in runs), key=lambda task: (order.get(task, len(order)), task))
    )
    labels = tuple(dict.fromkeys(run.label for run in sorted(runs, key=label_order)))
    scale = protocol_scale(used, tasks, config_dir)
    windows = _windows(used, runs)
    scores = sources.window_scores(runs, {(name, task): window for task, window in windows.items()}, progress)
    if not any(scores):
        raise LogError(_nothing_inside(name, used, runs, windows))
    by_cell: dict[tuple[str, str], dict[int, tuple[RunInfo, float]]] = {}
    for run, score in zip(runs, scores, strict=True):
        by_cell.setdefault((run.key.task, run.label), {})[run.key.seed] = run, score.mean if score else np.nan
    seeds = _planned_seeds(runs)
    cells = {
        (task, label): _cell(task, label, by_cell.get((task, label), {}), seeds.get((task, label), seeds[label]), scale)
        for task in tasks
        for label in labels
    }
    return Evaluation(
        suite=name,
        protocol=used,
        scale=scale,
        tasks=tasks,
        labels=labels,
        windows=windows,
        cells=cells,
        is_known=known is not None,
        absent_tasks=tuple(task for task in order if task not in tasks),
        reps=reps or int(np.clip(_REPS_OF_ALL // len(labels), _FEWEST_REPS, REPS)),
        sources={source.name: str(source.path) for source in sources.sources},
    )


def _suite(sources: Sources, wanted: str | None) -> str:
    suites = sources.suites
    if wanted is not None:
        if wanted not in suites:
            raise UnknownNameError("suite", wanted, suites)
        return wanted
    if not suites:
        raise LogError("No run has logged a score yet that could be read. `dreamsweep aggregate` tells why.")
    if len(suites) > 1:
        raise ConfigError(f"There are runs of several suites: {', '.join(suites)}. Say which one is meant.")
    return suites[0]


def _windows(protocol: Protocol, runs: Sequence[RunInfo]) -> dict[str, Window]:
    """The window of each task."""
    reached: dict[str, int] = {}
    for run in runs:
        reached[run.key.task] = max(reached.get(run.key.task, 0), run.last_step or 0)
    if protocol.window is not None:
        return dict.fromkeys(reached, protocol.window)
    share = protocol.last
    if share is None:
        raise ConfigError(
            f"The protocol {protocol.name!r} has neither a window nor a last share. Give one with --window FIRST:LAST, "
            f"or --protocol final for the end of the runs."
        )
    ends = {task: protocol.frames or step for task, step in reached.items()}
    return {task: (end - int(share * end), end) for task, end in ends.items()}


def _planned_seeds(runs: Sequence[RunInfo]) -> dict[tuple[str, str] | str, tuple[int, ...]]:
    """By task and label, or by label alone where nothing tells which runs there were to be, the seeds of each cell.

    A plan tells exactly. Elsewhere a seed that any task of a label has is expected of all its tasks.
    """
    found: dict[tuple[str, str] | str, set[int]] = {}
    for run in runs:
        if run.source.has_plan and run.state != "reference":
            found.setdefault((run.key.task, run.label), set()).add(run.key.seed)
            found.setdefault(run.label, set())
        else:
            found.setdefault(run.label, set()).add(run.key.seed)
    return {place: tuple(sorted(seeds)) for place, seeds in found.items()}


def _cell(
    task: str, label: str, runs: Mapping[int, tuple[RunInfo, float]], seeds: tuple[int, ...], scale: Scale
) -> Cell:
    scores = np.array([runs[seed][1] if seed in runs else np.nan for seed in seeds], np.float64)
    missing = []
    for seed, score in zip(seeds, scores.tolist(), strict=True):
        if np.isnan(score):
            run = runs[seed][0] if seed in runs else None
            missing.append(
                Missing(
                    seed=seed,
                    state=run.state if run else "absent",
                    last_step=run.last_step if run is not None else None,
                )
            )
    return Cell(
        task=task,
        label=label,
        seeds=seeds,
        scores=scores,
        normalised=scale.of(task, scores),
        missing=tuple(missing),
        mean=mean_interval(scores),
    )


def _nothing_inside(suite: str, protocol: Protocol, runs: Sequence[RunInfo], windows: Mapping[str, Window]) -> str:
    furthest = max(runs, key=lambda run: run.last_step or 0)
    if furthest.last_step is None:
        return f"No run of {suite} has logged a score yet that could be read. `dreamsweep aggregate` tells why."
    low, high = windows[furthest.key.task]
    reached = f"{furthest.key} is furthest, at {furthest.last_step:,}"
    return (
        f"No run of {suite} has an episode in the window of the protocol {protocol.name!r}, {low:,} to {high:,} "
        f"environment frames: {reached}. Wait until they get there, or give --window FIRST:LAST, or --protocol final "
        f"for the end of the runs as they are."
    )
