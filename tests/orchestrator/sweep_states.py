"""A sweep's state under test: feeds events to the machine and checks every invariant after each of them."""

from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.commands import Command, LaunchAttempt
from orchestrator.events import AttemptEnded, AttemptStarted, Event, NodeJoined, RunPlanned, SweepOpened
from orchestrator.machine import apply, check_invariants
from orchestrator.outcomes import Outcome
from orchestrator.policy import Limits
from orchestrator.scheduling import shape_of
from orchestrator.states import AT_REST, SweepState
from sweeps.contracts import Resources, RunKey

GROUP = "dreamerv3 × gym"
#: Nothing but room limits what starts.
PLAIN = Limits(canary=False, hold_after=None, retries={})


def key(seed: int = 0, *, task: str = "gym_CartPole-v1", label: str = "dreamerv3") -> RunKey:
    """A run's key; tests tell their runs apart by seed."""
    return RunKey(suite="gym", task=task, label=label, seed=seed)


def launch(
    seed: int, *, attempt: int = 1, node: str = "a", on: tuple[int, ...] = (), **resources: float
) -> LaunchAttempt:
    """The command that launches the run of a seed, on the node's GPUs `on`."""
    wanted = Resources(**resources)  # type: ignore[arg-type]
    return LaunchAttempt(key=key(seed), attempt=attempt, node=node, resources=wanted, gpus=on)


def check_nobody_waits_beside_room(state: SweepState) -> None:
    """What could be launched was launched: room is never left unused while a run waits that fits it and may start."""
    most = state.limits.max_concurrent
    if state.is_stopping or state.halted is not None or (most is not None and len(state.in_flight) >= most):
        return
    fitting = [
        (run.key, node.node)
        for run in state.in_state("waiting")
        for node in state.nodes.values()
        if state.groups[run.group].may_start(state.limits)
        and node.set_aside is None
        and state.reserved.get(node.node, shape_of(run.resources)) == shape_of(run.resources)
        and node.room_for(run.resources) is not None
    ]
    assert not fitting, fitting


@dataclass
class SweepUnderTest:
    """Short names for events, at a time that goes on by one second with each."""

    state: SweepState = field(default_factory=SweepState)
    at: float = 1000.0
    #: Everything that was fed, in order.
    fed: list[Event] = field(default_factory=list)

    def feed(self, *events: Event) -> list[Command]:
        commands = []
        for event in events:
            self.fed.append(event)
            commands += apply(self.state, event)
            check_invariants(self.state)
            check_nobody_waits_beside_room(self.state)
        return commands

    def now(self) -> float:
        self.at += 1.0
        return self.at

    def opened(self, limits: Limits = PLAIN, **changes: Any) -> list[Command]:
        return self.feed(
            SweepOpened(at=self.now(), sweep_id="s", host="head", pid=1, limits=replace(limits, **changes))
        )

    def planned(self, *seeds: int, priority: int = 0, **resources: float) -> list[Command]:
        wanted = Resources(**resources)  # type: ignore[arg-type]
        return self.feed(
            *(
                RunPlanned(at=self.now(), key=key(seed), group=GROUP, resources=wanted, priority=priority)
                for seed in seeds
            )
        )

    def joined(self, node: str = "a", *, cpus: float = 1.0, gpus: float = 0.0, **custom: float) -> list[Command]:
        return self.feed(NodeJoined(at=self.now(), node=node, cpus=cpus, gpus=gpus, memory_bytes=2**30, custom=custom))

    def started(self, seed: int, *, attempt: int = 1) -> list[Command]:
        return self.feed(AttemptStarted(at=self.now(), key=key(seed), attempt=attempt, host="h", pid=7))

    def ended(self, seed: int, outcome: Outcome = "succeeded", *, attempt: int = 1, cause: str = "") -> list[Command]:
        return self.feed(AttemptEnded(at=self.now(), key=key(seed), attempt=attempt, outcome=outcome, cause=cause))

    def states(self) -> dict[int, str]:
        """The state of each run, by seed."""
        return {run.key.seed: run.state for run in self.state.runs.values()}

    def is_at_rest(self) -> bool:
        return all(run.state in AT_REST for run in self.state.runs.values())
