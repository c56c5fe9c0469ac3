"""The tables of a report: task × label by each suite's protocol, and the headline over its tasks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregation.evaluation.cells import Cell, Missing
from aggregation.evaluation.evaluation import Evaluation, Headline, evaluate
from aggregation.evaluation.score_table import best_labels
from aggregation.report.rounding import rounded_number
from aggregation.sources.sources import Sources
from sweeps.errors import ConfigError, LogError
from sweeps.protocols import FINAL, protocol_of, read_protocol
from sweeps.settings import Protocol
from sweeps.wording import counted

_TITLES = {
    "mean": "mean",
    "median": "median",
    "iqm": "interquartile mean",
    "optimality_gap": "optimality gap",
    "capped_mean": "capped mean",
}
_INCOMPLETE, _FEWER_TASKS = "†", "‡"
_LISTED_CELLS = 8
_LISTED_SEEDS = 6


@dataclass(frozen=True, slots=True)
class Judgement:
    """The evaluation of one suite, and what had to be said about it."""

    evaluation: Evaluation
    note: str = ""


def judgements(
    sources: Sources, protocol: str | None = None, config_dir: Path | None = None
) -> dict[str, Judgement | None]:
    """Each suite by the protocol, or by its own; None where no run has an episode that counts.

    A report is also made of sweeps that are under way: where no run has come to the window yet, or a normaliser lacks a
    task, the next best thing is shown, and named.

    Raises:
        UnknownNameError: there is no such protocol.
    """
    named = None if protocol is None else read_protocol(protocol, config_dir)
    return {suite: _judgement(sources, suite, named, config_dir) for suite in sources.suites}


def _judgement(sources: Sources, suite: str, named: Protocol | None, config_dir: Path | None) -> Judgement | None:
    wanted = named or protocol_of(suite, config_dir)
    note = ""
    for used in (wanted, read_protocol(FINAL, config_dir)):
        try:
            return Judgement(evaluate(sources, _with_iqm(used), suite=suite, config_dir=config_dir), note)
        except LogError:
            note = (
                f"No run has an episode in the window of the protocol {wanted.name} yet; these are the latest scores."
            )
        except ConfigError as error:
            note = f"{error.args[0]} Scores are not normalised here."
            bare = used.model_copy(update={"normaliser": "none"})
            try:
                return Judgement(evaluate(sources, bare, suite=suite, config_dir=config_dir), note)
            except LogError:
                continue
    return None


def _with_iqm(protocol: Protocol) -> Protocol:
    """The interquartile mean beside what the protocol reports: it is what small numbers of seeds are compared by."""
    metrics = list(protocol.aggregate) or ["mean", "median"]
    return protocol.model_copy(update={"aggregate": [*metrics, *(["iqm"] if "iqm" not in metrics else [])]})


def table_part(judgement: Judgement, labels: Mapping[str, int]) -> dict[str, Any]:
    """One suite's table; its shape is told in payload.py."""
    found = judgement.evaluation
    shown = [label for label in found.labels if any(found.cells[task, label].seeds for task in found.tasks)]
    cells = [found.cells[task, label] for task in found.tasks for label in shown]
    incomplete = [cell for cell in cells if cell.missing]
    rows = [
        {"task": task, "cells": [_cell(found.cells[task, label], is_best=label in found.best(task)) for label in shown]}
        for task in found.tasks
    ]
    marks = [{"sign": _INCOMPLETE, "text": _incomplete_text(incomplete)}] if incomplete else []
    # Of a single task the table tells all.
    is_over_tasks = len(found.tasks) > 1 and bool(found.headlines)
    headlines = [_headline(found, found.headlines, labels, _over(found))] if is_over_tasks else []
    if is_over_tasks and found.shared_headlines:
        shared = counted(len(found.shared_tasks), "task")
        about = f"The same on the {shared} that all labels have."
        headlines.append(_headline(found, found.shared_headlines, labels, about))
    if is_over_tasks and any(len(headline.tasks) < len(found.tasks) for headline in found.headlines):
        marks.append({"sign": _FEWER_TASKS, "text": "Over the tasks with data, which are not all."})
    if found.absent_tasks:
        absent = counted(len(found.absent_tasks), "task")
        marks.append(
            {"sign": "", "text": f"{absent} of {found.suite} have no run here: {_listed(found.absent_tasks)}."}
        )
    return {
        "suite": found.suite,
        "labels": [labels[label] for label in shown],
        "note": judgement.note,
        "about": _about(found),
        "caption": (
            f"Mean episode score with Student's {_percent(found.confidence)} interval over seeds, and the seeds with "
            f"data of those planned. Bold: the best of the row, and what the intervals do not tell from it."
        ),
        "headlines": headlines,
        "rows": rows,
        "marks": marks,
    }


