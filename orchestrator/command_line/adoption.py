"""Which run of a grid a folder of the official trainer is: its config.yaml beside the options of every cell. Pure.

A folder's own name decides only between cells that are equal in every option.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.contracts import RunSpec

#: Where a run executes, what it logs and how often: none of it changes a score.
_NO_MATTER = re.compile(
    r"logdir|method|errfile|clock_\w+|ipv6|replicas?|report_length|consec_report|(logger|run\.usage)\..*"
    r"|run\.(log_every|save_every|report_\w+|duration|eval_\w+|\w+_addr|actor_\w+|agent_process|remote_\w+|debug"
    r"|episode_timeout)"
    r"|jax\.(platform|prealloc|profiler|debug|jit|enable_policy|expect_devices|\w+_devices|coordinator_address)"
)
_NOT_THERE = "not there"


@dataclass(frozen=True, slots=True)
class Cell:
    """A run of the grid, with every option that the trainer would run with."""

    spec: RunSpec
    options: Mapping[str, Any]

    def all_options(self) -> dict[str, Any]:
        """The options of the blocks and flags, and those that the sweep itself decides."""
        ratio = {} if self.spec.train_ratio is None else {"run.train_ratio": self.spec.train_ratio}
        return {
            **self.options,
            "script": "train",
            "task": self.spec.trainer_task,
            "seed": self.spec.key.seed,
            "run.steps": self.spec.schedule.steps,
            **ratio,
        }


@dataclass(frozen=True, slots=True)
class Match:
    """What a folder was compared with."""

    #: The run that it is, or the one that comes nearest; None where the grid has none of its task and seed.
    spec: RunSpec | None
    #: Why it is not that run; empty where it is.
    reason: str = ""
    #: By option, its value in the folder and in the grid.
    differences: Mapping[str, tuple[Any, Any]] | None = None


class Cells:
    """The runs of a grid by what a folder's options say first."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._by_task: dict[tuple[str, int], list[Cell]] = {}
        for cell in cells:
            self._by_task.setdefault((cell.spec.trainer_task, cell.spec.key.seed), []).append(cell)

    def match(self, folder: Path, stated: Mapping[str, Any]) -> Match:
        """Find the run that a folder is.

        Args:
            stated: every option in the folder's config.yaml, by dotted name.
        """
        task, seed = stated.get("task"), stated.get("seed")
        cells = self._by_task.get((str(task), seed), []) if isinstance(seed, int) else []
        if not cells:
            return Match(None, f"the grid has no run of the task {task!r} with seed {seed!r}")
        compared = [(differences(stated, cell.all_options()), cell.spec) for cell in cells]
        fewest = min(len(found) for found, _ in compared)
        nearest = [(found, spec) for found, spec in compared if len(found) == fewest]
        named = [pair for pair in nearest if _is_named(folder, pair[1])]
        found, spec = (named or nearest)[0]
        if found:
            return Match(spec, "its options differ", found)
        if len(nearest) > 1 and len(named) != 1:
            alike = _listed([str(spec.key) for _, spec in nearest])
            return Match(
                None,
                f"it may be any of {alike}, which have the same options: name the method in its path, as "
                f"task/method/seed, or leave one of them in the grid",
            )
        return Match(spec)


def differences(stated: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The options that change a result and are not the same, as stated and as wanted."""
    names = [name for name in {**wanted, **stated} if not _NO_MATTER.fullmatch(name)]
    pairs = {name: (stated.get(name, _NOT_THERE), wanted.get(name, _NOT_THERE)) for name in names}
    return {name: pair for name, pair in pairs.items() if not _is_same(*pair)}


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values mean the same: a number may be written as text, since YAML readers differ on `inf` and 1e6."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool) or isinstance(one, str) == isinstance(other, str):
        return bool(one == other)
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return False


def _is_named(folder: Path, spec: RunSpec) -> bool:
    """Whether a folder's path names the method or the label, in one of the trainer's two layouts."""
    words = {folder.parent.name, *folder.name.split("-")}
    return bool(words & {spec.method, spec.key.label})


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
