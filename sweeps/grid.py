"""Expands the axes of a sweep into runs, in a fixed order, and refuses what makes no grid. Pure.

A grid is kept as blocks, the runs that differ only in their seed: a plan adds up a million cells without making them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
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
from sweeps.selection import matching
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


@dataclass(frozen=True)
class Base:
    """A suite × method pair with one value for each further axis; tasks, ratios and seeds are still open."""

    #: `flags` holds everything that the suite, the method, the sweep and the further axes set.
    settings: SweepSettings
    program: Program

    @cached_property
    def make_spec(self) -> Callable[..., RunSpec]:
        """A function from a key, a ratio and a task to the run."""
        suite, method, resources = self.settings.suite, self.settings.method, self.settings.resources
        environ = {**self.settings.trainer.get("environ", {}), **method.environ}
        return partial(
            RunSpec,
            method=method.name,
            schedule=self.program.schedule,
            source=self.program.source,
            trainer=self.settings.trainer,
            configs=(*suite.configs, *method.configs),
            flags=flat_options(self.settings.flags),
            environ={str(name): str(value) for name, value in environ.items()},
            resources=Resources(
                cpus=resources.cpus,
                gpus=resources.gpus,
                memory_bytes=int(resources.memory_gb * 2**30),
                custom=resources.custom,
            ),
        )


@dataclass(frozen=True, slots=True)
class Variant:
    """A base at one ratio: what a label stands for. Tasks and seeds are still open."""

    base: Base
    ratio: SetRatio
    label: str

    @property
    def suite(self) -> Suite:
        return self.base.settings.suite


@dataclass(frozen=True, slots=True)
class Block:
    """Runs that differ only in their seed. Small: there may be a million."""

    variant: Variant
    task: str
    seeds: tuple[int, ...]

    @property
    def base(self) -> Base:
        return self.variant.base

    @property
    def ratio(self) -> SetRatio:
        return self.variant.ratio

    @property
    def first(self) -> RunSpec:
        """The run of the first seed, made anew each time."""
        return self.base.make_spec(
            key=self.key(self.seeds[0]),
            train_ratio=self.ratio.value,
            trainer_task=self.variant.suite.trainer_tasks.get(self.task, self.task),
        )

    def key(self, seed: int) -> RunKey:
        return RunKey(suite=self.variant.suite.name, task=self.task, label=self.variant.label, seed=seed)

    def runs(self, first: RunSpec | None = None) -> Iterator[RunSpec]:
        """Every run; with `first`, all of them are like that one."""
        spec = self.first if first is None else first
        make = partial(RunSpec, **{name: getattr(spec, name) for name in spec.__slots__ if name != "key"})
        for seed in self.seeds:
            yield make(key=self.key(seed))


@dataclass(frozen=True, slots=True)
class Grid:
    """Every run of a sweep."""

    #: By suite, method, further axes, task and train_ratio, each in the order given; extra cells come last.
    blocks: tuple[Block, ...]
    #: The same blocks by suite and label, in the order in which each pair comes first.
    by_label: tuple[tuple[Block, ...], ...]

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
    seen.check_cells()
    rules.check_matched()
    if not blocks:
        raise GridError(
            "The grid is empty: no task of the suite matches, or only= and exclude= leave nothing. Leave out task= "
            "for every task of the suite."
        )
    return Grid(tuple(blocks), seen.by_label())


def _blocks(one: Product, program_of: Callable[[SweepSettings], Program], rules: CellRules) -> Iterator[Block]:
    suites = list(dict.fromkeys(base.suite.name for base in one.bases))
    methods = list(dict.fromkeys(base.method.name for base in one.bases))
    rules.check(
        {"suite": len(suites), "task": len(one.tasks), "method": len(methods), "train_ratio": len(one.train_ratios)}
        | {"seed": len(one.seeds), **{axis: len(values) for axis, values in one.options.items()}}
    )
    all_seeds = tuple(_seed(value) for value in one.seeds)
    method_seeds = {method: tuple(map(_seed, values)) for method, values in one.method_seeds.items()}
    for base in one.bases:
        places = {"suite": suites.index(base.suite.name), "method": methods.index(base.method.name)}
        seeds = method_seeds.get(base.method.name, all_seeds)
        for combination in combinations(one.options):
            settings = _with_all_flags(base, combination)
            variants: list[Variant] = []
            ratios = _ratios(settings, one, combination)
            for task, ratio_place, chosen in _cells(settings, one, combination, places, ratios, seeds, rules):
                # The trainer is asked only about cells that there are.
                if not variants:
                    asked = Base(settings, program_of(settings))
                    variants = [Variant(asked, ratio, label) for ratio, label in ratios]
                yield Block(variants[ratio_place], task, chosen)


def _ratios(settings: SweepSettings, one: Product, combination: Combination) -> list[tuple[SetRatio, str]]:
    """The ratios, each with its label."""
    ratios = [set_ratio(value, settings.suite) for value in one.train_ratios]
    method, suffix = settings.method.name, combination.suffix
    return [
        (ratio, check_name("label", label_of(method, ratio.value if ratio.is_set else None, suffix)))
        for ratio in ratios
    ]


def _cells(
    settings: SweepSettings,
    one: Product,
    combination: Combination,
    places: Mapping[str, int],
    ratios: Sequence[tuple[SetRatio, str]],
    seeds: tuple[int, ...],
    rules: CellRules,
) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """The cells that belong to the grid: the task, the place of the ratio, and the seeds."""
    suite, method = settings.suite, settings.method
    shared = {"suite": check_name("suite", suite.name), "method": check_name("method", method.name)}
    for task, task_place in _suite_tasks(suite, one.tasks):
        check_task(task)
        if rules.are_none and seeds:
            for place in range(len(ratios)):
                yield task, place, seeds
            continue
        for place, (ratio, label) in enumerate(ratios):
            cell = Cell(
                values={**shared, "task": task, "label": label, **combination.values},
                ratio=ratio,
                places={**places, "task": task_place, "train_ratio": place, **combination.places},
            )
            chosen = tuple(rules.seeds(cell, seeds))
            if chosen:
                yield task, place, chosen


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
        self._labelled: dict[tuple[str, str], list[Block]] = {}
        self._variants: dict[tuple[str, str], tuple[object, ...]] = {}
        #: By what decides the results, the lists of its labels.
        self._alike: dict[tuple[object, ...], list[list[Block]]] = {}
        #: By a variant's id, the list of its label: looked up for each of perhaps a million cells.
        self._lists: dict[int, list[Block]] = {}

    def add(self, block: Block) -> None:
        """Take note of a block.

        Raises:
            GridError: its label stands for other options already.
        """
        blocks = self._lists.get(id(block.variant))
        if blocks is None:
            blocks = self._lists[id(block.variant)] = self._opened(block.variant)
        blocks.append(block)

    def by_label(self) -> tuple[tuple[Block, ...], ...]:
        return tuple(map(tuple, self._labelled.values()))

    def check_cells(self) -> None:
        """See that no cell came twice.

        Raises:
            GridError: one did.
        """
        for lists in self._alike.values():
            blocks = lists[0] if len(lists) == 1 else [block for each in lists for block in each]
            seeds = blocks[0].seeds
            is_plain = len(set(seeds)) == len(seeds) and all(block.seeds is seeds for block in blocks)
            if not is_plain or len({block.task for block in blocks}) < len(blocks):
                _check_blocks(blocks)

    def _opened(self, variant: Variant) -> list[Block]:
        settings, suite = variant.base.settings, variant.suite.name
        alike = (suite, settings.method.name, variant.ratio.value, str(settings.flags))
        if self._variants.setdefault((suite, variant.label), alike) != alike:
            raise GridError(
                f"Two different cells of the suite {suite!r} would both have the label {variant.label!r}; give the "
                f"methods, or the values of the axes, names that stay different in a label."
            )
        is_new = (suite, variant.label) not in self._labelled
        blocks = self._labelled.setdefault((suite, variant.label), [])
        if is_new:
            self._alike.setdefault(alike, []).append(blocks)
        return blocks


def _check_blocks(blocks: Sequence[Block]) -> None:
    known: dict[tuple[str, int], Block] = {}
    for block in blocks:
        for seed in block.seeds:
            other = known.setdefault((block.task, seed), block)
            if other is not block or block.seeds.count(seed) > 1:
                raise GridError(
                    f"The run {block.key(seed)} is planned twice (also as {other.key(seed)}): the same task, method, "
                    f"train_ratio and seed. Name each value once; 'default' stands for the suite's own ratio."
                )


def _suite_tasks(suite: Suite, names: Sequence[Scalar]) -> list[tuple[str, int]]:
    """The suite's tasks that `names` (with wild cards, or `all`) selects, each with the place of its name."""
    selected: list[tuple[str, int]] = []
    for place, name in enumerate(map(str, names)):
        if name == "all":
            selected.extend((task, place) for task in suite.tasks)
        else:
            selected.extend((task, place) for task in matching(name, suite.tasks))
    return selected


def _check_tasks(one: Product) -> None:
    known = {task for base in one.bases for task in base.suite.tasks}
    where = "suite " + ", ".join(dict.fromkeys(base.suite.name for base in one.bases))
    for name in map(str, one.tasks):
        if name != "all" and not matching(name, known):
            raise UnknownNameError("task", name, known, where=where)


def _seed(value: Scalar) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise GridError(f"The seed {value!r} is no seed; expected a whole number from 0 to {2**31 - 1}.")
    return value
