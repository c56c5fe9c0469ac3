"""Opens what a command is to read, as its options say, with a bar while that lasts."""

import argparse
import difflib
import logging
from collections.abc import Sequence
from pathlib import Path

from aggregation.sources.sources import Sources, open_sources
from orchestrator.command_line.progress_bar import ProgressBar
from sweeps.config import group_names

log = logging.getLogger(__name__)


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


def warn_of_misspelt(suite: str | None, config_dir: Path | None = None) -> None:
    """Warn of a suite for logs whose name is nearly that of a known one; any other name is the user's own affair."""
    known = group_names("suite", config_dir)
    near = difflib.get_close_matches(suite or "", known, n=1, cutoff=0.8)
    if near and suite not in known:
        log.warning("No file describes the suite %r. Did you mean %r?", suite, near[0])
