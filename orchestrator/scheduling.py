"""Which waiting run starts next, and where. Pure; costs nothing per run that waits.

Lanes are tried by the rank of their first run: priority, then seed, then position in the plan. A shape that fits on no
node is remembered as blocked, and tried again only on nodes that have gained room since. A better-ranked run that many
others have passed gets a node kept free for it, so that a large one does not starve among small ones.
"""

import heapq
from collections.abc import Collection

from orchestrator.commands import LaunchAttempt
from orchestrator.policy import PASSES_BEFORE_RESERVATION
from orchestrator.states import Lane, Node, Rank, Room, Run, Shape, SweepState
from sweeps.contracts import Resources, RunKey


def shape_of(resources: Resources) -> Shape:
    """What a request is, hashable."""
    return (resources.cpus, resources.gpus, resources.memory_bytes, *sorted(resources.custom.items()))


def enqueue(state: SweepState, run: Run) -> None:
    """Let a run wait for room."""
    state.move(run, "waiting")
    heapq.heappush(state.lanes.setdefault((run.group, shape_of(run.resources)), []), (run.rank, run.key))


def release(state: SweepState, run: Run) -> None:
    """Give back the room of a run that was in flight."""
    state.in_flight.discard(run.key)
    room, run.room = run.room, None
    if room is not None:
        state.gpus_held -= room.resources.gpus
        if room.node in state.nodes:
            state.nodes[room.node].take(room, sign=-1)
            state.fresh_nodes.add(room.node)


def launches(state: SweepState) -> list[LaunchAttempt]:
    """Fill what is free."""
    commands: list[LaunchAttempt] = []
    passed: dict[Shape, Resources] = {}
    while _may_start(state):
        heads = sorted((queue[0], lane) for lane in state.lanes if (queue := _startable(state, lane)))
        heads = [head for head in heads if head[1][1] not in passed]
        if not heads:
            tried = {lane[1] for lane in state.lanes if _startable(state, lane)}
            if _end_reservations(state, set(state.reserved.values()) - tried):  # nobody of that shape waits any more
                passed.clear()
                continue
            # A shape that nobody could start was not tried on the fresh nodes: it is not known to be blocked any more.
            state.blocked &= tried
            state.fresh_nodes.clear()
            break
        (_, key), lane = heads[0]
        shape = lane[1]
        run = state.runs[key]
        room = _room(state, run, shape)
        if room is None:
            state.blocked.add(shape)
            passed[shape] = run.resources
            continue
        heapq.heappop(state.lanes[lane])
        commands.append(_launch(state, run, room))
        _count_passes(state, shape, passed)
    return commands


def _may_start(state: SweepState) -> bool:
    most = state.limits.max_concurrent
    return not state.is_stopping and state.halted is None and (most is None or len(state.in_flight) < most)


def _startable(state: SweepState, lane: Lane) -> list[tuple[Rank, RunKey]]:
    """The queue of a lane whose group may start a run, without entries whose run no longer waits."""
    queue = state.lanes[lane]
    while queue and state.runs[queue[0][1]].state != "waiting":
        heapq.heappop(queue)
    return queue if queue and state.groups[lane[0]].may_start(state.limits) else []


def _room(state: SweepState, run: Run, shape: Shape) -> Room | None:
    names = sorted(state.fresh_nodes) if shape in state.blocked else list(state.nodes)
    for name in names:
        node = state.nodes.get(name)
        if node is None or node.set_aside is not None or state.reserved.get(name, shape) != shape:
            continue
        room = node.room_for(run.resources)
        if room is not None:
            return room
    return None


def _launch(state: SweepState, run: Run, room: Room) -> LaunchAttempt:
    room.held_from = state.used_until
    state.nodes[room.node].take(room)
    state.gpus_held += room.resources.gpus
    state.move(run, "launching")
    run.room, run.attempt = room, run.attempt + 1
    run.started_at = run.ended_at = None
    state.in_flight.add(run.key)
    return LaunchAttempt(
        key=run.key,
        attempt=run.attempt,
        node=room.node,
        resources=run.resources,
        gpus=room.gpus,
        fresh_from=run.fresh_from,
    )


def _count_passes(state: SweepState, launched: Shape, passed: dict[Shape, Resources]) -> None:
    """Note that better-ranked shapes were passed by, and keep a node free for one that was passed too often."""
    state.passes.pop(launched, None)
    _end_reservations(state, (launched,))
    for shape, wanted in passed.items():
        state.passes[shape] = state.passes.get(shape, 0) + 1
        if state.passes[shape] == PASSES_BEFORE_RESERVATION:
            node = _best_to_reserve(state, wanted)
            if node is not None:
                state.reserved[node.node] = shape


def _end_reservations(state: SweepState, shapes: Collection[Shape]) -> bool:
    ended = [name for name, shape in state.reserved.items() if shape in shapes]
    for name in ended:
        del state.reserved[name]
        state.fresh_nodes.add(name)
    return bool(ended)


def _best_to_reserve(state: SweepState, wanted: Resources) -> Node | None:
    """The node that can hold the request once empty and has the most free already."""
    fitting = [
        node
        for node in state.nodes.values()
        if node.set_aside is None and node.node not in state.reserved and node.could_hold(wanted)
    ]
    return max(fitting, key=lambda node: (sum(node.gpus), node.cpus), default=None)
