"""Which cells of a product belong to the grid: zipped axes, `only` and `exclude`. Pure.

A rule maps axes to the values that it speaks of; a cell matches where it agrees on every axis named.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sweeps.contracts import Option
from sweeps.errors import GridError, UnknownNameError
from sweeps.ratio_axis import SetRatio

Rule = Mapping[str, tuple[Option, ...]]


@dataclass(frozen=True, slots=True)
class Cell:
    """What rules can speak of: a cell without its seed."""

    #: By axis: suite, task, method, label and further axes.
    values: Mapping[str, Option]
    ratio: SetRatio
    #: The place of each value in its axis, by axis.
    places: Mapping[str, int]


@dataclass(slots=True)
class CellRules:
    """The rules of one sweep; counts what each of them matched."""

    only: Sequence[Rule] = ()
    exclude: Sequence[Rule] = ()
    #: Groups of axes whose values are taken by place, all at once.
    zipped: Sequence[Sequence[str]] = ()
    _matched: dict[int, int] = field(default_factory=dict)

    @property
    def are_none(self) -> bool:
        """Whether every cell of the product belongs to the grid."""
        return not (self.only or self.exclude or self.zipped)

    def check(self, axes: Mapping[str, int]) -> None:
        """See that the rules speak of axes that exist, and that zipped ones are equally long.

        Args:
            axes: the number of values by axis.

        Raises:
            UnknownNameError: a rule names another axis.
            GridError: zipped axes have different numbers of values.
        """
        for where, rules in (("only", self.only), ("exclude", self.exclude)):
            for rule in rules:
                for axis in rule:
                    if axis not in axes and axis != "label":
                        raise UnknownNameError("axis", axis, [*axes, "label"], where=where)
        for group in self.zipped:
            for axis in group:
                if axis not in axes:
                    raise UnknownNameError("axis", axis, axes, where="zip")
            lengths = {axis: axes[axis] for axis in group}
            if len(set(lengths.values())) > 1:
                shown = ", ".join(f"{axis} has {count}" for axis, count in lengths.items())
                raise GridError(
                    f"The axes of zip={list(group)} must have equally many values, but {shown}. A pattern "
                    f"such as 'dmc_walker_*' or 'all' counts as one; name the values."
                )

    def seeds(self, cell: Cell, seeds: Sequence[int]) -> Sequence[int]:
        """The seeds with which a cell belongs to the grid."""
        kept = self._zipped_seeds(cell, seeds)
        if self.only:
            wanted = set().union(*self._matches(self.only, cell, kept))
            kept = [seed for seed in kept if seed in wanted]
        unwanted: set[int] = set().union(*self._matches(self.exclude, cell, kept))
        return [seed for seed in kept if seed not in unwanted] if unwanted else kept

    def check_matched(self) -> None:
        """See that every rule spoke of some cell: one that does not is a slip of the pen.

        Raises:
            GridError: a rule matched nothing.
        """
        for where, rules in (("only", self.only), ("exclude", self.exclude)):
            for rule in rules:
                if not self._matched.get(id(rule)):
                    shown = ", ".join(f"{axis}: {_shown(values)}" for axis, values in rule.items())
                    raise GridError(
                        f"The rule {where}=[{{{shown}}}] matches no cell of the grid. Mend it, or take it out."
                    )

    def _matches(self, rules: Sequence[Rule], cell: Cell, seeds: Sequence[int]) -> Iterator[set[int]]:
        for rule in rules:
            if all(_agrees(cell, axis, values) for axis, values in rule.items() if axis != "seed"):
                named = set(seeds).intersection(rule["seed"]) if "seed" in rule else set(seeds)
                self._matched[id(rule)] = self._matched.get(id(rule), 0) + len(named)
                yield named

    def _zipped_seeds(self, cell: Cell, seeds: Sequence[int]) -> Sequence[int]:
        for group in self.zipped:
            places = {cell.places[axis] for axis in group if axis != "seed"}
            if len(places) > 1:
                return []
            if "seed" in group and places:
                place = places.pop()
                seeds = [seeds[place]] if place < len(seeds) else []
        return seeds


def _agrees(cell: Cell, axis: str, wanted: Sequence[Option]) -> bool:
    if axis == "train_ratio":
        return any(cell.ratio.is_called(value) for value in wanted)
    value = cell.values[axis]
    return any(
        fnmatch.fnmatchcase(value, name) if isinstance(value, str) and isinstance(name, str) else value == name
        for name in wanted
    )


def _shown(values: Sequence[Option]) -> str:
    return str(values[0]) if len(values) == 1 else str(list(values))
