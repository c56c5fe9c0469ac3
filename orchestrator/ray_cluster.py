"""The one file that knows Ray: attempts run in detached, named actors on the nodes that the machine chose.

An actor holds one attempt at a time, with the CPUs and GPUs of that attempt. When the attempt has ended and the next
one asks for the same on the same node, it goes into the same actor: a fresh actor costs a Python start, which short
runs would feel. An actor that is not used again at once is given back.

Actors are named `<sweep id>/<serial>` in a fixed namespace, so that another orchestrator finds them and asks what
they hold. Ray neither restarts them nor retries their calls: retries are decisions, and decisions are the machine's.
A call that cannot be answered (`ActorUnavailableError`, a time-out) says nothing about the attempt; only the death of
its actor ends it.
"""

import logging
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    GetTimeoutError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator import clock
from orchestrator.commands import LaunchAttempt, StopAttempt
from orchestrator.events import AttemptEnded, Event, NodeJoined, NodeLeft
from orchestrator.outcomes import Outcome
from orchestrator.process_cluster import ended_event, started_event
from orchestrator.worker import AttemptReport, AttemptWorker
from sweeps.contracts import RunKey, RunSpec
from sweeps.errors import ClusterError
from sweeps.layout import RunDir, SweepRoot

log = logging.getLogger(__name__)

_NODES_EVERY_S = 5.0
#: How soon an attempt that was just begun is heard of, if it does not end before.
_FIRST_WORD_S = 0.2
_ADOPTION_LIMIT_S = 60.0
#: How long an actor that was placed on a node with room may take to appear.
_PLACEMENT_LIMIT_S = 120.0
# Ray's own resources, as ray.nodes() lists them beside the custom ones.
_OWN_RESOURCES = ("CPU", "GPU", "memory", "object_store_memory")


class AttemptActor:
    """Holds an AttemptWorker, and after it the next one."""

    def __init__(self) -> None:
        self._worker: AttemptWorker | None = None
        self._held: tuple[RunKey, int] | None = None

    def begin(self, spec: RunSpec, run_dir: RunDir, attempt: int) -> AttemptReport:
        """Start an attempt, once; returns as soon as there is something to tell."""
        if self._held != (spec.key, attempt):
            assert self._worker is None or self._worker.report().verdict is not None, self._held
            self._worker = AttemptWorker(spec, run_dir, attempt)
            self._held = (spec.key, attempt)
            self._worker.start()
        assert self._worker is not None
        return self._worker.wait(_FIRST_WORD_S)

    def held(self) -> tuple[RunKey, int] | None:
        """Which attempt it has, running or ended."""
        return self._held

    def wait(self, timeout_s: float) -> AttemptReport:
        """Return when the attempt has ended; bounded, so that no call of a dead orchestrator stays for ever."""
        assert self._worker is not None, "no attempt was begun"
        return self._worker.wait(timeout_s)

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()


_ACTOR: Any = ray.remote(max_restarts=0, max_task_retries=0)(AttemptActor)
_Shape = tuple[object, ...]


class _Flight:
    """An attempt in flight as the driver sees it."""

    def __init__(self, key: RunKey, attempt: int, actor: Any, place: _Shape | None) -> None:
        self.key = key
        self.attempt = attempt
        self.actor = actor
        #: The node and the resources of its actor; None where an earlier orchestrator made it.
        self.place = place
        self.launched_at = clock.monotonic()
        self.report: AttemptReport | None = None
        self.is_started = False


