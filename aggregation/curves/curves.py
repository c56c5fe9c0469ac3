"""Curves over seeds, per task and over tasks: what pictures and reports draw. Pure: bins in, arrays out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregation.curves.axes import Axis, left_out
from aggregation.curves.curve_bands import aggregate, summary
from aggregation.curves.curve_tables import Grid, Scatter, scatter
from aggregation.curves.curve_view import CurveView
from aggregation.evaluation.scales import RAW, Scale
from aggregation.sources.sources import RunInfo, Sources, label_order

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FEWEST_POINTS, _MOST_POINTS = 10, 60
#: Episodes of a typical run per point, so that a point's mean is a mean.
_EPISODES_PER_POINT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The seeds of one label on one task, or on all tasks of a suite. Arrays have shape [points]."""

    suite: str
    #: None for an aggregate.
    task: str | None
    label: str
    method: str
    train_ratio: float | None
    #: On the axis of the view.
    xs: Floats
    #: NaN where there is no data, as are the bounds.
    centre: Floats
    low: Floats
    high: Floats
    #: Runs with data at each point.
    count: Ints
    #: Each run's own curve, shape [runs, points]; those of all tasks, task by task, in an aggregate.
    table: Floats
    #: The seed of each row of the table.
    row_seeds: tuple[int, ...]
    #: Runs with any data, and runs that were planned.
    seeds: int
    planned: int
    #: Tasks that count in an aggregate; 1 else.
    tasks: int = 1

    def to_json(self) -> dict[str, Any]:
        """Without the single runs; NaN as null."""
        arrays = {name: numbers(getattr(self, name)) for name in ("xs", "centre", "low", "high")}
        return {
            "suite": self.suite,
            "task": self.task,
            "label": self.label,
            "method": self.method,
            "train_ratio": self.train_ratio,
            **arrays,
            "count": self.count.tolist(),
            "seeds": self.seeds,
            "planned": self.planned,
            "tasks": self.tasks,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The curves of one task, or the aggregates of one suite."""

    suite: str
    #: None for the aggregates of a suite.
    task: str | None
    curves: tuple[Curve, ...]
    #: Of episode lengths; empty where they were not asked for or nobody logged them.
    lengths: tuple[Curve, ...] = ()
    #: What the curves' values are.
    unit: str = RAW.name


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveSet:
    """Everything that one picture shows."""

    view: CurveView
    panels: tuple[Panel, ...]
    #: What was left out, and why.
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "axis": self.view.axis,
            "centre": self.view.centre,
            "band": self.view.band,
            "smoothing": str(self.view.smoothing),
            "panels": [
                {
                    "suite": panel.suite,
                    "task": panel.task,
                    "unit": panel.unit,
                    "curves": [curve.to_json() for curve in panel.curves],
                    "lengths": [curve.to_json() for curve in panel.lengths],
                }
                for panel in self.panels
            ],
            "notes": list(self.notes),
        }


def curves(
    sources: Sources,
    view: CurveView | None = None,
    *,
    with_tasks: bool = True,
    with_aggregates: bool = False,
    with_lengths: bool = False,
    scale_of: Callable[[str], Scale] = lambda _suite: RAW,
) -> CurveSet:
    """The curves of opened sources, a panel per task in the order of the runs, then one per suite for the aggregates.

    Args:
        sources: Sweep roots, logs, reference runs; their labels are unique.
        view: What to show; None for means over environment frames.
        with_tasks: A panel per task.
        with_aggregates: A panel per suite of two tasks or more.
        with_lengths: Episode lengths too, where the dataset has any.
        scale_of: From a suite's name to what makes its tasks comparable; used by aggregates alone.
    """
    view = view or CurveView()
    planned: dict[tuple[str, str, str], int] = {}
    for run in sources.runs:
        planned[run.cell] = planned.get(run.cell, 0) + 1
    panels: list[Panel] = []
    notes: list[str] = []
    outside: list[RunInfo] = []
    for suite, suite_runs in groupby(sources.bins(with_lengths=with_lengths), key=lambda pair: pair[0].key.suite):
        pairs = list(suite_runs)
        points = view.points or suitable_points([run.rows for run, _ in pairs])
        tasks = [list(group) for _, group in groupby(pairs, key=lambda pair: pair[0].key.task)]
        scatters = []
        for task_pairs in tasks:
            points_of, without = scatter(task_pairs, view.axis)
            outside += without
            if not points_of.runs:
                continue
            scatters.append(points_of)
            if with_tasks:
                lengths = scatter(task_pairs, view.axis, lengths=True)[0] if with_lengths else None
                panels.append(_task_panel(points_of, lengths, points, view, planned))
        if with_aggregates and len(scatters) > 1:
            scale = scale_of(suite)
            panel, told = _aggregate_panel(scatters, points, view, planned, scale)
            panels += [panel] if panel is not None else []
            notes += told
    if outside:
        notes.append(left_out(outside, view.axis))
    if with_lengths and with_tasks and not any(panel.lengths for panel in panels):
        notes.append("There are no episode lengths: collect the logs with --metrics 'episode/length'.")
    return CurveSet(view=view, panels=tuple(panels), notes=tuple(notes))


def suitable_points(episodes: Sequence[int]) -> int:
    """How many points suit runs of so many episodes."""
    return int(np.clip(np.median(episodes) / _EPISODES_PER_POINT, _FEWEST_POINTS, _MOST_POINTS))


def numbers(values: Floats) -> list[float | None]:
    """For JSON: six digits, null for NaN."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist()]


def _task_panel(
    scores: Scatter, lengths: Scatter | None, points: int, view: CurveView, planned: dict[tuple[str, str, str], int]
) -> Panel:
    groups = _groups(scores.runs)
    grid, group = _task_grid(scores, groups, points, view.axis)
    made = _task_curves(scores, groups, grid, group, view, planned)
    long = []
    if lengths is not None and np.isfinite(lengths.values).any():
        long = [
            curve
            for curve in _task_curves(lengths, groups, grid, group, view, planned)
            if np.isfinite(curve.centre).any()
        ]
    key = scores.runs[0].key
    return Panel(suite=key.suite, task=key.task, curves=tuple(made), lengths=tuple(long))


def _task_curves(
    values: Scatter,
    groups: Sequence[slice],
    grid: Grid,
    group: Ints,
    view: CurveView,
    planned: dict[tuple[str, str, str], int],
) -> list[Curve]:
    table = view.smoothing.of(values.table(grid, group))
    made = []
    for rows in groups:
        runs, part = values.runs[rows], table[rows]
        first = runs[0]
        shown = summary(part, view)
        made.append(
            Curve(
                suite=first.key.suite,
                task=first.key.task,
                label=first.label,
                method=first.method,
                train_ratio=first.train_ratio,
                xs=grid.xs(int(group[rows.start])),
                centre=shown.centre,
                low=shown.low,
                high=shown.high,
                count=shown.count,
                table=part,
                row_seeds=tuple(run.key.seed for run in runs),
                seeds=int(np.isfinite(part).any(axis=1).sum()),
                planned=planned[first.cell],
            )
        )
    return made


def _task_grid(scores: Scatter, groups: Sequence[slice], points: int, axis: Axis) -> tuple[Grid, Ints]:
    """The points of one task: shared by its labels over frames, up to each label's own end over anything else."""
    if axis == "frames":
        return Grid.aligned(float(scores.ends.max()), points, scores.unit), np.zeros(len(scores.runs), np.int64)
    reach = np.array([scores.ends[rows].max() for rows in groups])
    return Grid.even(reach, points), _group_numbers(groups)


def _aggregate_panel(
    scatters: Sequence[Scatter],
    points: int,
    view: CurveView,
    planned: dict[tuple[str, str, str], int],
    scale: Scale,
) -> tuple[Panel | None, list[str]]:
    """The labels of a suite over the tasks that all of them have data on."""
    suite = scatters[0].runs[0].key.suite
    groups = [{each.runs[rows.start].label: rows for rows in _groups(each.runs)} for each in scatters]
    first = {run.label: run for each in scatters for run in each.runs}
    labels = [label for label in _label_order(first.values()) if any(label in group for group in groups)]
    shared_by_all = [place for place, group in enumerate(groups) if all(label in group for label in labels)]
    common = [place for place in shared_by_all if scale.knows(scatters[place].runs[0].key.task)]
    notes = []
    if len(common) < len(shared_by_all):
        notes.append(f"{len(shared_by_all) - len(common)} tasks of {suite} are not known to its scale ({scale.name}).")
    if len(common) < 2:
        return None, [
            *notes,
            f"No aggregate of {suite}: its {len(labels)} labels have {len(common)} tasks in common; two or more are "
            f"needed. Choose labels with --label.",
        ]
    if len(shared_by_all) < len(scatters):
        of_all = f"the {len(common)} of {len(scatters)} tasks that all labels have"
        notes.append(f"The aggregate of {suite} is over {of_all}.")
    shared = [(scatters[place], groups[place]) for place in common]
    grid, group_of = _aggregate_grid(shared, labels, points, view.axis)
    scaled = []
    for each, _ in shared:
        table = each.table(grid, np.array([group_of[run.label] for run in each.runs]))
        scaled.append(scale.of(each.runs[0].key.task, view.smoothing.of(table)))
    made = []
    for label in labels:
        tables = [table[rows[label]] for table, (_, rows) in zip(scaled, shared, strict=True)]
        shown = aggregate(tables, view)
        runs = [run for each, rows in shared for run in each.runs[rows[label]]]
        made.append(
            Curve(
                suite=suite,
                task=None,
                label=label,
                method=first[label].method,
                train_ratio=first[label].train_ratio,
                xs=grid.xs(group_of[label]),
                centre=shown.centre,
                low=shown.low,
                high=shown.high,
                count=shown.count,
                table=np.concatenate(tables),
                row_seeds=tuple(run.key.seed for run in runs),
                seeds=len(runs),
                planned=sum(planned[cell] for cell in dict.fromkeys(run.cell for run in runs)),
                tasks=len(common),
            )
        )
    return Panel(suite=suite, task=None, curves=tuple(made), unit=scale.name), notes


def _aggregate_grid(
    tasks: Sequence[tuple[Scatter, dict[str, slice]]], labels: Sequence[str], points: int, axis: Axis
) -> tuple[Grid, dict[str, int]]:
    """The points of a suite, and the group of each label: over frames up to the end of the longest task, else of each
    label's shortest.
    """
    if axis == "frames":
        unit = max(each.unit for each, _ in tasks)
        reach = max(float(each.ends.max()) for each, _ in tasks)
        return Grid.aligned(reach, points, unit), dict.fromkeys(labels, 0)
    ends = [min(float(each.ends[rows[label]].max()) for each, rows in tasks) for label in labels]
    return Grid.even(np.array(ends), points), {label: place for place, label in enumerate(labels)}


def _groups(runs: Sequence[RunInfo]) -> list[slice]:
    """The rows of each label."""
    starts = [place for place, run in enumerate(runs) if place == 0 or run.label != runs[place - 1].label]
    return [slice(first, behind) for first, behind in zip(starts, [*starts[1:], len(runs)], strict=True)]


def _group_numbers(groups: Sequence[slice]) -> Ints:
    return np.repeat(np.arange(len(groups)), [rows.stop - rows.start for rows in groups])


def _label_order(runs: Iterable[RunInfo]) -> list[str]:
    return [run.label for run in sorted(runs, key=label_order)]
