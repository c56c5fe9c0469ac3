"""Which night this is: told from the trainer's revision, with a folder and seeds of its own."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeps.contracts import RunSpec
from sweeps.errors import ConfigError

#: Nights have seeds this far apart, and fresh ones begin in the middle.
_STRIDE = 1000
_SHOWN_OF_REVISION = 10
#: What may differ from night to night, of what identifies a run.
_TRAINER = ("trainer.revision", "trainer.dirty", "trainer.command")


@dataclass(frozen=True, slots=True)
class Night:
    """One night."""

    #: Counted from 1.
    number: int
    #: Its folder: the number and the trainer's revision.
    name: str
    #: Tells from what was run whether two nights are the same.
    digest: str
    #: In full; several where methods bring their own trainers.
    revision: str
    #: Whether it has seeds of its own.
    own_seeds: bool

    @property
    def offset(self) -> int:
        """What is added to the seeds that the grid names."""
        return self.number * _STRIDE if self.own_seeds else 0

    def planned(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """The grid's runs with this night's seeds."""
        return [_with_seed(spec, spec.key.seed + self.offset) for spec in specs]

    def fresh(self, specs: Sequence[RunSpec], cells: Collection[str], count: int) -> list[RunSpec]:
        """Further runs of some cells, each with so many fresh seeds.

        Args:
            specs: The night's planned runs.
            cells: Names of cells, as `cell_name` has them.
            count: Seeds for each.
        """
        first = {cell_name(spec): spec for spec in reversed(specs)}
        # Without seeds of their own, nights share their fresh seeds no more than they must.
        start = self.number * _STRIDE + _STRIDE // 2
        return [
            _with_seed(spec, start + place) for name, spec in first.items() if name in cells for place in range(count)
        ]


def night_of(
    specs: Sequence[RunSpec], earlier: Sequence[Mapping[str, Any]], *, last: int, own_seeds: bool, again: bool
) -> Night:
    """Which night these runs are: one that was begun before, or the next.

    Args:
        specs: The grid's runs, with the seeds that it names.
        earlier: The night.json of each night, by number.
        last: The highest number in the history.
        own_seeds: Whether a new night has seeds of its own.
        again: Begin another night, though nothing has changed since a complete one.

    Raises:
        ConfigError: the trainer names no revision, or a seed is too large.
    """
    _check(specs)
    digest = _digest(specs)
    for record in reversed(earlier):
        if record["digest"] == digest and not (again and record.get("verdict")):
            return Night(record["night"], record["name"], digest, record["revision"], record["own_seeds"])
    revisions = list(dict.fromkeys(spec.source.revision for spec in specs))
    number = max([last, *(record["night"] for record in earlier)]) + 1
    short = re.sub(r"[^A-Za-z0-9.]+", "_", revisions[0])[:_SHOWN_OF_REVISION]
    return Night(number, f"{number:04d}-{short}", digest, "+".join(revisions), own_seeds)


def cell_name(spec: RunSpec) -> str:
    """What the seeds of one cell share."""
    return f"{spec.key.suite}/{spec.key.task}/{spec.key.label}"


def cell_digest(spec: RunSpec) -> str:
    """A fingerprint of what decides a score, but for the seed and what each night's trainer is."""
    identity = {name: value for name, value in spec.identity().items() if name not in ("seed", *_TRAINER)}
    return _hashed({"label": spec.key.label, **identity})


def _digest(specs: Sequence[RunSpec]) -> str:
    cells = {
        cell_digest(spec): [identity[name] for name in _TRAINER if name in identity]
        for spec in specs
        for identity in [spec.identity()]
    }
    return _hashed(sorted(cells.items()))


def _hashed(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _with_seed(spec: RunSpec, seed: int) -> RunSpec:
    return replace(spec, key=replace(spec.key, seed=seed))


def _check(specs: Sequence[RunSpec]) -> None:
    for spec in specs:
        if not spec.source.revision:
            raise ConfigError(
                f"The trainer of {spec.key} names no revision, so one night cannot be told from the next. Set "
                f"trainer.revision, for example to the commit: trainer.revision=$(git -C ~/dreamerv3 rev-parse HEAD)."
            )
        if spec.key.seed >= _STRIDE // 2:
            raise ConfigError(
                f"The seed of {spec.key} is too large for a nightly; expected seeds below {_STRIDE // 2}: each night "
                f"adds {_STRIDE} times its number, so that nights have seeds of their own."
            )
