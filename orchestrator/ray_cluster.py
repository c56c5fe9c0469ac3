"""The one file that knows Ray: attempts are detached, named actors on the nodes that the machine chose.

An actor is named `<sweep id>/<run key>/<attempt>` in a fixed namespace, so that another orchestrator finds it. It is
never restarted and none of its calls is retried by Ray: retries are decisions, and decisions are the machine's.
A call that cannot be answered (`ActorUnavailableError`, a time-out) says nothing about the attempt; only the death
of the actor ends it.
"""

import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray import ObjectRef
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
#: How long an actor that was placed on a node with room may take to appear.
_PLACEMENT_LIMIT_S = 120.0
# Ray's own resources, as ray.nodes() lists them beside the custom ones.
_OWN_RESOURCES = ("CPU", "GPU", "memory", "object_store_memory")


@ray.remote(max_restarts=0, max_task_retries=0, num_cpus=1, concurrency_groups={"control": 1, "watch": 1})
class AttemptActor:
    """Holds one AttemptWorker. A control call is never queued behind a watching one."""

    def __init__(self, spec: RunSpec, run_dir: RunDir, attempt: int) -> None:
        self._worker = AttemptWorker(spec, run_dir, attempt)
        self._worker.start()

    @ray.method(concurrency_group="watch")
    def wait(self, timeout_s: float) -> AttemptReport:
        # Bounded, so that a call of an orchestrator that died does not stay for ever.
        return self._worker.wait(timeout_s)

    @ray.method(concurrency_group="control")
    def stop(self) -> None:
        self._worker.stop()


class _Flight:
    """An attempt in flight as the driver sees it."""

    def __init__(self, key: RunKey, attempt: int, actor: Any, at: float) -> None:
        self.key = key
        self.attempt = attempt
        self.actor = actor
        self.launched_at = at
        self.report: AttemptReport | None = None
        self.is_started = False


class RayCluster:
    """Attempts as Ray actors, on a cluster that `connect` starts or joins."""

    def __init__(self, connect: Callable[[], None], *, namespace: str, poll_every_s: float) -> None:
        self._connect = connect
        self._namespace = namespace
        self._poll_every_s = poll_every_s
        self._flights: dict[tuple[RunKey, int], _Flight] = {}
        self._calls: dict[ObjectRef[AttemptReport], _Flight] = {}
        self._nodes: dict[str, NodeJoined] = {}
        self._nodes_at = float("-inf")
        self._pending: list[Event] = []

    def open(self, root: SweepRoot, sweep_id: str, specs: Mapping[RunKey, RunSpec]) -> None:
        self._root = root
        self._sweep_id = sweep_id
        self._specs = specs
        self._connect()

    def adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None:
        for key, attempt in attempts:
            try:
                actor = ray.get_actor(self._name(key, attempt), namespace=self._namespace)
            except ValueError:
                self._report_end(key, attempt, "worker_lost", "it was gone when the orchestrator came back")
                continue
            self._watch(_Flight(key, attempt, actor, clock.monotonic()))

    def execute(self, command: LaunchAttempt | StopAttempt) -> None:
        if isinstance(command, StopAttempt):
            flight = self._flights.get((command.key, command.attempt))
            if flight is not None:
                flight.actor.stop.remote()
            return
        if (command.key, command.attempt) in self._flights:
            return
        resources = command.resources
        actor = AttemptActor.options(
            name=self._name(command.key, command.attempt),
            namespace=self._namespace,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            memory=resources.memory_bytes or None,
            resources=dict(resources.custom) or None,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=command.node, soft=False),
        ).remote(self._specs[command.key], self._root.run_dir(command.key), command.attempt)
        self._watch(_Flight(command.key, command.attempt, actor, clock.monotonic()))

    def poll(self, timeout_s: float) -> list[Event]:
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
        ray.shutdown()

    def _name(self, key: RunKey, attempt: int) -> str:
        return f"{self._sweep_id}/{key}/{attempt}"

    def _watch(self, flight: _Flight) -> None:
        self._flights[flight.key, flight.attempt] = flight
        # The first call is answered at once: it tells that the trainer runs.
        timeout_s = self._poll_every_s if flight.is_started else 0.2
        self._calls[flight.actor.wait.remote(timeout_s)] = flight

    def _hear(self, flight: _Flight, call: "ObjectRef[AttemptReport]") -> None:
        """Turn an answer, or its absence, into events; watch on where the attempt goes on."""
        try:
            report = ray.get(call, timeout=10.0)
        except (ActorUnavailableError, GetTimeoutError) as error:
            log.warning("No word from %s at the moment (%s); it is asked again.", flight.key, type(error).__name__)
            self._watch(flight)
            return
        except RayError as error:
            self._end(flight, *_verdict_of(error))
            return
        flight.report = report
        if report.pid and not flight.is_started:
            flight.is_started = True
            self._pending.append(started_event(flight.key, flight.attempt, report, clock.now()))
        if report.verdict is None:
            self._watch(flight)
            return
        self._pending.append(ended_event(flight.key, flight.attempt, report, clock.now()))
        self._forget(flight)

    def _end(self, flight: _Flight, outcome: Outcome, cause: str) -> None:
        self._report_end(flight.key, flight.attempt, outcome, cause)
        self._forget(flight)

    def _report_end(self, key: RunKey, attempt: int, outcome: Outcome, cause: str) -> None:
        self._pending.append(AttemptEnded(at=clock.now(), key=key, attempt=attempt, outcome=outcome, cause=cause))

    def _forget(self, flight: _Flight) -> None:
        self._flights.pop((flight.key, flight.attempt), None)
        # The trainer has ended, so nothing is lost; a kill gives the room back at once.
        ray.kill(flight.actor, no_restart=True)

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


def local_connection(*, cpus: float | None, gpus: float | None) -> Callable[[], None]:
    """Start Ray on this machine, for this process alone."""

    def connect() -> None:
        # Trainers inherit it: Ray lowers the priority of its workers by default.
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        _init(
            address="local",
            num_cpus=None if cpus is None else int(cpus),
            num_gpus=None if gpus is None else int(gpus),
            include_dashboard=False,
        )

    return connect


def remote_connection(*, address: str) -> Callable[[], None]:
    """Join a running cluster."""

    def connect() -> None:
        try:
            _init(address=address)
        except ConnectionError as error:
            raise ClusterError(
                f"Cannot join the Ray cluster at cluster.address={address!r}: {str(error).splitlines()[0]} Expected "
                f"'auto' on a node of a running cluster, or host:port of its head. Is it up (`ray status`), and does this "
                f"shell have its token (RAY_AUTH_MODE, RAY_AUTH_TOKEN_PATH)?"
            ) from None

    return connect


def _init(**options: Any) -> None:
    # Ray's own lines belong into its log folder, not into the table of a sweep.
    ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=True, **options)


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
