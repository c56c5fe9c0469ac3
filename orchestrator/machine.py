"""The heart: events go in, commands come out. Pure: no clock, no Ray, no files, no chance.

    RunPlanned ──► waiting ──LaunchAttempt──► launching ──AttemptStarted──► running ──AttemptEnded──► done
                     ▲                            │                           │                       failed
                     └── backing_off ◄────────────┴──────── retry ◄───────────┘                       cancelled

A room on a node is held from `LaunchAttempt` to `AttemptEnded`, so attempts in flight never exceed what fits.
"""

import heapq
from collections import Counter
from functools import singledispatch

from orchestrator.commands import Command, LaunchAttempt, StopAttempt, WakeAt
from orchestrator.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    NodeJoined,
    NodeLeft,
    RunFoundDone,
    RunFoundUndone,
    RunPlanned,
    RunRetried,
    StopRequested,
    SweepOpened,
    Woken,
)
from orchestrator.states import AT_REST, IN_FLIGHT, Node, Run, SweepState
from sweeps.contracts import Resources, RunKey


def apply(state: SweepState, event: Event) -> list[Command]:
    """Fold one event into the state and return what the cluster must now do.

    Events about runs or attempts that the state does not know, or knows to be over, change nothing: they are
    echoes, which a poll after a restart may repeat.
    """
    return [*_handle(event, state), *_requeue_due(state, event.at), *_launches(state)]


@singledispatch
def _handle(event: object, state: SweepState) -> list[Command]:  # noqa: ARG001 - the others use it
    raise TypeError(f"no rule for the event {event!r}")


@_handle.register
def _(event: SweepOpened, state: SweepState) -> list[Command]:
    state.sweep_id = event.sweep_id
    state.max_concurrent = event.max_concurrent
    state.is_stopping = False
    # What an earlier orchestrator knew of nodes is stale; the cluster reports those that are there.
    state.nodes.clear()
    state.fresh_nodes.clear()
    for run in list(state.in_state("waiting", "backing_off")):
        run.retry_at = None
        state.move(run, "idle")
    return []


@_handle.register
def _(event: RunPlanned, state: SweepState) -> list[Command]:
    run = state.runs.get(event.key)
    if run is None:
        rank = (event.priority, event.key.seed, len(state.runs))
        run = Run(event.key, event.group, event.resources, rank)
        state.runs[event.key] = run
        state.tally[run.state] += 1
    if run.state in ("idle", "failed", "cancelled"):
        run.resources, run.digest = event.resources, event.digest
        run.outcomes.clear()
        _enqueue(state, run)
    return []


@_handle.register
def _(event: RunFoundDone, state: SweepState) -> list[Command]:
    run = state.runs.get(event.key)
    if run is not None and run.state not in IN_FLIGHT:
        state.move(run, "done")
        run.retry_at = None
    return []


@_handle.register
def _(event: RunFoundUndone, state: SweepState) -> list[Command]:
    run = state.runs.get(event.key)
    if run is not None and run.state == "done":
        state.move(run, "idle")
    return []


@_handle.register
def _(event: NodeJoined, state: SweepState) -> list[Command]:
    node = new_node(event)
    state.nodes[event.node] = node
    for key in state.in_flight:
        room = state.runs[key].room
        if room is not None and room.node == event.node:
            node.take(room)
    state.fresh_nodes.add(event.node)
    return []


@_handle.register
def _(event: NodeLeft, state: SweepState) -> list[Command]:
    state.nodes.pop(event.node, None)
    state.fresh_nodes.discard(event.node)
    return []


@_handle.register
def _(event: AttemptStarted, state: SweepState) -> list[Command]:
    run = _in_flight_run(state, event.key, event.attempt)
    if run is not None:
        run.started_at = event.at
        if run.state == "launching":
            state.move(run, "running")
    return []


@_handle.register
def _(event: AttemptEnded, state: SweepState) -> list[Command]:
    run = _in_flight_run(state, event.key, event.attempt)
    if run is None:
        return []
    _leave(state, run)
    run.ended_at = event.at
    run.outcomes.append(event.outcome)
    if event.outcome == "succeeded":
        state.move(run, "done")
        return []
    run.outcome, run.cause, run.evidence = event.outcome, event.cause, event.evidence
    if event.outcome == "cancelled":
        # Stopped because the orchestrator ends: the run is not over, the next orchestrator continues it.
        if state.is_stopping:
            _enqueue(state, run)
        else:
            state.move(run, "cancelled")
        return []
    delay_s = state.policy.retry_delay_s(event.key, event.outcome, run.outcomes.count(event.outcome))
    if delay_s is None:
        state.move(run, "failed")
        return []
    if delay_s == 0:
        _enqueue(state, run)
        return []
    state.move(run, "backing_off")
    run.retry_at = event.at + delay_s
    heapq.heappush(state.alarms, (run.retry_at, run.key))
    return [WakeAt(at=run.retry_at)]


@_handle.register
def _(event: RunRetried, state: SweepState) -> list[Command]:
    run = state.runs.get(event.key)
    if run is not None and run.state in ("failed", "cancelled", "backing_off"):
        run.outcomes.clear()
        run.retry_at = None
        _enqueue(state, run)
    return []


