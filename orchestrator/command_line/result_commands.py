"""The commands that read logs and datasets: `aggregate`, `import` and `export`."""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from aggregation.dataset.binning import View
from aggregation.dataset.collect import collect
from aggregation.dataset.explanation import Explanation, explain
from aggregation.dataset.reference_runs import import_files
from aggregation.dataset.score_files import export as write_score_files
from orchestrator.clusters import reading_spread
from orchestrator.command_line.opened_sources import warn_of_misspelt
from orchestrator.command_line.progress_bar import ProgressBar
from orchestrator.command_line.results import print_score_files, print_summary
from orchestrator.consoles import console_for
from sweeps.errors import ConfigError
from sweeps.layout import SweepRoot


def aggregate(arguments: argparse.Namespace) -> int:
    """Collect the logs of a sweep root, or of folders that dreamsweep did not launch."""
    paths = [path.expanduser().resolve() for path in arguments.paths]
    warn_of_misspelt(arguments.suite)
    with ProgressBar("reading", is_bytes=True) as progress:
        summary = collect(
            paths,
            _store(paths, arguments.store),
            suite=arguments.suite,
            metrics=arguments.metrics,
            progress=progress.update,
            spread=None if arguments.ray is None else reading_spread(arguments.ray),
        )
    explanation = None if arguments.explain is None else explain(Path(summary.store), arguments.explain)
    if arguments.json:
        _print_json(summary.to_json() | ({} if explanation is None else {"explanation": explanation.to_json()}))
        return 0
    console = console_for(sys.stdout)
    print_summary(console, summary)
    if explanation is not None:
        print_explanation(console, explanation)
    return 0


def import_score_files(arguments: argparse.Namespace) -> int:
    """Put published score files into a dataset."""
    files = [path.expanduser() for path in arguments.files]
    summary = import_files(files, arguments.store.expanduser().resolve(), label=arguments.label)
    if arguments.json:
        _print_json(summary.to_json())
    else:
        print_summary(console_for(sys.stdout), summary)
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write score files from a dataset."""
    view = View(bins=arguments.bins, binsize=arguments.binsize, budget=arguments.budget, fill=arguments.fill)
    with ProgressBar("writing", is_bytes=False) as progress:
        files = write_score_files(arguments.store, arguments.out, view=view, progress=progress.update)
    if arguments.json:
        _print_json([file.to_json() for file in files])
    else:
        print_score_files(console_for(sys.stdout), files)
    return 0


def print_explanation(console: Console, explanation: Explanation) -> None:
    """One run, attempt by attempt: what it logged, what stays, and why the rest does not."""
    lines = [f"\n{explanation.run}: {explanation.rows:,} rows kept, {explanation.dropped:,} dropped"]
    lines += [f"             {explanation.path}, {explanation.bytes:,} bytes"]
    if explanation.faults:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(explanation.faults.items()))
        lines.append(f"             bad lines: {kinds}")
    for each in explanation.stretches:
        span = "" if each.first_step is None else f", frames {each.first_step:,} to {each.last_step:,}"
        place = "" if each.offset is None else f", from byte {each.offset:,}"
        lines.append(f"attempt {each.attempt:<4} {each.logged:,} rows logged, {each.kept:,} kept{span}{place}")
        lines.append(f"             {each.why}")
        for loss in each.dropped:
            span = f"frames {loss.first_step:,} to {loss.last_step:,}"
            lines.append(f"             dropped: {loss.rows:,} of attempt {loss.attempt}, {span}")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _store(paths: list[Path], store: Path | None) -> Path:
    if store is not None:
        return store.expanduser().resolve()
    root = SweepRoot(paths[0])
    if len(paths) == 1 and (root.journal.exists() or root.runs.is_dir()):
        return root.path
    raise ConfigError(
        f"Say where the dataset shall go, as --store DIR: {', '.join(map(str, paths))} is no sweep root, and "
        f"nothing is written into folders of other programs."
    )


def _print_json(value: object) -> None:
    json.dump(value, sys.stdout)
    print()
