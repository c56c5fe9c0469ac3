"""Expands the axes of a sweep into runs, in a fixed order, and refuses what makes no grid. Pure.

A grid is kept as blocks, the runs that differ only in their seed: a plan adds up a million cells without making them.
"""

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sweeps.cell_rules import Cell, CellRules
from sweeps.contracts import (
    Option,
    Resources,
    RunKey,
    RunSpec,
    Scalar,
    Schedule,
    TrainerSource,
    check_name,
    check_task,
    label_of,
)
from sweeps.errors import GridError, UnknownNameError
from sweeps.option_axes import Combination, combinations
from sweeps.ratio_axis import SetRatio, set_ratio
from sweeps.settings import Suite, SweepSettings, flat_options


@dataclass(frozen=True, slots=True)
class Program:
    """What a trainer makes of a suite, a method and further axes: it is asked once for each."""

    schedule: Schedule
    source: TrainerSource
    #: Every option of the trainer by dotted name, as far as it is known.
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Axes whose product is a part of the grid, each with its values in the order given."""

    #: By suite, then by method.
    bases: tuple[SweepSettings, ...]
    tasks: tuple[Scalar, ...]
    train_ratios: tuple[Scalar, ...]
    seeds: tuple[Scalar, ...]
    #: Seeds by method, in place of `seeds`.
    method_seeds: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    #: Further axes by trainer option.
    options: Mapping[str, tuple[Option, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Base:
    """A suite × method pair with one value for each further axis; tasks, ratios and seeds are still open."""

    #: `flags` holds everything that the suite, the method, the sweep and the further axes set.
    settings: SweepSettings
    program: Program


@dataclass(frozen=True, slots=True)
class Block:
    """Runs that differ only in their seed."""

    base: Base
    #: The run of the first seed.
    first: RunSpec
    seeds: tuple[int, ...]
    ratio: SetRatio

    def runs(self) -> Iterator[RunSpec]:
        spec = self.first
        key = partial(RunKey, suite=spec.key.suite, task=spec.key.task, label=spec.key.label)
        make = partial(RunSpec, **{name: getattr(spec, name) for name in spec.__slots__ if name != "key"})
        for seed in self.seeds:
            yield make(key=key(seed=seed))


@dataclass(frozen=True, slots=True)
class Grid:
    """Every run of a sweep."""

    #: By suite, method, further axes, task and train_ratio, each in the order given; extra cells come last.
    blocks: tuple[Block, ...]

    def __len__(self) -> int:
        return sum(len(block.seeds) for block in self.blocks)

    def __iter__(self) -> Iterator[RunSpec]:
        for block in self.blocks:
            yield from block.runs()


def grid_of(
    products: Sequence[Product], program_of: Callable[[SweepSettings], Program], rules: CellRules | None = None
) -> Grid:
    """The grid of several products; the rules speak of the first one, the others are extra cells.

    Args:
        program_of: what the trainer makes of settings whose `flags` hold everything that is set.

    Raises:
        UnknownNameError: a task that none of a product's suites holds, or a rule about an axis that does not exist.
        GridError: a value that no run can have, an empty axis, a rule without effect, or the same cell twice.
    """
    rules = CellRules() if rules is None else rules
    seen = _Seen()
    blocks: list[Block] = []
    for number, one in enumerate(products):
        _check_tasks(one)
        for block in _blocks(one, program_of, rules if number == 0 else CellRules()):
            seen.add(block)
            blocks.append(block)
    rules.check_matched()
    if not blocks:
        raise GridError(
            "The grid is empty: no task of the suite matches, or only= and exclude= leave nothing. Leave out task= "
            "for every task of the suite."
        )
    return Grid(tuple(blocks))


def _blocks(one: Product, program_of: Callable[[SweepSettings], Program], rules: CellRules) -> Iterator[Block]:
    suites = list(dict.fromkeys(base.suite.name for base in one.bases))
    methods = list(dict.fromkeys(base.method.name for base in one.bases))
    rules.check(
        {"suite": len(suites), "task": len(one.tasks), "method": len(methods), "train_ratio": len(one.train_ratios)}
        | {"seed": len(one.seeds), **{axis: len(values) for axis, values in one.options.items()}}
    )
    all_seeds = [_seed(value) for value in one.seeds]
    method_seeds = {method: [_seed(value) for value in values] for method, values in one.method_seeds.items()}
    for base in one.bases:
        places = {"suite": suites.index(base.suite.name), "method": methods.index(base.method.name)}
        seeds = method_seeds.get(base.method.name, all_seeds)
        for combination in combinations(one.options):
            settings = _with_all_flags(base, combination)
            make: Callable[[Cell, Sequence[int]], Block] | None = None
            for cell in _cells(settings, one, combination, places):
                chosen = rules.seeds(cell, seeds)
                if chosen:
                    # The trainer is asked only about cells that there are.
                    make = make or _block_maker(Base(settings, program_of(settings)))
                    yield make(cell, chosen)


def _cells(
    settings: SweepSettings, one: Product, combination: Combination, places: Mapping[str, int]
) -> Iterator[Cell]:
    suite, method = settings.suite, settings.method
    ratios = [set_ratio(value, suite) for value in one.train_ratios]
    labels = [
        check_name("label", label_of(method.name, ratio.value if ratio.is_set else None, combination.suffix))
        for ratio in ratios
    ]
    shared = {"suite": check_name("suite", suite.name), "method": check_name("method", method.name)}
    for task, task_place in _suite_tasks(suite, one.tasks):
        check_task(task)
        for ratio_place, (ratio, label) in enumerate(zip(ratios, labels, strict=True)):
            yield Cell(
                values={**shared, "task": task, "label": label, **combination.values},
                ratio=ratio,
                places={**places, "task": task_place, "train_ratio": ratio_place, **combination.places},
            )


def _block_maker(base: Base) -> Callable[[Cell, Sequence[int]], Block]:
    settings = base.settings
    suite, method, resources = settings.suite, settings.method, settings.resources
    environ = {**settings.trainer.get("environ", {}), **method.environ}
    make_spec = partial(
        RunSpec,
        method=method.name,
        schedule=base.program.schedule,
        source=base.program.source,
        trainer=settings.trainer,
        configs=(*suite.configs, *method.configs),
        flags=flat_options(settings.flags),
        environ={str(name): str(value) for name, value in environ.items()},
        resources=Resources(
            cpus=resources.cpus,
            gpus=resources.gpus,
            memory_bytes=int(resources.memory_gb * 2**30),
            custom=resources.custom,
        ),
    )

    def make(cell: Cell, seeds: Sequence[int]) -> Block:
        task = str(cell.values["task"])
        key = RunKey(suite=suite.name, task=task, label=str(cell.values["label"]), seed=seeds[0])
        first = make_spec(key=key, train_ratio=cell.ratio.value, trainer_task=suite.trainer_tasks.get(task, task))
        return Block(base, first, tuple(seeds), cell.ratio)

    return make


def _with_all_flags(settings: SweepSettings, combination: Combination) -> SweepSettings:
    """The settings with one set of flags: the suite's, the method's, the sweep's, and those of the further axes.

    Raises:
        GridError: the sweep sets an option that is also an axis.
    """
    flags = flat_options(settings.flags)
    for option in combination.values:
        if option in flags:
            raise GridError(f"The option {option!r} is an axis and is also set by flags; keep one of the two.")
    # The suite's are options of the official trainer, which any other program need not know.
    official = {} if settings.trainer.get("adapter") == "command" else flat_options(settings.suite.flags)
    merged = {**official, **flat_options(settings.method.flags), **flags}
    return settings.model_copy(update={"flags": {**merged, **combination.values}})


class _Seen:
    """The cells of the grid so far, to refuse those that come again."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[object, ...], tuple[Block, ...]] = {}
        self._labels: dict[tuple[str, str], tuple[object, ...]] = {}
        #: Numbers in place of methods, ratios and flags: there may be a million cells.
        self._variants: dict[tuple[object, ...], int] = {}

    def add(self, block: Block) -> None:
        """Take note of a block.

        Raises:
            GridError: it holds a cell that there was before, or its label stands for other options already.
        """
        key, settings = block.first.key, block.base.settings
        variant = (block.first.method, block.first.train_ratio, str(settings.flags))
        if self._labels.setdefault((key.suite, key.label), variant) != variant:
            raise GridError(
                f"Two different cells of the suite {key.suite!r} would both have the label {key.label!r}; give the "
                f"methods, or the values of the axes, names that stay different in a label."
            )
        cell = (key.suite, key.task, self._variants.setdefault(variant, len(self._variants)))
        others = self._blocks.get(cell, ())
        self._blocks[cell] = (*others, block)
        if not others and len(set(block.seeds)) == len(block.seeds):
            return
        known: dict[int, Block] = {}
        for seed, owner in [(seed, one) for one in (*others, block) for seed in one.seeds]:
            if seed in known:
                raise GridError(
                    f"The run {replace(key, seed=seed)} is planned twice (also as "
                    f"{replace(known[seed].first.key, seed=seed)}): the same task, method, train_ratio and seed. Name "
                    f"each value once; 'default' stands for the suite's own ratio."
                )
            known[seed] = owner


def _suite_tasks(suite: Suite, names: Sequence[Scalar]) -> list[tuple[str, int]]:
    """The suite's tasks that `names` (with wild cards, or `all`) selects, each with the place of its name."""
    selected: list[tuple[str, int]] = []
    for place, name in enumerate(map(str, names)):
        if name == "all":
            selected.extend((task, place) for task in suite.tasks)
        elif "*" in name:
            selected.extend((task, place) for task in fnmatch.filter(suite.tasks, name))
        elif name in suite.tasks:
            selected.append((name, place))
    return selected


def _check_tasks(one: Product) -> None:
    known = {task for base in one.bases for task in base.suite.tasks}
    where = "suite " + ", ".join(dict.fromkeys(base.suite.name for base in one.bases))
    for name in map(str, one.tasks):
        matches = fnmatch.filter(known, name) if "*" in name else [name]
        if name != "all" and (not matches or matches[0] not in known):
            raise UnknownNameError("task", name, known, where=where)


def _seed(value: Scalar) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise GridError(f"The seed {value!r} is no seed; expected a whole number from 0 to {2**31 - 1}.")
    return value
