"""An evaluation as a table of task × label: the same cells and notes for every format."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aggregation.dataset.window_scores import Window
from aggregation.evaluation.cells import Cell, Missing, best_of
from aggregation.evaluation.evaluation import Evaluation, Headline
from sweeps.wording import counted

Kind = Literal["task", "aggregate", "leave_one_out", "shared"]

_NAMES = {
    "mean": "Mean",
    "median": "Median",
    "iqm": "IQM",
    "optimality_gap": "Optimality gap",
    "capped_mean": "Capped mean",
}
_LISTED_CELLS = 8
_NOTHING = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What stands in one place of the table. Texts hold no names from outside and need no escaping but LaTeX's."""

    value: str = _NOTHING
    #: `± 12`, `[118, 130]`, or nothing.
    spread: str = ""
    #: `4/5`: seeds with data and seeds planned, or tasks with data and tasks; nothing where neither is meant.
    coverage: str = ""
    is_best: bool = False
    is_complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    kind: Kind
    #: A task's name, which is from outside, or that of an aggregate.
    name: str
    #: By label, in the order of the columns.
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """A table before it is written in a format. Titles, labels, names of rows and notes may hold names from outside."""

    title: str
    labels: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def score_table(evaluation: Evaluation) -> ScoreTable:
    """Lay an evaluation out: a row for each task, then the aggregates with their leave-one-task-out ranges."""
    rows = [_task_row(evaluation, task) for task in evaluation.tasks]
    if _has_aggregates(evaluation):
        rows += _aggregate_rows(evaluation, evaluation.headlines, "aggregate", "")
    if evaluation.shared_headlines:
        tasks = f", {counted(len(evaluation.shared_tasks), 'shared task')}"
        rows += _aggregate_rows(evaluation, evaluation.shared_headlines, "shared", tasks)
    return ScoreTable(
        title=_title(evaluation), labels=evaluation.labels, rows=tuple(rows), notes=tuple(_notes(evaluation))
    )


def best_labels(headlines: Iterable[Headline]) -> frozenset[str]:
    """Of one metric the best label, and those that the intervals do not tell from it; the least is best of a gap.

    None where the labels have different tasks: what is best is then told of the shared ones.
    """
    by_label = {headline.label: headline for headline in headlines}
    if len({headline.tasks for headline in by_label.values()}) > 1:
        return frozenset()
    is_gap = any(headline.metric == "optimality_gap" for headline in by_label.values())
    return best_of({label: each.value for label, each in by_label.items()}, -1.0 if is_gap else 1.0)


def _has_aggregates(evaluation: Evaluation) -> bool:
    """Whether an aggregate tells what the rows of the tasks do not: of one task it is that task's score again."""
    return len(evaluation.headlines) > 0 and (len(evaluation.tasks) > 1 or bool(evaluation.scale.unit))


def _task_row(evaluation: Evaluation, task: str) -> Row:
    cells = [evaluation.cells[task, label] for label in evaluation.labels]
    best = evaluation.best(task)
    decimals = _decimals([cell.mean.point for cell in cells if cell.mean is not None])
    return Row(kind="task", name=task, entries=tuple(_entry(cell, decimals, cell.label in best) for cell in cells))


def _entry(cell: Cell, decimals: int, is_best: bool) -> Entry:
    coverage = f"{cell.with_data}/{len(cell.seeds)}"
    if cell.mean is None:
        return Entry(coverage=coverage, is_complete=False)
    return Entry(
        value=number(cell.mean.point, decimals),
        spread="" if np.isnan(cell.mean.high) else f"± {number(cell.mean.high - cell.mean.point, decimals)}",
        coverage=coverage,
        is_best=is_best,
        is_complete=cell.is_complete,
    )


def _aggregate_rows(evaluation: Evaluation, headlines: Iterable[Headline], kind: Kind, suffix: str) -> list[Row]:
    by_metric: dict[str, dict[str, Headline]] = {}
    for headline in headlines:
        by_metric.setdefault(headline.metric, {})[headline.label] = headline
    rows = []
    for metric, by_label in by_metric.items():
        scale = evaluation.scale
        best = best_labels(by_label.values())
        decimals = 1 if scale.unit else _decimals([scale.shown(each.value.point, metric) for each in by_label.values()])
        first, second = [], []
        for label in evaluation.labels:
            if label not in by_label:
                first.append(Entry(is_complete=False))
                second.append(Entry())
                continue
            headline = by_label[label]
            value, low, high = (
                number(scale.shown(each, metric), decimals)
                for each in (headline.value.point, headline.value.low, headline.value.high)
            )
            is_complete = all(evaluation.cells[task, label].is_complete for task in headline.tasks)
            coverage = f"{len(headline.tasks)}/{len(evaluation.tasks)}" if kind == "aggregate" else ""
            first.append(
                Entry(
                    value=value,
                    spread=f"[{low}, {high}]" if _most_seeds(evaluation, headline) > 1 else "",
                    coverage=coverage,
                    is_best=label in best,
                    is_complete=is_complete and (kind == "shared" or len(headline.tasks) == len(evaluation.tasks)),
                )
            )
            left = headline.without_one
            second.append(
                Entry()
                if left is None
                else Entry(
                    value=f"{number(scale.shown(left.low, metric), decimals)} to "
                    f"{number(scale.shown(left.high, metric), decimals)}"
                )
            )
        unit = f" ({scale.unit})" if scale.unit else ""
        rows.append(Row(kind=kind, name=f"{_NAMES[metric]}{unit}{suffix}", entries=tuple(first)))
        if kind == "aggregate" and any(each.value != _NOTHING for each in second):
            rows.append(Row(kind="leave_one_out", name="  one task left out", entries=tuple(second)))
    return rows