class RayCluster:
    """Attempts as Ray actors, on a cluster that `connect` starts or joins."""

    def __init__(self, connect: Callable[[str], Callable[[], None]], *, namespace: str, poll_every_s: float) -> None:
        """`connect` takes the sweep's id, connects this process, and returns what disconnects it."""
        self._connect = connect
        self._disconnect: Callable[[], None] = lambda: None
        self._namespace = namespace
        self._poll_every_s = poll_every_s
        self._flights: dict[tuple[RunKey, int], _Flight] = {}
        self._calls: dict[Any, _Flight] = {}
        #: Actors whose attempt has ended and that may take the next one, by node and resources.
        self._idle: dict[_Shape, list[Any]] = {}
        self._nodes: dict[str, NodeJoined] = {}
        self._nodes_at = float("-inf")
        self._pending: list[Event] = []

    def open(self, root: SweepRoot, sweep_id: str, specs: Mapping[RunKey, RunSpec]) -> None:
        self._root = root
        self._sweep_id = sweep_id
        self._specs = specs
        self._disconnect = self._connect(sweep_id)

    def adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None:
        wanted = set(attempts)
        for name in self._own_actors():
            actor = ray.get_actor(name, namespace=self._namespace)
            held = ray.get(actor.held.remote(), timeout=_ADOPTION_LIMIT_S)
            if held is not None and held in wanted:
                wanted.remove(held)
                flight = _Flight(held[0], held[1], actor, None)
                self._flights[held] = flight
                self._watch(flight, actor.wait.remote(0.0))
            else:
                ray.kill(actor)
        for key, attempt in sorted(wanted):
            self._report_end(key, attempt, "worker_lost", "it was gone when the orchestrator came back")

    def execute(self, command: LaunchAttempt | StopAttempt) -> None:
        name = (command.key, command.attempt)
        if isinstance(command, StopAttempt):
            if name in self._flights:
                self._flights[name].actor.stop.remote()
        elif name not in self._flights:
            place = _place(command)
            idle = self._idle.get(place)
            flight = _Flight(*name, idle.pop() if idle else self._new_actor(command), place)
            self._flights[name] = flight
            run_dir = self._root.run_dir(command.key)
            self._watch(flight, flight.actor.begin.remote(self._specs[command.key], run_dir, command.attempt))

    def _new_actor(self, command: LaunchAttempt) -> Any:
        resources = command.resources
        return _ACTOR.options(
            name=f"{self._sweep_id}/{uuid.uuid4().hex}",
            namespace=self._namespace,
            lifetime="detached",
            max_concurrency=3,  # one call that watches, one that stops, one of an orchestrator that asks what is held
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            memory=resources.memory_bytes or None,
            resources=dict(resources.custom) or None,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=command.node, soft=False),
        ).remote()

    def _own_actors(self) -> list[str]:
        named = ray.util.list_named_actors(all_namespaces=True)
        prefix = f"{self._sweep_id}/"
        return [
            actor["name"]
            for actor in named
            if actor["namespace"] == self._namespace and actor["name"].startswith(prefix)
        ]

    def poll(self, timeout_s: float) -> list[Event]:
        self._give_back_idle()
        self._look_at_nodes()
        if not self._pending:
            calls = list(self._calls)
            if calls:
                ready, _ = ray.wait(calls, num_returns=1, timeout=timeout_s, fetch_local=True)
                if ready:  # what else has come by now is taken along
                    ready, _ = ray.wait(calls, num_returns=len(calls), timeout=0, fetch_local=True)
                for call in ready:
                    self._hear(self._calls.pop(call), call)
            else:
                clock.sleep(min(timeout_s, 0.2))
            self._give_up_unplaced()
        events, self._pending = self._pending, []
        return events

    def reports(self) -> Mapping[RunKey, AttemptReport]:
        return {flight.key: flight.report for flight in self._flights.values() if flight.report is not None}

    def close(self) -> None:
        self._give_back_idle()
        ray.shutdown()
        if not self._flights:
            self._disconnect()

    def _watch(self, flight: _Flight, call: Any) -> None:
        self._calls[call] = flight

    def _hear(self, flight: _Flight, call: Any) -> None:
        """Turn an answer, or its absence, into events; watch on where the attempt goes on."""
        try:
            report = ray.get(call, timeout=10.0)
        except (ActorUnavailableError, GetTimeoutError) as error:
            log.warning("No word from %s at the moment (%s); it is asked again.", flight.key, type(error).__name__)
            self._watch(flight, flight.actor.wait.remote(self._poll_every_s))
            return
        except RayError as error:
            self._end(flight, *_verdict_of(error))
            return
        flight.report = report
        if report.pid and not flight.is_started:
            flight.is_started = True
            self._pending.append(started_event(flight.key, flight.attempt, report, clock.now()))
        if report.verdict is None:
            self._watch(flight, flight.actor.wait.remote(self._poll_every_s))
            return
        self._pending.append(ended_event(flight.key, flight.attempt, report, clock.now()))
        del self._flights[flight.key, flight.attempt]
        self._idle.setdefault(flight.place or (), []).append(flight.actor)

    def _end(self, flight: _Flight, outcome: Outcome, cause: str) -> None:
        self._report_end(flight.key, flight.attempt, outcome, cause)
        del self._flights[flight.key, flight.attempt]
        ray.kill(flight.actor, no_restart=True)

    def _report_end(self, key: RunKey, attempt: int, outcome: Outcome, cause: str) -> None:
        self._pending.append(AttemptEnded(at=clock.now(), key=key, attempt=attempt, outcome=outcome, cause=cause))

    def _give_back_idle(self) -> None:
        """Actors that the commands since the last poll did not take: others may use what they hold."""
        for actors in self._idle.values():
            for actor in actors:
                ray.kill(actor, no_restart=True)
        self._idle.clear()

    def _give_up_unplaced(self) -> None:
        """An actor that nobody places holds its room for ever: others may share the cluster and be faster."""
        moment = clock.monotonic()
        for flight in list(self._flights.values()):
            if flight.report is None and moment - flight.launched_at > _PLACEMENT_LIMIT_S:
                cause = f"the cluster did not place it within {_PLACEMENT_LIMIT_S:g} s"
                self._calls = {call: other for call, other in self._calls.items() if other is not flight}
                self._end(flight, "worker_lost", cause)

    def _look_at_nodes(self) -> None:
        moment = clock.monotonic()
        if moment - self._nodes_at < _NODES_EVERY_S:
            return
        self._nodes_at = moment
        at = clock.now()
        alive = {node["NodeID"]: _node_event(node, at) for node in ray.nodes() if node["Alive"]}
        for name in self._nodes.keys() - alive.keys():
            del self._nodes[name]
            self._pending.append(NodeLeft(at=at, node=name))
        for name, event in alive.items():
            known = self._nodes.get(name)
            if known is None or _resources_of(known) != _resources_of(event):
                self._nodes[name] = event
                self._pending.append(event)


