"""The command `table`: task × label by a protocol, from roots, stores, logs and score files."""

import argparse
import io
import json
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aggregation.evaluation.evaluation import Evaluation, evaluate
from aggregation.evaluation.score_table import Entry, Row, ScoreTable, score_table
from aggregation.evaluation.table_formats import latex, markdown, printable, tidy_csv
from aggregation.sources.sources import Sources
from orchestrator.command_line.opened_sources import opened
from orchestrator.command_line.progress_bar import ProgressBar
from orchestrator.consoles import console_for, natural_width, print_whole
from sweeps.errors import ConfigError, LogError, UnknownNameError
from sweeps.files import write_atomically
from sweeps.protocols import FINAL, protocol_of, read_normaliser, read_protocol
from sweeps.settings import Aggregate, Protocol

log = logging.getLogger(__name__)

_BEST = "▸"
_METRICS: tuple[Aggregate, ...] = get_args(Aggregate)


def table(arguments: argparse.Namespace) -> int:
    """Print the tables of every suite that was given."""
    with opened(arguments.paths, arguments) as sources, ProgressBar("evaluating", is_bytes=False) as progress:
        evaluations = _evaluations(arguments, sources, progress)
    if arguments.plot is not None:
        from aggregation.pictures.table_plot import plot_table  # matplotlib takes longer than most tables

        for evaluation, path in zip(evaluations, _picture_paths(arguments.plot.expanduser(), evaluations), strict=True):
            plot_table(evaluation, path)
    form = "json" if arguments.json else arguments.format
    if arguments.out is None:
        _print(evaluations, form)
    else:
        _write(arguments.out.expanduser(), evaluations, form)
    return 0


def _evaluations(arguments: argparse.Namespace, sources: Sources, progress: ProgressBar) -> list[Evaluation]:
    """One for each suite. A suite without any score is told, and does not keep the others from being shown."""
    found: list[Evaluation] = []
    empty: list[LogError] = []
    suites: Sequence[str | None] = sources.suites or [None]
    for suite in suites:
        protocol = _protocol(arguments, suite)
        try:
            found.append(
                evaluate(sources, protocol, suite=suite, config_dir=arguments.config_dir, progress=progress.update)
            )
        except LogError as error:
            empty.append(error)
    if not found:
        raise empty[0]
    for reason in empty:
        log.warning("%s", reason)
    return found


def _picture_paths(path: Path, evaluations: Sequence[Evaluation]) -> list[Path]:
    """A file for each suite; the suite's name joins that of the file where there are several."""
    if len(evaluations) == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{evaluation.suite}{path.suffix}") for evaluation in evaluations]


def _protocol(arguments: argparse.Namespace, suite: str | None) -> Protocol:
    """The protocol that was asked for, or the suite's own, with what was set in its place."""
    config_dir = arguments.config_dir
    if arguments.protocol is not None:
        found = read_protocol(arguments.protocol, config_dir)
    else:
        found = protocol_of(suite, config_dir) if suite is not None else read_protocol(FINAL, config_dir)
    changes: dict[str, object] = {}
    if arguments.window is not None:
        changes.update(window(arguments.window))
    if arguments.normaliser is not None:
        if arguments.normaliser != "none":
            read_normaliser(arguments.normaliser, config_dir)
        changes.update(normaliser=arguments.normaliser, scores=None)
    if arguments.metric:
        for name in arguments.metric:
            if name not in _METRICS:
                raise UnknownNameError("metric", name, _METRICS)
        changes["aggregate"] = list(dict.fromkeys(arguments.metric))
    return found.model_copy(update=changes)


def window(text: str) -> dict[str, object]:
    """A window as it is typed: `390_000:400_000` or `1e6:2e6` in environment frames, or `10%` for the last tenth.

    Raises:
        ConfigError: it is neither.
    """
    share = re.fullmatch(r"([0-9.]+)\s*%", text.strip())
    try:
        if share is not None:
            last = float(share[1]) / 100
            if not 0 < last <= 1:
                raise ValueError
            return {"window": None, "last": last, "frames": None}
        first, end = (float(each.replace("_", "").replace(",", "")) for each in text.split(":"))
        if not (first.is_integer() and end.is_integer() and 0 <= first < end):
            raise ValueError
    except (ValueError, OverflowError):
        raise ConfigError(
            f"--window is {text!r}; expected the first and the last environment frame, as 390_000:400_000, or a last "
            f"share, as 10%."
        ) from None
    return {"window": (int(first), int(end)), "last": None}


