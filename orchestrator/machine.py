"""The heart: events go in, commands come out. Pure: no clock, no Ray, no files, no chance.

    RunPlanned ──► waiting ──LaunchAttempt──► launching ──AttemptStarted──► running ──AttemptEnded──► done
                     ▲                            │                           │                       failed
                     └── backing_off ◄────────────┴──────── retry ◄───────────┘                       cancelled
                                                                                                      paused
A room on a node is held from `LaunchAttempt` to `AttemptEnded`, so attempts in flight never exceed what fits.
"""

import heapq
from collections import Counter
from functools import singledispatch

from orchestrator import policy
from orchestrator.commands import Command, StopAttempt, WakeAt
from orchestrator.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    GroupReleased,
    NodeJoined,
    NodeLeft,
    RunCancelled,
    RunFoundDone,
    RunFoundUndone,
    RunPaused,
    RunPlanned,
    RunResumed,
    RunRetried,
    SpecLost,
    StopRequested,
    SweepOpened,
    TrainingBegan,
    Woken,
)
from orchestrator.scheduling import enqueue, launches, release
from orchestrator.states import IN_FLIGHT, Group, Node, Run, RunState, SweepState
from sweeps.contracts import Resources, RunKey


def apply(state: SweepState, event: Event) -> list[Command]:
    """Fold one event into the state and return what the cluster must now do.

    Events about runs or attempts that the state does not know, or knows to be over, change nothing: they are
    echoes, which a poll after a restart may repeat.
    """
    _account(state, event)
    commands = _handle(event, state)
    _requeue_due(state, event.at)
    commands += launches(state)
    _halt_if_stranded(state)
    return commands


@singledispatch
def _handle(event: object, state: SweepState) -> list[Command]:  # noqa: ARG001 - the others use it
    raise TypeError(f"no rule for the event {event!r}")


@_handle.register
def _(event: SweepOpened, state: SweepState) -> list[Command]:
    state.sweep_id = event.sweep_id
    state.limits = event.limits
    state.is_stopping = False
    state.halted = None
    # What an earlier orchestrator knew of nodes is stale; the cluster reports those that are there.
    state.nodes.clear()
    state.departed.clear()
    state.fresh_nodes.clear()
    state.blocked.clear()
    state.passes.clear()
    state.reserved.clear()
    # Whoever waits is queued anew, perhaps with another priority.
    state.lanes.clear()
    # Somebody may have mended what held a group back; its canary will tell.
    for group in state.groups.values():
        group.held = None
        group.is_proven = False
        group.recent.clear()
    for run in list(state.in_state("waiting", "backing_off", "paused")):
        run.retry_at = None
        state.move(run, "idle")
    return []


@_handle.register
def _(event: RunPlanned, state: SweepState) -> list[Command]:
    run = state.runs.get(event.key)
    if run is None:
        state.groups.setdefault(event.group, Group(event.group))
        rank = (event.priority, event.key.seed, len(state.runs))
        run = Run(event.key, event.group, event.resources, rank)
        state.runs[event.key] = run
        state.tally[run.state] += 1
    if run.state not in IN_FLIGHT:
        run.attempt = max(run.attempt, event.attempts)
    if run.state in ("idle", "failed"):
        run.resources, run.digest = event.resources, event.digest
        run.rank = (event.priority, *run.rank[1:])
        run.outcomes.clear()
        enqueue(state, run)
    return []


@_handle.register
def _(event: RunFoundDone, state: SweepState) -> list[Command]:
    run = state.runs.get(event.key)
    if run is not None and run.state not in IN_FLIGHT:
        run.retry_at = None
        state.move(run, "done")
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
    known = state.departed.pop(event.node, None) or state.nodes.get(event.node)
    if known is not None:
        node.failed_runs, node.set_aside = known.failed_runs, known.set_aside
    state.nodes[event.node] = node
    for key in state.in_flight:
        room = state.runs[key].room
        if room is not None and room.node == event.node:
            node.take(room)
    state.fresh_nodes.add(event.node)
    return []


@_handle.register
def _(event: NodeLeft, state: SweepState) -> list[Command]:
    node = state.nodes.pop(event.node, None)
    if node is not None and node.failed_runs:
        state.departed[event.node] = node
    state.reserved.pop(event.node, None)
    state.fresh_nodes.discard(event.node)
    return []