def join(address: str) -> None:
    """Connect this process to a running cluster.

    Raises:
        ClusterError: there is none, or it does not let us in.
    """
    try:
        # Ray's own lines belong into its log folder, not into the table of a sweep.
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, RayError) as error:
        raise ClusterError(
            f"Cannot join the Ray cluster at cluster.address={address!r}: {str(error).splitlines()[0]} Expected 'auto' "
            f"on a node of a running cluster, or host:port of its head. Is it up (`ray status`), and does this shell "
            f"have its token (RAY_AUTH_MODE, RAY_AUTH_TOKEN_PATH)?"
        ) from None


def serve_head(*, cpus: float | None, gpus: float | None) -> str:
    """Start a cluster of one node, which lives as long as this process; returns its address."""
    ray.init(
        address="local",
        num_cpus=None if cpus is None else int(cpus),
        num_gpus=None if gpus is None else int(gpus),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    return str(ray.get_runtime_context().gcs_address)


def count_attempts(namespace: str) -> int:
    """How many attempts are alive on the cluster that this process is connected to."""
    return sum(actor["namespace"] == namespace for actor in ray.util.list_named_actors(all_namespaces=True))


def _verdict_of(error: RayError) -> tuple[Outcome, str]:
    """The only translation of Ray's errors into outcomes."""
    if isinstance(error, OutOfMemoryError):
        return "out_of_memory", "Ray's memory monitor killed it: the node ran out of memory"
    if isinstance(error, ActorDiedError):
        return "worker_lost", "its Ray worker died, and the trainer with it"
    if isinstance(error, ActorUnschedulableError):
        return "worker_lost", "its node is gone"
    if isinstance(error, RayTaskError):
        return "crashed", f"the attempt failed by itself: {error.cause!r}"
    return "worker_lost", f"Ray lost it ({type(error).__name__})"


def _place(command: LaunchAttempt) -> _Shape:
    resources = command.resources
    custom = tuple(sorted(resources.custom.items()))
    return command.node, resources.cpus, resources.gpus, resources.memory_bytes, custom


def _node_event(node: Mapping[str, Any], at: float) -> NodeJoined:
    resources = node["Resources"]
    custom = {
        name: amount
        for name, amount in resources.items()
        if name not in _OWN_RESOURCES and not name.startswith(("node:", "accelerator_type:"))
    }
    return NodeJoined(
        at=at,
        node=node["NodeID"],
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        memory_bytes=int(resources.get("memory", 0)),
        custom=custom,
        host=node.get("NodeManagerHostname", socket.gethostname()),
    )


def _resources_of(event: NodeJoined) -> tuple[object, ...]:
    return event.cpus, event.gpus, event.memory_bytes, dict(event.custom)
