"""How a grid relates to the runs that a root holds already: what is added, kept, changed and left alone. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.contracts import RunKey, RunSpec


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run of the root."""

    spec: RunSpec
    is_done: bool


@dataclass(slots=True)
class Extension:
    """The runs of a grid and of a root, each in one of these."""

    #: In the grid, not in the root.
    added: list[RunKey] = field(default_factory=list)
    #: In both and the same: finished, and still to be finished.
    done: list[RunKey] = field(default_factory=list)
    unfinished: list[RunKey] = field(default_factory=list)
    #: In both and not the same: the options that differ, then and now. `run` refuses them.
    changed: dict[RunKey, dict[str, tuple[Any, Any]]] = field(default_factory=dict)
    #: In the root only: they stay as they are.
    elsewhere: list[RunKey] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The form that `plan --diff --json` prints."""
        lists = {name: list(map(str, getattr(self, name))) for name in ("added", "done", "unfinished", "elsewhere")}
        changed = {
            str(key): {name: {"then": then, "now": now} for name, (then, now) in differences.items()}
            for key, differences in self.changed.items()
        }
        return {**lists, "changed": changed}


def extension(specs: Iterable[RunSpec], past: Mapping[RunKey, PastRun]) -> Extension:
    """Compare the runs of a grid with those of a root, by what decides their results."""
    found, left = Extension(), dict(past)
    for spec in specs:
        run = left.pop(spec.key, None)
        if run is None:
            found.added.append(spec.key)
            continue
        differences = run.spec.differences(spec)
        if differences:
            found.changed[spec.key] = differences
        else:
            (found.done if run.is_done else found.unfinished).append(spec.key)
    found.elsewhere.extend(left)
    return found
