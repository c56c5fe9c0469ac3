"""Which short runs measure how long a sweep takes: one for every suite and method. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from sweeps import ratio
from sweeps.contracts import RunSpec
from sweeps.grid import Block, Grid

#: Gradient updates of a probe: enough for several looks at the speed.
_UPDATES = 400
#: Policy steps of a probe that never trains.
_STEPS = 20_000
#: How often the trainer tells its speed.
_LOG_EVERY_S = 2


def probe_runs(grid: Grid) -> Iterator[RunSpec]:
    """The first run of every suite and method, at the ratio nearest the suite's own, cut short."""
    chosen: dict[tuple[str, str], Block] = {}
    for block in grid.blocks:
        pair = (block.first.key.suite, block.first.method)
        if pair not in chosen or _distance(block) < _distance(chosen[pair]):
            chosen[pair] = block
    for block in chosen.values():
        yield _cut_short(block.first)


def probe_steps(spec: RunSpec) -> int:
    """Policy steps that hold some hundred gradient updates, and never more than the run itself."""
    if not spec.train_ratio or spec.flags.get("random_agent") is True:
        return min(spec.schedule.steps, _STEPS)
    span = ceil(_UPDATES * ratio.batch_steps(spec.schedule) / spec.train_ratio)
    return min(spec.schedule.steps, ratio.first_update_step(spec.schedule) + span)


def _cut_short(spec: RunSpec) -> RunSpec:
    trainer = {**spec.trainer, "log_every_s": _LOG_EVERY_S} if "log_every_s" in spec.trainer else spec.trainer
    return replace(spec, schedule=replace(spec.schedule, steps=probe_steps(spec)), trainer=trainer)


def _distance(block: Block) -> float:
    """How far a block's ratio is from the suite's own: 0 for the same."""
    value, own = block.ratio.value, block.ratio.default
    return 0.0 if value is None or own is None else abs(value - own)
