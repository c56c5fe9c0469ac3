"""Makes settings, programs and grids for tests, without Hydra and without a trainer."""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.cell_rules import CellRules
from sweeps.contracts import Schedule, TrainerSource
from sweeps.grid import Grid, Product, Program, grid_of
from sweeps.settings import ClusterSettings, Method, Suite, SweepSettings


def suite(name: str = "ponds", **values: Any) -> Suite:
    defaults: dict[str, Any] = {"tasks": ["ponds_north", "ponds_south"], "steps": 1000, "envs": 1, "train_ratio": 64}
    return Suite(name=name, **{**defaults, **values})


def settings(suite_: Suite | None = None, method: str = "plain", **values: Any) -> SweepSettings:
    own: Mapping[str, Any] = values.pop("method_values", {})
    defaults: dict[str, Any] = {
        "name": "test",
        "root": "results",
        "task": "all",
        "train_ratio": "default",
        "seed": 0,
        "trainer": {"adapter": "command"},
        "cluster": ClusterSettings(backend="process"),
    }
    return SweepSettings(suite=suite_ or suite(), method=Method(name=method, **own), **{**defaults, **values})


def program(settings_: SweepSettings) -> Program:
    """A program that takes every number from the suite, and batches and environments from flags of that name."""
    numbers = {"envs": settings_.suite.envs, "batch_size": 16, "batch_length": 64}
    flags = {name: settings_.flags[name] for name in numbers if name in settings_.flags}
    steps, repeat = settings_.steps or settings_.suite.steps, settings_.suite.action_repeat
    return Program(
        Schedule(steps=steps, action_repeat=repeat, **{**numbers, **flags}),
        TrainerSource(adapter=str(settings_.trainer["adapter"])),
    )


def product(*bases: SweepSettings, **values: Any) -> Product:
    defaults: dict[str, Any] = {"tasks": ("all",), "train_ratios": ("default",), "seeds": (0,)}
    return Product(bases=bases or (settings(),), **{**defaults, **values})


def grid(*products: Product, rules: CellRules | None = None) -> Grid:
    return grid_of(products or (product(),), program, rules)


def keys(one: Grid) -> list[str]:
    return [str(spec.key) for spec in one]


def labels(one: Grid) -> Sequence[str]:
    return list(dict.fromkeys(spec.key.label for spec in one))