@_handle.register
def _(event: AttemptStarted, state: SweepState) -> list[Command]:
    run = _in_flight_run(state, event.key, event.attempt)
    if run is not None:
        run.started_at, run.host = event.at, event.host
        if run.state == "launching":
            state.move(run, "running")
        elif run.state == "stopping":
            # Found again by an orchestrator whose forerunner died before it could say so, perhaps.
            return [StopAttempt(key=event.key, attempt=event.attempt)]
    return []


@_handle.register
def _(event: TrainingBegan, state: SweepState) -> list[Command]:
    run = _in_flight_run(state, event.key, event.attempt)
    if run is not None:
        state.groups[run.group].is_proven = True
    return []


@_handle.register
def _(event: AttemptEnded, state: SweepState) -> list[Command]:
    run = _in_flight_run(state, event.key, event.attempt)
    if run is None:
        return []
    was_stopping = run.state == "stopping"
    _judge_node(state, run, event)
    release(state, run)
    run.ended_at = event.at
    run.outcomes.append(event.outcome)
    after_stop, run.after_stop = run.after_stop, None
    if event.outcome == "succeeded":
        state.groups[run.group].is_proven = True
        _note_ending(state, run, event)
        state.move(run, "done")
        return []
    run.outcome, run.cause, run.evidence = event.outcome, event.cause, event.evidence
    if after_stop == "waiting":  # resumed, or tried again, while it stopped
        enqueue(state, run)
        return []
    if after_stop is not None:
        state.move(run, after_stop)
        return []
    if event.outcome == "cancelled":
        # Stopped because an orchestrator ends: the run is not over, this one or the next continues it.
        if was_stopping:
            enqueue(state, run)
        else:
            state.move(run, "cancelled")
        return []
    if event.outcome == "disk_full":
        # It would fail again, and so would all the others; nobody can free space but a person.
        state.halted = event.cause
        enqueue(state, run)
        return []
    _note_ending(state, run, event)
    delay_s = policy.retry_delay_s(state.limits, event.key, event.outcome, run.outcomes)
    if delay_s is None:
        state.move(run, "failed")
        return []
    if delay_s == 0:
        enqueue(state, run)
        return []
    state.move(run, "backing_off")
    run.retry_at = event.at + delay_s
    heapq.heappush(state.alarms, (run.retry_at, run.key))
    return [WakeAt(at=run.retry_at)]


@_handle.register
def _(event: SpecLost, state: SweepState) -> list[Command]:
    run = _in_flight_run(state, event.key, event.attempt)
    if run is not None:
        release(state, run)
        run.after_stop = None
        state.move(run, "idle")
    return []


@_handle.register
def _(event: RunRetried, state: SweepState) -> list[Command]:
    run = state.runs.get(event.key)
    if run is None:
        return []
    if event.fresh and run.may_begin_afresh:
        run.fresh_from = run.attempt + 1
    if not run.may_be_retried:
        return []
    run.outcomes.clear()
    if run.state == "stopping":
        run.after_stop = "waiting"
    else:
        run.retry_at = None
        enqueue(state, run)
    return []


@_handle.register
def _(event: RunCancelled, state: SweepState) -> list[Command]:
    run = state.runs.get(event.key)
    return _set_aside(state, run, "cancelled") if run is not None and run.may_be_cancelled else []


@_handle.register
def _(event: RunPaused, state: SweepState) -> list[Command]:
    run = state.runs.get(event.key)
    return _set_aside(state, run, "paused") if run is not None and run.may_be_paused else []


@_handle.register
def _(event: RunResumed, state: SweepState) -> list[Command]:
    run = state.runs.get(event.key)
    if run is None or not run.may_be_resumed:
        return []
    if run.state == "paused":
        enqueue(state, run)
    else:
        run.after_stop = "waiting"
    return []


@_handle.register
def _(event: GroupReleased, state: SweepState) -> list[Command]:
    group = state.groups.get(event.group)
    if group is not None:
        group.held = None
        group.is_proven = False
        group.recent.clear()
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


def _set_aside(state: SweepState, run: Run, where: RunState) -> list[Command]:
    """Cancel or pause a run, whatever it is doing."""
    if run.state in IN_FLIGHT:
        run.after_stop = where
        state.move(run, "stopping")
        return [StopAttempt(key=run.key, attempt=run.attempt)]
    run.retry_at = None
    state.move(run, where)
    return []


