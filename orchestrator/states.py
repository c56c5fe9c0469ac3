"""The state that the journal's events add up to: runs, groups, nodes, and what is queued."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.outcomes import Outcome
from orchestrator.policy import Limits
from sweeps.contracts import Resources, RunKey

RunState = Literal[
    "idle",  # planned by an earlier launch, and not part of this one
    "waiting",  # for room, or for its group
    "backing_off",  # until `retry_at`
    "launching",  # told to start, not yet heard of
    "running",
    "stopping",  # told to stop, not yet heard of
    "paused",  # on request
    "done",
    "failed",
    "cancelled",  # on request
]
IN_FLIGHT: frozenset[RunState] = frozenset({"launching", "running", "stopping"})
#: Nothing more happens to these unless somebody asks for it.
AT_REST: frozenset[RunState] = frozenset({"idle", "done", "failed", "cancelled"})

#: What a run asks for, hashable.
Shape = tuple[object, ...]
#: What runs share a queue by: their group, and what they ask for.
Lane = tuple[str, Shape]
Rank = tuple[int, int, int]


@dataclass(slots=True)
class Room:
    """What an attempt holds on its node."""

    node: str
    resources: Resources
    #: Which of the node's GPUs, by position; one entry for a fraction.
    gpus: tuple[int, ...]
    #: Seconds since 1970.
    held_from: float = 0.0


@dataclass(slots=True)
class Run:
    """One run as far as the journal tells."""

    key: RunKey
    group: str
    resources: Resources
    #: Sorts the queue: priority, then seed, then position in the plan.
    rank: Rank
    digest: str = ""
    state: RunState = "idle"
    #: Number of the latest attempt; 0 before the first.
    attempt: int = 0
    #: The first attempt that was to begin from nothing, on request; 0 for none.
    fresh_from: int = 0
    #: Held exactly while the run is in flight.
    room: Room | None = None
    #: When a run that backs off is queued again; seconds since 1970.
    retry_at: float | None = None
    #: Where a run goes once its attempt has been stopped; None where it was not told to stop for its own sake.
    after_stop: RunState | None = None
    #: How its attempts ended since it was planned or last retried on request.
    outcomes: list[Outcome] = field(default_factory=list)
    #: Of the latest attempt that ended badly.
    outcome: Outcome | None = None
    cause: str = ""
    evidence: tuple[str, ...] = ()
    host: str = ""
    started_at: float | None = None
    ended_at: float | None = None

    # What somebody may ask for as the run stands; the machine and whoever tells what a request will do go by these.

    @property
    def may_be_cancelled(self) -> bool:
        return self.state not in ("done", "cancelled") and self.after_stop != "cancelled"

    @property
    def may_be_paused(self) -> bool:
        return self.state not in (*AT_REST, "paused") and self.after_stop not in ("paused", "cancelled")

    @property
    def may_be_resumed(self) -> bool:
        return "paused" in (self.state, self.after_stop)

    @property
    def may_be_retried(self) -> bool:
        return self.state in ("failed", "cancelled", "backing_off") or self.after_stop == "cancelled"

    @property
    def may_begin_afresh(self) -> bool:
        return (self.state not in IN_FLIGHT and self.state != "done") or self.after_stop == "cancelled"


@dataclass(slots=True)
class Group:
    """The runs of one method and suite, which share their failures."""

    name: str
    #: Whether a run of it got as far as training since the orchestrator started.
    is_proven: bool = False
    #: Why nothing of it starts; None where it may.
    held: str | None = None
    #: Its runs that wait or back off.
    pending: int = 0
    in_flight: int = 0
    #: How its latest attempts ended and why, oldest first.
    recent: list[tuple[Outcome, str]] = field(default_factory=list)

    def may_start(self, limits: Limits) -> bool:
        """Whether another run of it may start now: until one is proven, one at a time."""
        return self.held is None and (self.is_proven or not limits.canary or self.in_flight == 0)


@dataclass(slots=True)
class Node:
    """A node and what is free on it."""

    node: str
    total: Resources
    cpus: float
    memory_bytes: int
    custom: dict[str, float]
    #: Free share of each GPU.
    gpus: list[float]
    host: str = ""
    #: Runs that failed on it, apparently by its fault, since one last succeeded.
    failed_runs: set[RunKey] = field(default_factory=set)
    #: Why nothing starts on it any more; None where it may.
    set_aside: str | None = None

    def room_for(self, wanted: Resources) -> Room | None:
        """Where `wanted` would fit now, or None."""
        gpus = _gpus_for(self.gpus, wanted.gpus)
        if (
            gpus is None
            or wanted.cpus > self.cpus + _EPSILON
            or wanted.memory_bytes > self.memory_bytes
            or any(amount > self.custom.get(name, 0.0) + _EPSILON for name, amount in wanted.custom.items())
        ):
            return None
        return Room(self.node, wanted, gpus)

    def could_hold(self, wanted: Resources) -> bool:
        """Whether `wanted` would fit if nothing else were on the node."""
        return (
            self.total.cpus >= wanted.cpus
            and self.total.gpus >= wanted.gpus
            and self.total.memory_bytes >= wanted.memory_bytes
            and all(self.total.custom.get(name, 0.0) >= amount for name, amount in wanted.custom.items())
        )

    def take(self, room: Room, sign: int = 1) -> None:
        """Occupy a room, or with `sign=-1` give it back."""
        self.cpus -= sign * room.resources.cpus
        self.memory_bytes -= sign * room.resources.memory_bytes
        for name, amount in room.resources.custom.items():
            self.custom[name] = self.custom.get(name, 0.0) - sign * amount
        for gpu in room.gpus:
            if gpu < len(self.gpus):  # the node may have come back with fewer
                self.gpus[gpu] -= sign * min(1.0, room.resources.gpus)


_EPSILON = 1e-6


def _gpus_for(free: list[float], wanted: float) -> tuple[int, ...] | None:
    """The GPUs to use: whole ones, or for a fraction the fullest that still has room, as Ray packs them."""
    if wanted <= 0:
        return ()
    if wanted < 1:
        fitting = [(share, gpu) for gpu, share in enumerate(free) if share >= wanted - _EPSILON]
        return (min(fitting)[1],) if fitting else None
    whole = [gpu for gpu, share in enumerate(free) if share >= 1 - _EPSILON]
    return tuple(whole[: round(wanted)]) if len(whole) >= round(wanted) else None


@dataclass(slots=True)
class SweepState:
    """Everything that `orchestrator.machine.apply` knows."""

    sweep_id: str = ""
    limits: Limits = field(default_factory=Limits)
    runs: dict[RunKey, Run] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    #: Those that left with runs that failed on them: a node that was out of reach is no better when it is back.
    departed: dict[str, Node] = field(default_factory=dict)
    #: Waiting runs as heaps of (rank, key): what does not fit, or may not start, blocks only its own lane.
    lanes: dict[Lane, list[tuple[Rank, RunKey]]] = field(default_factory=dict)
    #: Runs that back off, as a heap of (moment, key).
    alarms: list[tuple[float, RunKey]] = field(default_factory=list)
    #: Runs in flight.
    in_flight: set[RunKey] = field(default_factory=set)
    #: Nodes with room that no lane has tried since; a shape that fits nowhere else is tried on these only.
    fresh_nodes: set[str] = field(default_factory=set)
    #: Shapes that fit on no node but perhaps the fresh ones.
    blocked: set[Shape] = field(default_factory=set)
    #: Nodes that are kept free for a shape.
    reserved: dict[str, Shape] = field(default_factory=dict)
    #: By shape: launches of worse-ranked runs past the best one that fits nowhere.
    passes: dict[Shape, int] = field(default_factory=dict)
    #: How many runs are in each state.
    tally: Counter[RunState] = field(default_factory=Counter)
    #: GPU seconds of all attempts up to `used_until`, and what is held since.
    gpu_seconds: float = 0.0
    gpus_held: float = 0.0
    used_until: float = 0.0
    #: When the orchestrator came, and until when the one before it is known to have been there.
    opened_at: float = 0.0
    unheard_from: float = 0.0
    #: Why nothing starts any more until another launch, for example a full disk; None where things may start.
    halted: str | None = None
    is_stopping: bool = False

    def move(self, run: Run, state: RunState) -> None:
        """The only way a run changes its state."""
        group = self.groups[run.group]
        group.pending += (state in _PENDING) - (run.state in _PENDING)
        group.in_flight += (state in IN_FLIGHT) - (run.state in IN_FLIGHT)
        self.tally[run.state] -= 1
        self.tally[state] += 1
        run.state = state

    def is_finished(self) -> bool:
        """Whether nothing is left to do, or nothing may be done any more."""
        if self.in_flight:
            return False
        if self.is_stopping or self.halted is not None:
            return True
        return not self.tally["paused"] and not self._is_anything_pending()

    def waits_for_resume(self) -> bool:
        """Whether nothing but paused runs is left to do."""
        return bool(self.tally["paused"]) and not self.in_flight and not self._is_anything_pending()

    def _is_anything_pending(self) -> bool:
        return any(group.pending and not group.held for group in self.groups.values())

    def in_state(self, *states: RunState) -> Iterator[Run]:
        return (run for run in self.runs.values() if run.state in states)

    def held_up(self) -> Iterator[Run]:
        """Runs whose latest attempt failed, and that are not tried again since their group is held back."""
        return (run for run in self.in_state("backing_off") if self.groups[run.group].held is not None)


_PENDING: frozenset[RunState] = frozenset({"waiting", "backing_off"})