@_handle.register
def _(event: StopRequested, state: SweepState) -> list[Command]:  # noqa: ARG001 - singledispatch needs the type
    state.is_stopping = True
    commands: list[Command] = []
    for key in sorted(state.in_flight):
        run = state.runs[key]
        state.move(run, "stopping")
        commands.append(StopAttempt(key=key, attempt=run.attempt))
    return commands


@_handle.register
def _(event: Woken, state: SweepState) -> list[Command]:  # noqa: ARG001 - what is due is looked up after every event
    return []


def new_node(event: NodeJoined) -> Node:
    """The node that an event describes, with nothing on it."""
    total = Resources(cpus=event.cpus, gpus=event.gpus, memory_bytes=event.memory_bytes, custom=dict(event.custom))
    return Node(
        event.node, total, event.cpus, event.memory_bytes, dict(event.custom), [1.0] * int(event.gpus), event.host
    )


def _in_flight_run(state: SweepState, key: RunKey, attempt: int) -> Run | None:
    run = state.runs.get(key)
    return run if run is not None and run.state in IN_FLIGHT and run.attempt == attempt else None


def _shape(resources: Resources) -> tuple[object, ...]:
    return (resources.cpus, resources.gpus, resources.memory_bytes, *sorted(resources.custom.items()))


def _enqueue(state: SweepState, run: Run) -> None:
    state.move(run, "waiting")
    heapq.heappush(state.queues.setdefault(_shape(run.resources), []), (run.rank, run.key))


def _leave(state: SweepState, run: Run) -> None:
    """Give back the room of a run that was in flight."""
    state.in_flight.discard(run.key)
    room, run.room = run.room, None
    if room is not None and room.node in state.nodes:
        state.nodes[room.node].take(room, sign=-1)
        state.fresh_nodes.add(room.node)


def _requeue_due(state: SweepState, at: float) -> list[Command]:
    while state.alarms and state.alarms[0][0] <= at:
        moment, key = heapq.heappop(state.alarms)
        run = state.runs[key]
        if run.state == "backing_off" and run.retry_at == moment:
            run.retry_at = None
            _enqueue(state, run)
    return []


def _launches(state: SweepState) -> list[Command]:
    """Fill what is free, best rank first. Costs nothing per run that waits."""
    commands: list[Command] = []
    blocked_now: set[tuple[object, ...]] = set()
    while not state.is_stopping and (state.max_concurrent is None or len(state.in_flight) < state.max_concurrent):
        heads = [(queue[0][0], shape) for shape in state.queues if (queue := _trimmed(state, shape))]
        heads = [head for head in heads if head[1] not in blocked_now]
        if not heads:
            # A shape that nobody waits for was not tried on the fresh nodes: it is not known to be blocked any more.
            state.blocked = {shape for shape in state.blocked if state.queues.get(shape)}
            state.fresh_nodes.clear()
            break
        _, shape = min(heads, key=lambda head: head[0])
        key = state.queues[shape][0][1]
        run = state.runs[key]
        candidates = sorted(state.fresh_nodes) if shape in state.blocked else list(state.nodes)
        rooms = (state.nodes[node].room_for(run.resources) for node in candidates if node in state.nodes)
        room = next((room for room in rooms if room is not None), None)
        if room is None:
            state.blocked.add(shape)
            blocked_now.add(shape)
            continue
        heapq.heappop(state.queues[shape])
        state.nodes[room.node].take(room)
        state.move(run, "launching")
        run.room, run.attempt = room, run.attempt + 1
        run.started_at = run.ended_at = None
        state.in_flight.add(key)
        commands.append(LaunchAttempt(key=key, attempt=run.attempt, node=room.node, resources=run.resources))
    return commands


def _trimmed(state: SweepState, shape: tuple[object, ...]) -> list[tuple[tuple[int, int, int], RunKey]]:
    """The queue of a shape without entries whose run no longer waits."""
    queue = state.queues[shape]
    while queue and state.runs[queue[0][1]].state != "waiting":
        heapq.heappop(queue)
    return queue


def check_invariants(state: SweepState) -> None:
    """What holds after every event; for tests.

    Raises:
        AssertionError: with what does not hold.
    """
    assert +state.tally == Counter(run.state for run in state.runs.values()), state.tally
    for key, run in state.runs.items():
        assert (run.state in IN_FLIGHT) == (key in state.in_flight), (key, run.state)
        assert (run.room is not None) == (key in state.in_flight), (key, run.state, run.room)
        assert (run.retry_at is not None) == (run.state == "backing_off"), (key, run.state, run.retry_at)
        assert run.state not in AT_REST or run.room is None, (key, run.state)
    for node in state.nodes.values():
        held = [run.room for run in state.runs.values() if run.room and run.room.node == node.node]
        used = sum(room.resources.cpus for room in held)
        assert used <= node.total.cpus + 1e-6, (node.node, used, node.total.cpus)
        assert abs(node.total.cpus - used - node.cpus) < 1e-6, (node.node, used, node.cpus)
        assert all(share > -1e-6 for share in node.gpus), (node.node, node.gpus)
    if state.max_concurrent is not None:
        assert len(state.in_flight) <= state.max_concurrent, len(state.in_flight)
