"""Takes a composed sweep to finished runs: opens the root, replays the journal, and drives the loop."""

import os
import socket
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from orchestrator import clock
from orchestrator.cluster import Cluster
from orchestrator.display import Display
from orchestrator.events import UNCOUNTED_BYTES, Event, NodeJoined, SweepOpened
from orchestrator.interrupt import Interrupt
from orchestrator.journal import Journal
from orchestrator.lock import RootLock
from orchestrator.loop import Loop
from orchestrator.machine import new_node
from orchestrator.policy import Limits
from orchestrator.requests import pending_requests
from orchestrator.root import KnownSpecs, check_specs, freeze_config, make_writable, planning_events, record_launch
from orchestrator.states import Run, SweepState
from orchestrator.status import replayed
from sweeps.contracts import Resources, RunSpec
from sweeps.errors import ClusterError
from sweeps.layout import SweepRoot

_NODES_LIMIT_S = 60.0
_SHOW_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """How a launch ended."""

    done: int
    #: The runs of this launch that failed for good, in the order of their keys.
    failed: tuple[Run, ...]
    #: Those whose latest attempt failed and that wait for their group to be let go.
    held_up: tuple[Run, ...]
    #: How many runs of this launch were given up on request.
    cancelled: int
    #: How many runs of this launch are none of these: it was stopped or halted, and the next one continues them.
    open: int
    #: Why groups were held back, by group.
    held: Mapping[str, str]
    #: Why nothing more was started, where that is so.
    halted: str | None
    #: Nodes that were set aside, with the reason.
    set_aside: Sequence[str]


