"""Further axes over trainer options: their combinations, and what each adds to a label. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from sweeps.contracts import Option
from sweeps.errors import GridError


@dataclass(frozen=True, slots=True)
class Combination:
    """One value for every further axis."""

    #: By trainer option, in the order the axes were given.
    values: Mapping[str, Option]
    #: The place of each value in its axis, which zipped axes compare.
    places: Mapping[str, int]
    #: What the values add to a label: `_horizon100_lr0.0001`.
    suffix: str


def combinations(axes: Mapping[str, Sequence[Option]]) -> Iterator[Combination]:
    """Every combination of the axes' values, the last axis fastest; a single empty one without axes."""
    names = short_names(list(axes))
    for choice in product(*(list(enumerate(values)) for values in axes.values())):
        values = {axis: value for axis, (_, value) in zip(axes, choice, strict=True)}
        yield Combination(
            values=values,
            places={axis: place for axis, (place, _) in zip(axes, choice, strict=True)},
            suffix="".join(f"_{names[axis]}{value_text(value)}" for axis, value in values.items()),
        )


def short_names(options: Sequence[str]) -> dict[str, str]:
    """The shortest ends of the options' names that tell them apart: `agent.opt.lr` is `lr` beside `agent.horizon`.

    Raises:
        GridError: two options have the same name once it is written as part of a label.
    """
    parts = {option: [part for part in re.split(r"[^A-Za-z0-9_]+", option) if part] for option in options}
    names: dict[str, str] = {}
    for option in options:
        for length in range(1, len(parts[option]) + 1):
            end = parts[option][-length:]
            if not any(other != option and parts[other][-length:] == end for other in options):
                break
        names[option] = "_".join(parts[option][-length:]) if parts[option] else ""
    if len(set(names.values())) < len(options) or "" in names.values():
        raise GridError(f"The axes {', '.join(options)} cannot be told apart in a label; rename or drop one.")
    return names


def value_text(value: Option) -> str:
    """A value as part of a label, where no `-` may stand: `0.0001`, `1em05` for 1e-05, `m1` for -1."""
    if isinstance(value, list):
        return "+".join(map(value_text, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, int | float):
        return text.replace("-", "m").replace("e+", "e")
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text)