def _print(evaluations: Sequence[Evaluation], form: str) -> None:
    if form == "text":
        print_tables(console_for(sys.stdout), evaluations)
        return
    sys.stdout.write(formatted(evaluations, form))


def _write(path: Path, evaluations: Sequence[Evaluation], form: str) -> None:
    if form == "text":
        stream = io.StringIO()
        print_tables(console_for(stream), evaluations)
        text = stream.getvalue()
    else:
        text = formatted(evaluations, form)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}. Expected a file for the table; name another one "
            f"with --out."
        ) from None


def formatted(evaluations: Sequence[Evaluation], form: str) -> str:
    """The tables in one of the formats that need no console."""
    if form == "json":
        return json.dumps({"tables": [evaluation.to_json() for evaluation in evaluations]}, allow_nan=False) + "\n"
    if form == "csv":
        return tidy_csv(evaluations)
    write = {"markdown": markdown, "latex": latex}[form]
    return "\n".join(write(score_table(evaluation)) for evaluation in evaluations)


def print_tables(console: Console, evaluations: Sequence[Evaluation]) -> None:
    """Each table as people read it in a terminal."""
    for place, evaluation in enumerate(evaluations):
        if place:
            console.print()
        laid_out = score_table(evaluation)
        console.print(f"[bold]{escape(printable(laid_out.title))}[/]")
        # Where nothing can be bold, a sign says so.
        sign = "" if console.is_terminal else _BEST
        for places in _pages(console, laid_out, sign):
            print_whole(console, _text(laid_out, places, sign))
        for note in laid_out.notes:
            style = "yellow" if note.startswith("*") else "dim"
            shown = note.replace("Bold:", f"{sign}:") if sign else note
            console.print(f"[{style}]{escape(printable(shown))}[/]", soft_wrap=not console.is_terminal)


def _text(laid_out: ScoreTable, places: Sequence[int], sign: str) -> Table:
    """The columns of some labels."""
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    shown.add_column("task", no_wrap=True)
    for place in places:
        shown.add_column(escape(printable(laid_out.labels[place])), no_wrap=True)
    widths = [_Widths([row.entries[place] for row in laid_out.rows], sign) for place in places]
    before = ""
    for row in laid_out.rows:
        if before == "task" and row.kind != "task":
            shown.add_row()
        before = row.kind
        cells = [each.text(row.entries[place], row) for each, place in zip(widths, places, strict=True)]
        shown.add_row(escape(printable(row.name)), *cells)
    return shown


def _pages(console: Console, laid_out: ScoreTable, sign: str) -> list[list[int]]:
    """The places of the labels, in as many groups as it takes for each to fit the console's width."""
    pages: list[list[int]] = [[]]
    for place in range(len(laid_out.labels)):
        wider = [*pages[-1], place]
        if pages[-1] and natural_width(console, _text(laid_out, wider, sign)) > console.width:
            pages.append([place])
        else:
            pages[-1] = wider
    return pages


class _Widths:
    """The widths of the parts of a column's entries, so that they stand under each other.

    Args:
        entries: Of the column.
        sign: Stands before the best.
    """

    def __init__(self, entries: Sequence[Entry], sign: str) -> None:
        self._sign = sign
        plain = [entry for entry in entries if " to " not in entry.value]
        self._value = max((len(entry.value) for entry in plain), default=0)
        self._spread = max((len(entry.spread) for entry in plain), default=0)
        self._coverage = max((len(entry.coverage) for entry in plain), default=0)

    def text(self, entry: Entry, row: Row) -> str:
        """An entry with console markup."""
        if row.kind == "leave_one_out":
            return f"[dim]{' ' * (len(self._sign) + self._value + 2)}{escape(entry.value)}[/]"
        sign = self._sign if entry.is_best else " " * len(self._sign)
        value = sign + entry.value.rjust(self._value)
        value = f"[bold]{value}[/]" if entry.is_best else value
        mark = " " if entry.is_complete else "[yellow]*[/]"
        coverage = entry.coverage.rjust(self._coverage)
        coverage = f"[dim]{coverage}[/]" if entry.is_complete else f"[yellow]{coverage}[/]"
        return f"{value}{mark} [dim]{escape(entry.spread.ljust(self._spread))}[/] {coverage}"
