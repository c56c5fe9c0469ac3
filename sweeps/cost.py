"""What a sweep will cost before it starts: time, GPU hours, memory and disk. Pure.

A pace is either measured by earlier runs or comes from the shipped table, which holds only what was measured; where
neither is there, the time is not known, and nothing is made up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from sweeps.capacity import Capacity
from sweeps.footprint import footprint, held_resources
from sweeps.lint_rules import Case
from sweeps.plan import Group, figures
from sweeps.wording import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How fast one earlier run went."""

    suite: str
    method: str
    train_ratio: float | None
    #: Policy steps a second while it trained, as the trainer logs them.
    policy_steps_per_s: float
    #: What was spent beside training: start and compilation; None for a run that has not ended.
    startup_s: float | None
    #: The root that it lies in.
    root: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How long one run of a group takes."""

    seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class GroupCost:
    """The time of the runs of one suite and label."""

    group: Group
    #: None where nothing is known about it.
    pace: Pace | None
    #: Runs side by side; None where the cluster's size is not known.
    at_once: int | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a whole sweep will cost, as far as that is known."""

    parts: tuple[GroupCost, ...]
    #: Host memory of the run that needs most; None where no trainer's options are known.
    memory_bytes: int | None
    #: Replay of the runs that are in flight at once, before compression.
    replay_disk_bytes: int | None
    #: What stays on disk: a checkpoint of each run.
    checkpoint_bytes: int | None

    @property
    def unknown(self) -> list[Group]:
        return [part.group for part in self.parts if part.pace is None]

    @property
    def run_seconds(self) -> float:
        """Of every run whose pace is known, one after the other."""
        return sum(part.pace.seconds * part.group.runs for part in self.parts if part.pace)

    @property
    def gpu_hours(self) -> float:
        return sum(
            part.pace.seconds * part.group.runs * part.group.spec.resources.gpus / 3600
            for part in self.parts
            if part.pace
        )

    @property
    def wall_seconds(self) -> float | None:
        """On the given cluster, if the runs fill it; None where its size or some pace is not known."""
        seconds = 0.0
        for part in self.parts:
            if part.pace is None or part.at_once is None:
                return None
            seconds += part.pace.seconds * part.group.runs / part.at_once
        longest = max(part.pace.seconds for part in self.parts if part.pace)
        return max(longest, seconds)

    def to_json(self) -> dict[str, Any]:
        """The form that stands in `plan --json`."""
        return {
            "run_seconds": self.run_seconds,
            "wall_seconds": self.wall_seconds,
            "gpu_hours": self.gpu_hours,
            "memory_bytes": self.memory_bytes,
            "replay_disk_bytes": self.replay_disk_bytes,
            "checkpoint_bytes": self.checkpoint_bytes,
            "paces": [
                {"suite": part.group.spec.key.suite, "label": part.group.spec.key.label}
                | (asdict(part.pace) if part.pace else {"seconds": None, "source": "not known"})
                for part in self.parts
            ],
        }


def cost(
    parts: Sequence[Group], capacity: Capacity, max_concurrent: int | None, measured: Iterable[Measurement] = ()
) -> Cost:
    """What the groups of a grid will cost together.

    Args:
        measured: earlier runs, of this root or others; only those of the same suite and method count.
    """
    known: dict[tuple[str, str], list[Measurement]] = {}
    for one in measured:
        known.setdefault((one.suite, one.method), []).append(one)
    all_runs = sum(group.runs for group in parts)
    costs, needs = [], []
    for group in parts:
        spec = group.spec
        at_once = capacity.runs_at_once(held_resources(group.first), all_runs, max_concurrent)
        own = known.get((spec.key.suite, spec.method), [])
        costs.append(GroupCost(group, _measured_pace(group, own) or _shipped_pace(group, capacity), at_once))
        need = footprint(group.first)
        if need is not None:
            needs.append((need, group.runs, at_once or group.runs))
    if not needs:
        return Cost(tuple(costs), None, None, None)
    return Cost(
        tuple(costs),
        memory_bytes=max(need.memory_bytes for need, _, _ in needs),
        replay_disk_bytes=max(need.replay_disk_bytes * min(runs, at_once) for need, runs, at_once in needs),
        checkpoint_bytes=sum(need.checkpoint_bytes * runs for need, runs, _ in needs),
    )


def _measured_pace(group: Group, measured: Sequence[Measurement]) -> Pace | None:
    """The pace of runs of the same suite and method, at this ratio or scaled from the nearest other one."""
    if not measured:
        return None
    wanted = group.spec.train_ratio or 0.0
    nearest = min({one.train_ratio or 0.0 for one in measured}, key=lambda ratio: abs(ratio - wanted))
    used = [one for one in measured if (one.train_ratio or 0.0) == nearest]
    startup = median([one.startup_s for one in used if one.startup_s is not None] or [0.0])
    # A run at a lower ratio is hardly slower than one at a higher, and at most as much faster as it trains less.
    scale = max(1.0, wanted / nearest) if nearest else 1.0
    per_step = median(1 / one.policy_steps_per_s for one in used) * scale
    roots = ", ".join(dict.fromkeys(one.root for one in used))
    scaled = f", scaled from train_ratio {nearest:g}" if scale != 1 else ""
    return Pace(
        startup + figures(group.spec).policy_steps * per_step,
        f"measured by {counted(len(used), 'earlier run')} under {roots}{scaled}",
    )


#: Seconds to start and compile, and per gradient update, of the official trainer on two shared CPU cores: 2,000 steps
#: of CartPole at three ratios; 2.2 updates a second for `size1m` in float32, and 0.6 in bfloat16 beside another load.
_SHIPPED = {
    "cartpole_fast": (13.0, 0.009),
    "size1m float32": (20.0, 1 / 2.2),
    "size1m bfloat16": (20.0, 1 / 0.6),
}


def _shipped_pace(group: Group, capacity: Capacity) -> Pace | None:
    case = Case(group, capacity, labels_of_suite=1, ratios_of_method=set())
    need, options = footprint(group.first), case.options
    if not case.is_on_cpu or not case.learns or need is None:
        return None
    name = ""
    if "cartpole_fast" in group.spec.configs:
        name = "cartpole_fast"
    elif need.parameters == 1_000_000 and (options["batch_size"], options["batch_length"]) == (16, 64):
        name = f"size1m {options.get('jax.compute_dtype')}"
    if name not in _SHIPPED:
        return None
    startup, per_update = _SHIPPED[name]
    seconds = startup + figures(group.spec).updates * per_update
    return Pace(seconds, f"shipped figure of {name} on two shared CPU cores, good to a factor of two")
