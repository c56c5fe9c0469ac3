"""The commands that read logs and datasets: `aggregate`, `import` and `export`."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aggregation.dataset.binning import View
from aggregation.dataset.collect import collect
from aggregation.dataset.explanation import explain
from aggregation.dataset.reference_runs import import_files
from aggregation.dataset.score_files import export as write_score_files
from aggregation.logs.discover import check_can_be_searched
from orchestrator.command_line.dataset_lines import print_explanation, print_score_files, print_summary
from orchestrator.command_line.progress_bar import ProgressBar
from orchestrator.consoles import console_for
from sweeps.errors import ConfigError
from sweeps.layout import SweepRoot

if TYPE_CHECKING:
    from aggregation.logs.spread import Spread


def aggregate(arguments: argparse.Namespace) -> int:
    """Collect the logs of a sweep root, or of folders that dreamsweep did not launch."""
    paths = [path.expanduser().resolve() for path in arguments.paths]
    for path in paths:
        check_can_be_searched(path)  # before it is asked where the dataset shall go
    if arguments.suite:
        _warn_of_misspelt(arguments.suite)
    with ProgressBar("reading", is_bytes=True) as progress:
        summary = collect(
            paths,
            _store(paths, arguments.store),
            suite=arguments.suite,
            numbers_repeats=arguments.number_repeats,
            metrics=arguments.metrics,
            progress=progress.update,
            spread=None if arguments.ray is None else _reading_spread(arguments.ray),
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
    if arguments.suite is not None:
        _warn_of_misspelt(arguments.suite)
    summary = import_files(files, arguments.store.expanduser().resolve(), label=arguments.label, suite=arguments.suite)
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


# Who collects every minute shall not wait for Hydra and Ray, which these need.


def _warn_of_misspelt(suite: str) -> None:
    from orchestrator.command_line.suite_name import warn_of_misspelt

    warn_of_misspelt(suite)


def _reading_spread(address: str) -> "Spread":
    from orchestrator.chosen_cluster import reading_spread

    return reading_spread(address)


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