def _note_ending(state: SweepState, run: Run, event: AttemptEnded) -> None:
    """Let the group learn from an ending; it may be held back for it."""
    group = state.groups[run.group]
    group.recent = policy.trimmed_starts([*group.recent, (event.outcome, event.cause)])
    if group.held is None:
        group.held = policy.hold_reason(state.limits, group.recent)


def _judge_node(state: SweepState, run: Run, event: AttemptEnded) -> None:
    """A node or GPU that fails several different runs is set aside."""
    node = state.nodes.get(run.room.node) if run.room else None
    if node is None:
        return
    if event.outcome == "succeeded":
        node.failed_runs.clear()
    elif event.is_node_suspect:
        node.failed_runs.add(run.key)
        if node.set_aside is None and policy.is_node_suspect(len(node.failed_runs)):
            node.set_aside = f"{len(node.failed_runs)} runs in a row failed on {node.host or node.node}: {event.cause}"


def _halt_if_stranded(state: SweepState) -> None:
    """Halt where all that is left fits only on nodes that are set aside: it would wait for ever."""
    if state.in_flight or state.halted is not None:
        return
    reasons = [node.set_aside for node in state.nodes.values() if node.set_aside is not None]
    if not reasons:
        return
    left = list(state.in_state("waiting", "backing_off"))
    healthy = [node for node in state.nodes.values() if node.set_aside is None]
    if left and not any(node.could_hold(run.resources) for node in healthy for run in left):
        state.halted = f"every node that can hold what is left is set aside: {reasons[-1]}"


def _requeue_due(state: SweepState, at: float) -> None:
    while state.alarms and state.alarms[0][0] <= at:
        moment, key = heapq.heappop(state.alarms)
        run = state.runs[key]
        if run.state == "backing_off" and run.retry_at == moment:
            run.retry_at = None
            enqueue(state, run)


def _account(state: SweepState, event: Event) -> None:
    """Add up GPU time, and see that it stays within its limit."""
    if isinstance(event, SweepOpened):
        state.unheard_from, state.opened_at = state.used_until, event.at
    if event.at > state.used_until:
        state.gpu_seconds += state.gpus_held * (event.at - state.used_until)
        state.used_until = event.at
    if isinstance(event, AttemptEnded):
        state.gpu_seconds -= _held_in_vain(state, event)
    most = state.limits.max_gpu_hours
    if most is None:
        return
    reason = f"max_gpu_hours={most:g} are used up"
    if state.gpu_seconds >= most * 3600:
        state.halted = state.halted or reason
    elif state.halted == reason:  # it turned out that an attempt had ended long before
        state.halted = None


def _held_in_vain(state: SweepState, event: AttemptEnded) -> float:
    """GPU seconds that were counted for an attempt after its end, while no orchestrator was there to hear of it."""
    run = _in_flight_run(state, event.key, event.attempt)
    if run is None or run.room is None or event.ended_at is None or run.room.held_from >= state.opened_at:
        return 0.0
    # The clock of its host may be off: no more is given back than that nobody was there.
    since = max(event.ended_at, run.room.held_from, state.unheard_from)
    return run.room.resources.gpus * max(0.0, event.at - since)


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
        assert run.after_stop is None or run.state == "stopping", (key, run.state, run.after_stop)
    for node in state.nodes.values():
        held = [run.room for run in state.runs.values() if run.room and run.room.node == node.node]
        used = sum(room.resources.cpus for room in held)
        assert abs(node.total.cpus - used - node.cpus) < 1e-6, (node.node, used, node.cpus)
        assert node.cpus > -1e-6, (node.node, node.cpus)
        assert all(share > -1e-6 for share in node.gpus), (node.node, node.gpus)
    for group in state.groups.values():
        runs = [run for run in state.runs.values() if run.group == group.name]
        assert group.pending == sum(run.state in ("waiting", "backing_off") for run in runs), group
        assert group.in_flight == sum(run.state in IN_FLIGHT for run in runs), group
    held_gpus = sum(run.room.resources.gpus for run in state.runs.values() if run.room)
    assert abs(state.gpus_held - held_gpus) < 1e-6, (state.gpus_held, held_gpus)
