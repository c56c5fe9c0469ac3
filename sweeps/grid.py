"""Expands the axes of a sweep into runs, in a fixed order, and refuses what makes no grid. Pure."""

import fnmatch
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sweeps.contracts import (
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
from sweeps.settings import Suite, SweepSettings, flat_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A suite × method pair with what its trainer makes of it; tasks, ratios and seeds are still open."""

    settings: SweepSettings
    schedule: Schedule
    source: TrainerSource


def runs_of(
    bases: Sequence[Base],
    *,
    tasks: Sequence[Scalar],
    train_ratios: Sequence[Scalar],
    seeds: Sequence[Scalar],
) -> tuple[RunSpec, ...]:
    """Every run of the grid, by suite, method, task, train_ratio and seed, each in the order given.

    Raises:
        UnknownNameError: a task that none of the suites holds.
        GridError: a value that no run can have, an empty axis, or the same cell twice.
    """
    seed_values = [_seed(value) for value in seeds]
    _check_tasks(bases, tasks)
    seen: dict[tuple[object, ...], RunSpec] = {}
    for base in bases:
        for spec in _runs_of_base(base, tasks, train_ratios, seed_values):
            cell = (spec.key.suite, spec.key.task, spec.method, spec.train_ratio, spec.key.seed)
            if cell in seen:
                raise GridError(
                    f"The run {spec.key} is planned twice (also as {seen[cell].key}): the same task, method, "
                    f"train_ratio and seed. Name each value once; 'default' stands for the suite's own ratio."
                )
            seen[cell] = spec
    if not seen:
        raise GridError("The grid is empty: no task of the suite matches. Leave out task= for every task.")
    return tuple(seen.values())


def _runs_of_base(
    base: Base, tasks: Sequence[Scalar], train_ratios: Sequence[Scalar], seeds: Sequence[int]
) -> Iterator[RunSpec]:
    settings = base.settings
    suite, method = settings.suite, settings.method
    ratios = [_ratio(value, suite) for value in train_ratios]
    labels = [check_name("label", label_of(method.name, ratio)) for ratio in ratios]
    template = RunSpec(
        key=RunKey(suite=check_name("suite", suite.name), task="", label="", seed=0),
        method=check_name("method", method.name),
        train_ratio=suite.train_ratio,
        trainer_task="",
        schedule=base.schedule,
        source=base.source,
        trainer=settings.trainer,
        configs=(*suite.configs, *method.configs),
        flags={**flat_options(method.flags), **flat_options(settings.flags)},
        environ={str(name): str(value) for name, value in settings.trainer.get("environ", {}).items()},
        resources=Resources(
            cpus=settings.resources.cpus,
            gpus=settings.resources.gpus,
            memory_bytes=int(settings.resources.memory_gb * 2**30),
            custom=settings.resources.custom,
        ),
    )
    for task in _suite_tasks(suite, tasks):
        trainer_task = suite.trainer_tasks.get(task, task)
        for ratio, label in zip(ratios, labels, strict=True):
            for seed in seeds:
                yield replace(
                    template,
                    key=RunKey(suite=suite.name, task=check_task(task), label=label, seed=seed),
                    train_ratio=suite.train_ratio if ratio is None else ratio,
                    trainer_task=trainer_task,
                )


def _suite_tasks(suite: Suite, names: Sequence[Scalar]) -> list[str]:
    """The suite's tasks that `names` (with wild cards, or `all`) selects, in the order they are named."""
    selected: list[str] = []
    for name in map(str, names):
        if name == "all":
            selected.extend(suite.tasks)
        elif "*" in name:
            selected.extend(fnmatch.filter(suite.tasks, name))
        elif name in suite.tasks:
            selected.append(name)
    return selected


def _check_tasks(bases: Sequence[Base], names: Sequence[Scalar]) -> None:
    known = {task for base in bases for task in base.settings.suite.tasks}
    where = "suite " + ", ".join(dict.fromkeys(base.settings.suite.name for base in bases))
    for name in map(str, names):
        matches = fnmatch.filter(known, name) if "*" in name else [name]
        if name != "all" and (not matches or matches[0] not in known):
            raise UnknownNameError("task", name, known, where=where)


def _ratio(value: Scalar, suite: Suite) -> float | None:
    """The ratio that the sweep sets, or None where it leaves the suite's own alone."""
    if value == "default":
        return None
    if isinstance(value, bool | None | str) or not math.isfinite(value) or value < 0:
        raise GridError(
            f"train_ratio {value!r} is no ratio; expected 'default' or a number that is not negative: the replayed "
            f"time steps per policy step (suite {suite.name}: {suite.train_ratio})."
        )
    return float(value)


def _seed(value: Scalar) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise GridError(f"The seed {value!r} is no seed; expected a whole number from 0 to {2**31 - 1}.")
    return value
