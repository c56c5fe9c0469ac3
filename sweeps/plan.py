"""What a sweep will do, in numbers: frames, policy steps and gradient updates of every run. Pure.

Figures are worked out once for the runs that share them, so that a million cells add up at once.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sweeps import ratio
from sweeps.contracts import RunSpec
from sweeps.grid import Block, Grid


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run, or several together, will do."""

    #: Environment frames: policy steps × action repeat.
    frames: int
    #: Agent steps, summed over environments, including the last driver call's surplus.
    policy_steps: int
    #: Gradient updates; 0 where the trainer has no train_ratio.
    updates: int

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(self.frames + other.frames, self.policy_steps + other.policy_steps, self.updates + other.updates)

    def __mul__(self, runs: int) -> "Figures":
        return Figures(self.frames * runs, self.policy_steps * runs, self.updates * runs)


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one suite and label: they differ in task and seed only."""

    blocks: tuple[Block, ...]
    runs: int

    @property
    def first(self) -> Block:
        return self.blocks[0]

    @property
    def spec(self) -> RunSpec:
        return self.first.first

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys([block.task for block in self.blocks]))

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for block in self.blocks for seed in block.seeds})

    @property
    def fewest_seeds(self) -> int:
        """Seeds of the task that has the fewest."""
        return min(len(block.seeds) for block in self.blocks)


def figures(spec: RunSpec) -> Figures:
    """The figures of one run, if nothing interrupts it."""
    steps = ratio.final_step(spec.schedule)
    # A random agent takes no update, whatever its ratio.
    learns = spec.train_ratio is not None and spec.flags.get("random_agent") is not True
    return Figures(
        frames=steps * spec.schedule.action_repeat,
        policy_steps=steps,
        updates=ratio.updates(spec.schedule, spec.train_ratio or 0.0) if learns else 0,
    )


def groups(grid: Grid) -> list[Group]:
    """The blocks of a grid by suite and label, in the order in which each pair comes first."""
    return [Group(blocks, sum([len(block.seeds) for block in blocks])) for blocks in grid.by_label]


def total(parts: Iterable[Group]) -> Figures:
    """The figures of several groups together."""
    return sum((figures(group.spec) * group.runs for group in parts), Figures(0, 0, 0))


def plan_json(grid: Grid, rest: Mapping[str, Any]) -> Iterator[str]:
    """The plan as the text of one JSON object, piece by piece; `runs` lists every cell.

    Args:
        rest: what else stands in the object, beside `runs` and `total`.
    """
    known: dict[tuple[str, str], str] = {}
    start = '{"runs": ['
    for block in grid.blocks:
        pair = (block.variant.suite.name, block.variant.label)
        shared = known.get(pair) or known.setdefault(pair, _shared_json(block))
        run, task = json.dumps(str(block.key(0)).rpartition("/")[0])[:-1], json.dumps(block.task)
        cells = (f'{{"run": {run}/{seed}", "task": {task}, "seed": {seed}, {shared}}}' for seed in block.seeds)
        yield start + ",\n".join(cells)
        start = ",\n"
    parts = groups(grid)
    yield f'],\n"total": {json.dumps({"runs": len(grid), **asdict(total(parts))})}'
    for name, value in rest.items():
        yield f",\n{json.dumps(name)}: {json.dumps(value)}"
    yield "}\n"


def _shared_json(block: Block) -> str:
    """The entries that all runs of a suite and label share, without braces."""
    spec = block.first
    shared = {
        "suite": spec.key.suite,
        "method": spec.method,
        "train_ratio": spec.train_ratio,
        "label": spec.key.label,
        "flags": dict(spec.flags),
        **asdict(figures(spec)),
    }
    return json.dumps(shared)[1:-1]
