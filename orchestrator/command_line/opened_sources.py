"""Opens what a command is to read, as its options say, with a bar while that lasts."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from aggregation.sources.sources import Sources, open_sources
from orchestrator.command_line.progress_bar import ProgressBar
from orchestrator.command_line.suite_name import warn_of_misspelt


def opened(paths: Sequence[Path], arguments: argparse.Namespace) -> Sources:
    """The sources of `table`, `plot`, `report` and `compare`; an option that a command does not have chooses nothing.

    Raises:
        LogError: a path holds no scores.
        UnknownNameError: a suite, task or label that no run has.
    """
    chosen = vars(arguments)
    warn_of_misspelt(chosen["log_suite"], chosen["config_dir"])
    with ProgressBar("reading", is_bytes=True) as progress:
        return open_sources(
            paths,
            suites=chosen.get("suite"),
            tasks=chosen.get("task"),
            labels=chosen.get("label"),
            suite=chosen["log_suite"],
            store=chosen.get("store"),
            config_dir=chosen["config_dir"],
            brings_up_to_date=True,
            progress=progress.update,
        )
