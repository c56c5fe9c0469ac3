"""Looks at the suite that somebody names for logs which do not tell theirs."""

import difflib
import logging
from pathlib import Path

from sweeps.config_tree import group_names

log = logging.getLogger(__name__)


def warn_of_misspelt(suite: str | None, config_dir: Path | None = None) -> None:
    """Warn of a suite for logs whose name is nearly that of a known one; any other name is the user's own affair."""
    known = group_names("suite", config_dir)
    near = difflib.get_close_matches(suite or "", known, n=1, cutoff=0.8)
    if near and suite not in known:
        log.warning("No file describes the suite %r. Did you mean %r?", suite, near[0])