def _most_seeds(evaluation: Evaluation, headline: Headline) -> int:
    """Seeds with data of the task that has most: where it is one, nothing tells how far seeds differ."""
    return max(evaluation.cells[task, headline.label].with_data for task in headline.tasks)


def _title(evaluation: Evaluation) -> str:
    name = evaluation.protocol.name
    by = f" by the protocol {name}" if name and name != evaluation.suite else ""
    return f"{evaluation.suite}{by}"


def _notes(evaluation: Evaluation) -> list[str]:
    percent = f"{100 * evaluation.confidence:g} %"
    spans = sorted(set(evaluation.windows.values()))
    if len(spans) == 1:
        where = f"from {spans[0][0]:,} to {spans[0][1]:,} environment frames"
    else:
        where = (
            f"in the last {100 * (evaluation.protocol.last or 0):g} % of the frames that any run of the task reached"
        )
    planned = {len(cell.seeds) for cell in evaluation.cells.values()}
    seeds = f", {planned.pop()} in every cell" if len(planned) == 1 else ""
    notes = [
        f"Scores: the mean of a seed's episodes {where}, then the mean over the seeds that have any. n/N: seeds with "
        f"data, seeds planned{seeds}.",
        f"± {percent} interval over seeds (Student's t)."
        + (" Bold: the best, and what the intervals do not tell from it." if len(evaluation.labels) > 1 else ""),
    ]
    if _has_aggregates(evaluation):
        notes.append(
            f"Aggregates in {evaluation.scale.name}, n/N their tasks: [{percent} interval], {evaluation.reps:,} draws"
            f" of seeds within tasks, and the range when any one task is left out."
        )
        single = sum(cell.with_data == 1 for cell in evaluation.cells.values())
        if any(_most_seeds(evaluation, headline) > 1 for headline in evaluation.headlines) and single:
            notes.append(
                f"Those intervals lack the spread of {counted(single, 'cell')} with one seed: they are too narrow."
            )
    elif not evaluation.is_aggregated:
        notes.append("Nothing is aggregated over tasks: their scores have no common scale without a normaliser.")
    notes += _coverage_notes(evaluation)
    if not evaluation.is_known:
        notes.append(
            f"No file describes the suite {evaluation.suite!r}; for logs --log-suite names the one that they are of."
        )
    if evaluation.absent_tasks:
        known = len(evaluation.absent_tasks) + len(evaluation.tasks)
        notes.append(f"Shown: {counted(len(evaluation.tasks), 'task')} of the suite's {known}.")
    return notes


def _coverage_notes(evaluation: Evaluation) -> list[str]:
    cells = [cell for cell in evaluation.cells.values() if not cell.is_complete]
    if not cells:
        return []
    planned = sum(len(cell.seeds) for cell in evaluation.cells.values())
    missing = sum(len(cell.missing) for cell in cells)
    notes = [
        f"* Incomplete: {counted(len(cells), 'cell')} of {len(evaluation.cells)}, {missing:,} of {planned:,} seeds."
    ]
    # Those that lack most of their seeds come first.
    cells.sort(key=lambda cell: cell.with_data / max(len(cell.seeds), 1))
    for cell in cells[:_LISTED_CELLS]:
        why = Counter(reason(each, evaluation.windows[cell.task]) for each in cell.missing)
        told = ", ".join(f"{count} {text}" for text, count in why.items())
        notes.append(f"* {cell.task}, {cell.label}: {cell.with_data} of {counted(len(cell.seeds), 'seed')}; {told}.")
    if len(cells) > _LISTED_CELLS:
        notes.append(f"* and {len(cells) - _LISTED_CELLS:,} more; --json lists them.")
    return notes


def reason(missing: Missing, window: Window) -> str:
    """Why a seed has no score."""
    if missing.state == "absent":
        return "without a run"
    if missing.last_step is None:
        return "planned" if missing.state == "planned" else f"{missing.state} without an episode"
    state = {"reference": "ended", "unknown": "ended", "finished": "ended"}.get(missing.state, missing.state)
    if missing.last_step < window[0]:
        return f"{state} before the window" if state == "ended" else f"{state}, not yet in the window"
    return f"{state} without an episode in the window"


def number(value: float, decimals: int) -> str:
    """A number with a fixed count of decimals, and no negative zero."""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _decimals(values: Sequence[float]) -> int:
    """So many that the largest number shows about three digits."""
    largest = max((abs(value) for value in values), default=0.0)
    return 0 if largest >= 100 else 1 if largest >= 10 else 2
