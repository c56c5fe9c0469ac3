"""The command `compare`: whether A is better than B, task by task and over all, and what could have been seen."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aggregation.evaluation.evaluation import Evaluation, evaluate
from aggregation.evaluation.score_table import number
from aggregation.verdicts.comparison import Comparison, TaskComparison, compare
from aggregation.verdicts.sides import Pair, headline_differences, pairs, task_scores
from orchestrator.command_line.opened_sources import opened
from orchestrator.command_line.table_command import window
from orchestrator.consoles import console_for, print_whole
from sweeps.errors import ConfigError, LogError
from sweeps.protocols import protocol_of, read_protocol
from sweeps.settings import Protocol
from sweeps.wording import counted, p_value_text

_COLOURS = {"better": "green", "worse": "red"}
_SIGNS = {"better": "+ ", "worse": "- "}


def compare_sides(arguments: argparse.Namespace) -> int:
    """Print a comparison for each pair of labels; with --check, 4 where A is worse.

    Raises:
        LogError: a check has nothing to go by; it shall not pass.
    """
    if not 0 < arguments.alpha < 1:
        raise ConfigError(f"--alpha is {arguments.alpha:g}; expected a probability between 0 and 1, such as 0.05.")
    found = _compared(arguments)
    pictures = [] if arguments.plot is None else _plot(arguments.plot.expanduser(), found)
    if arguments.json:
        json.dump({"comparisons": [_to_json(*each) for each in found]}, sys.stdout, allow_nan=False)
        print()
    else:
        console = console_for(sys.stdout)
        for place, each in enumerate(found):
            if place:
                console.print()
            _print(console, *each)
        for picture in pictures if len(pictures) > 1 else ():  # one has the name that was given
            console.print(f"picture      {picture}", soft_wrap=True, highlight=False, markup=False)
    is_worse = any(comparison.verdict == "worse" for _, _, comparison in found)
    is_worse |= any(task.verdict == "worse" for _, _, comparison in found for task in comparison.tasks)
    if not arguments.check:
        return 0
    if is_worse:
        return 4
    empty = [f"{pair.a} and {pair.b}" for _, pair, comparison in found if comparison.verdict == "not tested"]
    if empty:
        raise LogError(
            f"--check has nothing to go by: no task has runs with a score in the window on both sides, of "
            f"{'; '.join(empty)}. Wait for them, or give --window FIRST:LAST."
        )
    return 0


def _compared(arguments: argparse.Namespace) -> list[tuple[Evaluation, Pair, Comparison]]:
    a, b = arguments.a, arguments.b
    with opened([a, b], arguments) as sources:
        wanted = pairs(sources, a, b, a_labels=arguments.label_a, b_labels=arguments.label_b)
        evaluations = {
            suite: evaluate(sources, _protocol(arguments, suite), suite=suite, config_dir=arguments.config_dir)
            for suite in dict.fromkeys(pair.suite for pair in wanted)
        }
    # The same draws for each pair, so that the order of pairs does not show.
    return [
        (
            evaluations[pair.suite],
            pair,
            compare(
                task_scores(evaluations[pair.suite], pair), alpha=arguments.alpha, generator=np.random.default_rng(0)
            ),
        )
        for pair in wanted
    ]


def _plot(path: Path, found: list[tuple[Evaluation, Pair, Comparison]]) -> list[Path]:
    """A picture for each pair: the file that was named, with a number where there are several."""
    from aggregation.pictures.forest_plot import plot_comparison

    files = [path] if len(found) == 1 else [path.with_stem(f"{path.stem}-{place + 1}") for place in range(len(found))]
    for file, (_, pair, comparison) in zip(files, found, strict=True):
        plot_comparison(comparison, pair.a, pair.b, file)
    return files


def _protocol(arguments: argparse.Namespace, suite: str) -> Protocol:
    if arguments.protocol is not None:
        found = read_protocol(arguments.protocol, arguments.config_dir)
    else:
        found = protocol_of(suite, arguments.config_dir)
    return found if arguments.window is None else found.model_copy(update=window(arguments.window))


def _print(console: Console, evaluation: Evaluation, pair: Pair, found: Comparison) -> None:
    by = f" by the protocol {evaluation.protocol.name}" if evaluation.protocol.name else ""
    console.print(f"[bold]{escape(evaluation.suite)}[/]{escape(by)}", highlight=False)
    console.print(f"A  {pair.a}\nB  {pair.b}", markup=False, highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("task", no_wrap=True)
    level = f"{100 * (1 - found.alpha):g} % interval"
    for name in ("A", "", "B", "", "A - B", level, "p", "corrected", "sees from"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for task in found.tasks:
        table.add_row(*_cells(task))
    print_whole(console, table)
    for line in _summary(evaluation, pair, found):
        console.print(line, highlight=False, soft_wrap=True)


def _cells(task: TaskComparison) -> list[str]:
    means = [abs(each) for each in (task.a_mean, task.b_mean) if each is not None]
    decimals = 1 if max(means, default=0) >= 10 else 3

    def shown(value: float | None) -> str:
        return "–" if value is None else number(value, decimals)

    interval = "" if task.low is None else f"[{shown(task.low)}, {shown(task.high)}]"
    colour = _COLOURS.get(task.verdict)
    verdict = f"{_SIGNS.get(task.verdict, '')}{task.verdict}"
    return [
        escape(task.task),
        shown(task.a_mean),
        _coverage(task.a_runs, task.a_planned),
        shown(task.b_mean),
        _coverage(task.b_runs, task.b_planned),
        shown(task.difference),
        escape(interval),
        p_value_text(task.p),
        p_value_text(task.corrected_p),
        shown(task.smallest),
        f"[{colour}]{verdict}[/]" if colour else verdict,
    ]


def _coverage(runs: int, planned: int) -> str:
    return f"{runs}/{planned}" if runs == planned else f"[yellow]{runs}/{planned}*[/]"


def _summary(evaluation: Evaluation, pair: Pair, found: Comparison) -> list[str]:
    lines = []
    by_metric: dict[str, list[str]] = {}
    for side, label in (("A", pair.a), ("B", pair.b)):
        for headline in evaluation.headlines:
            if headline.label == label:
                value, low, high = (
                    number(evaluation.scale.shown(each, headline.metric), 1)
                    for each in (headline.value.point, headline.value.low, headline.value.high)
                )
                text = f"{side} {value} {escape(f'[{low}, {high}]')}, {counted(len(headline.tasks), 'task')}"
                by_metric.setdefault(headline.metric, []).append(text)
    differences = headline_differences(evaluation, pair, np.random.default_rng(0))
    for metric, sides in by_metric.items():
        if metric in differences:
            each = differences[metric]
            text = f"A - B {each.point:+,.1f} {escape(f'[{each.low:+,.1f}, {each.high:+,.1f}]')}"
            sides.append(
                text + (f" over {counted(found.compared, 'task')}" if found.compared < len(found.tasks) else "")
            )
        lines.append(f"{metric}, {evaluation.scale.name}: {'; '.join(sides)}")
    lines += _missing(found)
    if found.improvement is None:
        return [*lines, "Nothing to compare: no task has runs with data on both sides."]
    interval = escape(f"[{found.improvement.low:.2f}, {found.improvement.high:.2f}]")
    colour = _COLOURS.get(found.verdict, "bold")
    tasks = f"{found.compared} of {len(found.tasks)} tasks" if found.compared < len(found.tasks) else "all tasks"
    lines.append(
        f"P(a run of A beats one of B): {found.improvement.point:.2f} {interval} over {tasks}, "
        f"p = {p_value_text(found.p)}: "
        f"[bold {colour}]{'A is ' if found.verdict in _COLOURS else ''}{found.verdict}[/]"
    )
    if found.smallest_improvement is None:
        lines.append(f"This grid is too small to see any difference at alpha = {found.alpha:g}.")
    else:
        change = "" if found.smallest_change is None else f", a change of all tasks by {found.smallest_change:.1%}"
        lines.append(
            f"Seen with a probability of {found.power:g} at alpha = {found.alpha:g}: from "
            f"P = {found.smallest_improvement:.2f}{change}."
        )
    lines.append(
        "[dim]Per task: Welch's t-test, corrected by Holm's method; `sees from` is after correction. Over tasks: runs "
        "permuted within each task.[/]"
    )
    return lines


def _missing(found: Comparison) -> list[str]:
    a = sum(task.a_planned - task.a_runs for task in found.tasks), sum(task.a_planned for task in found.tasks)
    b = sum(task.b_planned - task.b_runs for task in found.tasks), sum(task.b_planned for task in found.tasks)
    if not a[0] + b[0]:
        return []
    return [f"[yellow]* without a score in the window: {a[0]} of {a[1]} runs of A, {b[0]} of {b[1]} of B.[/]"]


def _to_json(evaluation: Evaluation, pair: Pair, found: Comparison) -> dict[str, Any]:
    return {
        "suite": pair.suite,
        "a": pair.a,
        "b": pair.b,
        "protocol": evaluation.protocol.model_dump(mode="json"),
        "unit": evaluation.scale.name,
        "headlines": [
            headline.to_json(evaluation.scale)
            for headline in evaluation.headlines
            if headline.label in (pair.a, pair.b)
        ],
        "differences": {
            metric: asdict(each)
            for metric, each in headline_differences(evaluation, pair, np.random.default_rng(0)).items()
        },
        **found.to_json(),
    }
