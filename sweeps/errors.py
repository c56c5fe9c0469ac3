"""Every error that a user can meet, in one tree.

    DreamsweepError
    ├── ConfigError             the command line or a config file says something that cannot be
    │   ├── UnknownNameError    a name that is not among the allowed ones
    │   ├── GridError           axes that do not make a grid
    │   ├── LintError           warnings about a plan, where strict=true makes them errors
    │   └── TrainerError        a trainer that is not there or cannot be used
    │       └── CheckpointBrokenError   a run directory without a checkpoint to go on from (orchestrator/trainers)
    ├── RootError               the sweep root cannot be used as asked
    │   ├── RootLockedError     another orchestrator holds it
    │   ├── SpecChangedError    a run in it was made with other options
    │   └── JournalError        its journal cannot be replayed
    ├── ClusterError            Ray cannot be started, joined, or cannot meet a request
    ├── StorageError            the store of checkpoints cannot be used
    └── LogError                log folders or score files that cannot be read at all

The message of each is complete sentences: what is wrong, the value, what was expected, where, what to do.
"""

import difflib
from collections.abc import Iterable


class DreamsweepError(Exception):
    """The root of the tree: a mistake or a failure that is told in words, never as a traceback."""


class ConfigError(DreamsweepError):
    """The command line or a config file says something that cannot be."""


class UnknownNameError(ConfigError):
    """A name that is not among the allowed ones; the message lists those and the nearest match."""

    def __init__(self, kind: str, name: object, allowed: Iterable[str], *, where: str = "") -> None:
        self.kind = kind
        self.name = str(name)
        self.allowed = sorted(set(allowed))
        near = difflib.get_close_matches(self.name, self.allowed, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(self.allowed) or "none"
        place = f" in {where}" if where else ""
        super().__init__(f"Unknown {kind} {self.name!r}{place}.{hint} Allowed: {listed}.")


class GridError(ConfigError):
    """Axes that do not make a grid: an empty axis, a duplicate cell, a value that no run can have."""


class LintError(ConfigError):
    """Warnings about a plan, where `strict=true` makes them errors."""


class TrainerError(ConfigError):
    """A trainer that is not there or cannot be used."""


class RootError(DreamsweepError):
    """The sweep root cannot be used as asked."""


class RootLockedError(RootError):
    """Another orchestrator holds the root."""


class SpecChangedError(RootError):
    """A run in the root was made with other options than those asked for now."""


class JournalError(RootError):
    """The journal of the root cannot be replayed."""


class ClusterError(DreamsweepError):
    """Ray cannot be started or joined, or cannot meet a request."""


class StorageError(DreamsweepError):
    """The store of checkpoints cannot be used."""


class LogError(DreamsweepError):
    """Log folders or score files that cannot be read at all."""