class Launch:
    """Runs what is missing of a plan under a root, until all of it is done, failed or stopped."""

    def __init__(
        self,
        root: SweepRoot,
        specs: Sequence[RunSpec],
        cluster: Cluster,
        *,
        console: Console,
        collect: Callable[[], None],
        collect_every_s: float,
        priorities: Mapping[str, int] | None = None,
    ) -> None:
        self._root = root
        self._specs = specs
        self._known = KnownSpecs(root, specs)
        self._cluster = cluster
        self._console = console
        self._collect = collect
        #: Seconds between two collections while runs are in flight; 0 for none.
        self._collect_every_s = collect_every_s
        #: By method; lower goes first.
        self._priorities = priorities or {}

    def run(
        self,
        *,
        config_text: str,
        limits: Limits,
        words: Sequence[str] | None = None,
        finish: Callable[[], None] = lambda: None,
    ) -> LaunchResult:
        """Do it.

        Args:
            config_text: the composed configuration, to be kept.
            limits: what the orchestrator keeps to.
            words: those that a user launched it with, to be kept; None where there are none.
            finish: called at the end, while the root is still held: nobody else shall write the results.

        Raises:
            RootError: the root cannot be used as asked.
            RootLockedError: another orchestrator has the root, or took it over while this one slept.
            ClusterError: the cluster cannot be had, or no node of it can ever hold a run.
        """
        make_writable(self._root)
        with RootLock(self._root.lock) as lock:
            state = replayed(self._root)
            held_before = _distinct(run.resources for run in state.runs.values() if run.attempt)
            for run_dir in check_specs(self._root, self._specs, state):
                run_dir.spec.unlink()  # the next attempt writes its own
            freeze_config(self._root, config_text)
            if words is not None:
                record_launch(self._root, clock.now(), words)
            with Journal(self._root.journal, lock.check) as journal:
                loop = Loop(state, journal, self._cluster, self._known)
                at = clock.now()
                opened = SweepOpened(
                    at=at,
                    sweep_id=state.sweep_id or uuid.uuid4().hex[:12],
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    limits=limits,
                )
                loop.handle([opened, *planning_events(self._root, self._specs, state, at, self._priorities)])
                self._take_requests(loop, state)
                if not state.is_finished():
                    self._drive(loop, state, held_before, lock)
            finish()
        runs = [state.runs[spec.key] for spec in self._specs]
        return LaunchResult(
            done=sum(run.state == "done" for run in runs),
            failed=tuple(sorted((run for run in runs if run.state == "failed"), key=lambda run: run.key)),
            held_up=tuple(sorted(state.held_up(), key=lambda run: run.key)),
            cancelled=sum(run.state == "cancelled" for run in runs),
            open=sum(run.state not in ("done", "failed", "cancelled") for run in runs),
            held={group.name: group.held for group in state.groups.values() if group.held},
            halted=state.halted,
            set_aside=[node.set_aside for node in (*state.nodes.values(), *state.departed.values()) if node.set_aside],
        )

    def _drive(self, loop: Loop, state: SweepState, held_before: Sequence[Resources], lock: RootLock) -> None:
        with Interrupt(self._say_stopping) as interrupt:
            self._cluster.open(self._root, state.sweep_id, self._known)
            interrupt.listen()
            try:
                # Before anything new is launched: these were in flight when an earlier orchestrator went.
                self._cluster.adopt([(key, state.runs[key].attempt) for key in sorted(state.in_flight)])
                loop.handle(self._first_events(held_before))
                next_collection, next_show = clock.monotonic() + self._collect_every_s, clock.monotonic()
                with Display(self._console, self._known) as display:

                    def each_round() -> None:
                        nonlocal next_collection, next_show
                        self._take_requests(loop, state)
                        # With a thousand attempts there are a hundred rounds a second, and this looks at every run.
                        if clock.monotonic() >= next_show:
                            # Not only before the next event is journaled: attempts of ours may run beside an heir's.
                            lock.check()
                            display.show(state, self._cluster.reports())
                            next_show = clock.monotonic() + _SHOW_EVERY_S
                        if self._collect_every_s and clock.monotonic() >= next_collection:
                            self._collect()
                            next_collection = clock.monotonic() + self._collect_every_s

                    loop.run(should_stop=lambda: interrupt.is_requested, each_round=each_round)
                    display.show(state, self._cluster.reports())
            finally:
                self._cluster.close()

    def _take_requests(self, loop: Loop, state: SweepState) -> None:
        """Do what was asked for from elsewhere; a request is journaled before its file goes."""
        for path, request in pending_requests(self._root):
            loop.handle(request.events(state, clock.now()))
            path.unlink(missing_ok=True)

    def _first_events(self, held_before: Sequence[Resources]) -> list[Event]:
        """Wait for the cluster's nodes, and see that each run fits on one of them, empty.

        Args:
            held_before: what runs of this root held when they started. The nodes that they were on may only be away.

        Raises:
            ClusterError: no node came, or none can hold a run of a kind that never started.
        """
        deadline = clock.monotonic() + _NODES_LIMIT_S
        events: list[Event] = []
        while not any(isinstance(event, NodeJoined) for event in events):
            if clock.monotonic() > deadline:
                raise ClusterError(f"The cluster shows no live node after {_NODES_LIMIT_S:g} s; see `ray status`.")
            events += self._cluster.poll(1.0)
        nodes = [event for event in events if isinstance(event, NodeJoined)]
        for resources in _unfitting((spec.resources for spec in self._specs), nodes):
            asked, have = _in_words(resources), f"The nodes have: {_nodes_in_words(nodes)}."
            if resources not in held_before:
                raise ClusterError(
                    f"No node of the cluster can ever hold a run that asks for {asked}. {have} "
                    f"Lower resources.cpus, resources.gpus, resources.memory_gb or resources.custom."
                )
            self._console.print(f"[yellow]No node can hold a run that asks for {asked} now: such runs wait. {have}[/]")
        return events

    def _say_stopping(self) -> None:
        self._console.print("Stopping: trainers get SIGTERM and their grace period. The same command continues later.")


def _unfitting(wanted: Iterable[Resources], nodes: Sequence[NodeJoined]) -> list[Resources]:
    """What no node can meet: Ray would leave such a request pending for ever, without a word."""
    return [
        resources
        for resources in _distinct(wanted)
        if all(new_node(node).room_for(resources) is None for node in nodes)
    ]


def _distinct(wanted: Iterable[Resources]) -> list[Resources]:
    """Each once, in order. There are few, and they hold mappings, so that none has a hash."""
    found: list[Resources] = []
    for resources in wanted:
        if resources not in found:
            found.append(resources)
    return found


def _nodes_in_words(nodes: Sequence[NodeJoined]) -> str:
    return "; ".join(sorted({_in_words(_node_resources(node)) for node in nodes}))


def _node_resources(node: NodeJoined) -> Resources:
    return Resources(cpus=node.cpus, gpus=node.gpus, memory_bytes=node.memory_bytes, custom=node.custom)


def _in_words(resources: Resources) -> str:
    parts = [f"{resources.cpus:g} CPU{'' if resources.cpus == 1 else 's'}"]
    parts.append(f"{resources.gpus:g} GPU{'' if resources.gpus == 1 else 's'}")
    if 0 < resources.memory_bytes < UNCOUNTED_BYTES:
        parts.append(f"{resources.memory_bytes / 2**30:.1f} GiB of memory")
    parts += [f"{amount:g} {name}" for name, amount in sorted(resources.custom.items())]
    return ", ".join(parts)