def _about(found: Evaluation) -> str:
    windows = set(found.windows.values())
    if len(windows) == 1:
        ((low, high),) = windows
        window = f"from frame {low:,} to {high:,}"
    else:
        window = f"in the last {_percent(found.protocol.last or 0)} of each task's frames"
    return (
        f"Protocol {found.protocol.name}: the mean of the episodes {window}, first of each seed, then over the seeds "
        f"that have one."
    )


def _over(found: Evaluation) -> str:
    unit = "Normalised score" if found.scale.unit else "Score"
    scale = f" in {found.scale.name}" if found.scale.unit else ""
    return (
        f"{unit}{scale} over {counted(len(found.tasks), 'task')}, with {_percent(found.confidence)} bootstrap "
        f"intervals over the seeds of each task, and between which values it moves when any one task is left out."
    )


def _cell(cell: Cell, *, is_best: bool) -> dict[str, Any] | None:
    if not cell.seeds:
        return None
    mean = cell.mean
    return {
        "mean": None if mean is None else rounded_number(mean.point),
        "low": None if mean is None else rounded_number(mean.low),
        "high": None if mean is None else rounded_number(mean.high),
        "seeds": cell.with_data,
        "planned": len(cell.seeds),
        "best": is_best,
        "mark": _INCOMPLETE if cell.missing else None,
        "note": _missing_text(cell.missing),
    }


def _missing_text(missing: Sequence[Missing]) -> str:
    parts = []
    for each in missing[:_LISTED_SEEDS]:
        place = "" if each.last_step is None else f", at frame {each.last_step:,}"
        parts.append(f"seed {each.seed}: {each.state.replace('_', ' ')}{place}")
    more = len(missing) - _LISTED_SEEDS
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def _incomplete_text(cells: Sequence[Cell]) -> str:
    named = [f"{cell.task} × {cell.label} {cell.with_data} of {len(cell.seeds)}" for cell in cells[:_LISTED_CELLS]]
    more = len(cells) - len(named)
    cells_text = "; ".join(named) + (f"; and {more} more cells" if more > 0 else "")
    return f"Not every planned seed has an episode in the window: {cells_text}."


def _headline(
    found: Evaluation, headlines: Sequence[Headline], labels: Mapping[str, int], about: str
) -> dict[str, Any]:
    by_place = {(headline.label, headline.metric): headline for headline in headlines}
    metrics = list(dict.fromkeys(headline.metric for headline in headlines))
    best = {metric: best_labels(each for each in headlines if each.metric == metric) for metric in metrics}
    rows = [
        {
            "label": labels[label],
            "metrics": [_metric(found, by_place[label, metric], best[metric]) for metric in metrics],
        }
        for label in dict.fromkeys(headline.label for headline in headlines)
    ]
    unit = f", {found.scale.unit}" if found.scale.unit else ""
    return {"about": about, "titles": [_TITLES.get(metric, metric) + unit for metric in metrics], "rows": rows}


def _metric(found: Evaluation, headline: Headline, best: Collection[str]) -> dict[str, Any]:
    shown = headline.to_json(found.scale)
    left = shown["leave_one_task_out"] or {}
    # A single seed of each task tells nothing of how seeds spread.
    has_spread = any(found.cells[task, headline.label].with_data > 1 for task in headline.tasks)
    return {
        "point": rounded_number(shown["value"]),
        "low": rounded_number(shown["low"]) if has_spread else None,
        "high": rounded_number(shown["high"]) if has_spread else None,
        "least": rounded_number(left.get("low")),
        "most": rounded_number(left.get("high")),
        "about": f"lowest without {left['low_without']}, highest without {left['high_without']}" if left else "",
        "best": headline.label in best,
        "mark": _FEWER_TASKS if len(headline.tasks) < len(found.tasks) else None,
    }


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED_CELLS
    return ", ".join(names[:_LISTED_CELLS]) + (f" and {more} more" if more > 0 else "")


def _percent(share: float) -> str:
    return f"{share * 100:g} %"
