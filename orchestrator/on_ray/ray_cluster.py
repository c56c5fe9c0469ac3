"""Attempts run in detached, named actors on the nodes that the machine chose.

An actor holds one attempt at a time, with the CPUs and GPUs of that attempt. When the attempt has ended and the next
one asks for the same on the same node, it goes into the same actor: a fresh actor costs a Python start, which short
runs would feel. An actor that is not used again at once is given back.

Actors are named `<sweep id>/<serial>` in a fixed namespace, so that another orchestrator finds them and asks what
they hold. Ray neither restarts them nor retries their calls: retries are decisions, and decisions are the machine's.

The end of an attempt is reported when it is certain. An actor that tells it is believed. An actor that died or does
not answer leaves its attempt in doubt, until its guard has written how the trainer ended, or until the actor's lease
must have run out: each actor renews a lease at the registry, an actor on the head, and a guard that hears of no
renewal ends its trainer. So two trainers never write into one run directory.
"""

import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import (
    ActorUnavailableError,
    GetTimeoutError,
    RayError,
    RayTaskError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator import clock
from orchestrator.attempts.attempt_log import ended_at
from orchestrator.attempts.dock import Dock, check_storage
from orchestrator.attempts.worker import AttemptReport
from orchestrator.commands import LaunchAttempt, StopAttempt
from orchestrator.events import AttemptEnded, Event, NodeJoined, NodeLeft, TrainingBegan
from orchestrator.leases import NoLeaseError, margin_s
from orchestrator.on_ray.attempt_actor import ATTEMPT_ACTOR
from orchestrator.on_ray.flights import Doubt, Flight, Place, place_of
from orchestrator.on_ray.kept_registry import KeptRegistry
from orchestrator.on_ray.lease_registry import lease_name
from orchestrator.on_ray.nodes import Reach, draining_nodes, node_event, resources_of
from orchestrator.on_ray.ray_errors import (
    LOST_ANSWERS,
    TAKEN_AWAY,
    is_unable,
    last_line,
    lost_connection_in_words,
    verdict_of,
)
from orchestrator.on_ray.storage_probe import probe_storage
from orchestrator.outcomes import Outcome
from orchestrator.process_cluster import ended_event, started_event
from sweeps.contracts import RunKey, RunSpec
from sweeps.files import read_records
from sweeps.layout import SweepRoot
from sweeps.settings import StorageSettings

log = logging.getLogger(__name__)

_NODES_EVERY_S = 5.0
_ANSWER_LIMIT_S = 10.0
_ADOPTION_LIMIT_S = 10.0
_DOUBTS_EVERY_S = 0.5
#: Between two looks at answers without news; what has news after one waits for so long.
_BREATH_S = 0.05
#: How long an actor that was placed on a node with room may take to appear after the last one that did there.
_PLACEMENT_LIMIT_S = 120.0


class RayCluster:
    """Attempts as Ray actors, on a cluster that `connect` starts or joins."""

    def __init__(
        self,
        connect: Callable[[str], Callable[[], None]],
        *,
        namespace: str,
        poll_every_s: float,
        lease_s: float = 60.0,
        preemption_command: str | None = None,
        storage: StorageSettings | None = None,
        beat: Callable[[], None] = lambda: None,
        is_lost: Callable[[], bool] = lambda: False,
    ) -> None:
        """Set up; nothing is started yet.

        Args:
            connect: takes the sweep's id, connects this process, and returns what ends the connection for good.
            beat: called at every poll: the orchestrator is there.
            is_lost: whether the cluster is gone for good, and `connect` would make another one.
        """
        self._connect = connect
        self._disconnect: Callable[[], None] = lambda: None
        self._namespace = namespace
        self._poll_every_s = poll_every_s
        self._lease_s = lease_s
        self._preemption_command = preemption_command
        self._storage = storage or StorageSettings()
        self._dock: Dock | None = None
        #: Questions for parcels, and in the end the request to discard what was sent.
        self._parcels: dict[Any, Flight] = {}
        self._beat = beat
        self._is_lost = is_lost
        self._flights: dict[tuple[RunKey, int], Flight] = {}
        self._calls: dict[Any, Flight] = {}
        #: Actors whose attempt has ended and that may take the next one, by node and resources.
        self._idle: dict[Place, list[Any]] = {}
        #: Actors of an earlier orchestrator that have not said yet what they hold, by the question.
        self._strangers: dict[Any, Any] = {}
        #: When an actor last appeared on a node: Ray starts them one after another.
        self._appeared_at: dict[str | None, float] = {}
        #: Seconds spent listening to actors: only then can one be silent.
        self._listened_s = 0.0
        self._nodes: dict[str, NodeJoined] = {}
        self._reach = Reach()
        self._nodes_at = float("-inf")
        self._doubts_at = float("-inf")
        self._pending: list[Event] = []

    def open(self, root: SweepRoot, sweep_id: str, specs: Mapping[RunKey, RunSpec]) -> None:
        self._root = root
        self._sweep_id = sweep_id
        self._specs = specs
        check_storage(root, specs, self._storage)
        self._disconnect = self._connect(sweep_id)
        with lost_connection_in_words():
            self._registry = KeptRegistry(sweep_id, namespace=self._namespace, lease_s=self._lease_s)
            if self._storage.kind == "ship":
                self._dock = Dock(root, sweep_id, self._storage)
                probe_storage(self._dock.store, self._storage)

    def adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None:
        with lost_connection_in_words():
            self._adopt(attempts)

    def _adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None:
        # First of all: an end that comes before they were found must leave them what they need.
        for key, attempt in sorted(attempts):
            self._flights[key, attempt] = Flight(key, attempt, None, None, None)
        for name in self._own_actors():
            with contextlib.suppress(ValueError):  # it died since it was listed
                actor = ray.get_actor(name, namespace=self._namespace)
                self._strangers[actor.held.remote()] = actor
        self._hear_strangers(_ADOPTION_LIMIT_S)
        for flight in self._flights.values():
            if flight.actor is None:
                cause = "its worker was gone when the orchestrator came back"
                self._put_in_doubt(flight, "worker_lost", cause, is_dead=True)

    def _hear_strangers(self, timeout_s: float) -> None:
        """Take over the actors of an earlier orchestrator that say what they hold, and end those that nobody needs."""
        if not self._strangers:
            return
        answered, _ = ray.wait(list(self._strangers), num_returns=len(self._strangers), timeout=timeout_s)
        for call in answered:
            actor = self._strangers.pop(call)
            try:
                held, node = ray.get(call, timeout=_ANSWER_LIMIT_S)
            except (ActorUnavailableError, GetTimeoutError):
                self._strangers[actor.held.remote()] = actor
                continue
            except RayError:
                continue  # it is dead: what it held is in doubt like all that nobody owns up to
            if held in self._flights and self._flights[held].actor is None:
                self._take_up(Flight(held[0], held[1], actor, node, None), actor.wait.remote(0.0, True))
            else:
                ray.kill(actor, no_restart=True)
        if all(flight.actor is not None for flight in self._flights.values()):
            # Whatever the silent ones hold, or will hold once they are placed, is nobody's any more.
            for actor in self._strangers.values():
                ray.kill(actor, no_restart=True)
            self._strangers.clear()

    def execute(self, command: LaunchAttempt | StopAttempt) -> None:
        with lost_connection_in_words():
            self._execute(command)

    def _execute(self, command: LaunchAttempt | StopAttempt) -> None:
        name = (command.key, command.attempt)
        if isinstance(command, StopAttempt):
            if name in self._flights and self._flights[name].actor is not None:
                self._flights[name].actor.stop.remote(*name, "cancelled", "stopped on request")
        elif name not in self._flights:
            place = place_of(command)
            idle = self._idle.get(place)
            actor = idle.pop() if idle else self._new_actor(command)
            spec, dock = self._specs[command.key], self._dock
            call = actor.begin.remote(
                spec,
                self._root.run_dir(command.key),
                command.attempt,
                self._preemption_command,
                None if dock is None else dock.hand_over(spec, command.attempt, command.fresh_from),
                command.fresh_from,
            )
            self._take_up(Flight(*name, actor, command.node, place), call)

    def _new_actor(self, command: LaunchAttempt) -> Any:
        resources = command.resources
        return ATTEMPT_ACTOR.options(
            name=f"{self._sweep_id}/{uuid.uuid4().hex}",
            namespace=self._namespace,
            lifetime="detached",
            # One call that watches, one that stops, one that asks what is held, one for a parcel, and
            # one that a dead orchestrator has left behind.
            max_concurrency=5,
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            memory=resources.memory_bytes or None,
            resources=dict(resources.custom) or None,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=command.node, soft=False),
        ).remote(self._namespace, self._registry.name, self._lease_s)

    def _own_actors(self) -> list[str]:
        named = ray.util.list_named_actors(all_namespaces=True)
        prefix = f"{self._sweep_id}/"
        return [
            actor["name"]
            for actor in named
            if actor["namespace"] == self._namespace and actor["name"].startswith(prefix)
        ]

    def poll(self, timeout_s: float) -> list[Event]:
        with lost_connection_in_words():
            return self._poll(timeout_s)

    def _poll(self, timeout_s: float) -> list[Event]:
        if self._is_lost():  # looked at first: without its head, Ray waits for a minute and then ends this process
            self._open_again()
        self._beat()
        self._give_back_idle()
        self._look_at_nodes()
        self._registry.look()
        self._hear_strangers(0.0)
        self._look_at_doubts()
        self._ask_for_parcels()
        if not self._pending:
            if self._calls or self._parcels:
                self._listen(timeout_s)
            else:
                clock.sleep(min(timeout_s, 0.2))
            self._give_up_unplaced()
        events, self._pending = self._pending, []
        return events

    def _open_again(self) -> None:
        """Make another cluster; what ran on the old one is in doubt."""
        log.warning("The head of the cluster has died; another one is started.")
        attempts = list(self._flights)
        self._pending += [NodeLeft(at=clock.now(), node=node) for node in self._nodes]
        for known in (self._flights, self._calls, self._parcels, self._idle, self._nodes, self._strangers):
            known.clear()
        self._reach, self._nodes_at = Reach(), float("-inf")
        ray.shutdown()
        self._disconnect = self._connect(self._sweep_id)
        self._registry = KeptRegistry(self._sweep_id, namespace=self._namespace, lease_s=self._lease_s)
        self.adopt(attempts)

    def _listen(self, timeout_s: float) -> None:
        """Hear what the actors say, until one of them has news."""
        deadline = clock.monotonic() + timeout_s
        while not self._pending and (left_s := deadline - clock.monotonic()) > 0:
            calls = [*self._calls, *self._parcels]
            began = clock.monotonic()
            ready, _ = ray.wait(calls, num_returns=1, timeout=left_s, fetch_local=True)
            # Not more, should this process have been stopped meanwhile.
            self._listened_s += min(left_s, clock.monotonic() - began)
            if ready:  # what else has come by now is taken along
                ready, _ = ray.wait(calls, num_returns=len(calls), timeout=0, fetch_local=True)
            for call in ready:
                if call in self._parcels:
                    self._take_in(self._parcels.pop(call), call)
                else:
                    self._hear(self._calls.pop(call), call)
            if not self._pending:
                # A thousand actors say every few milliseconds that all is well: each look goes through all of them.
                breath_s = min(_BREATH_S, max(0.0, deadline - clock.monotonic()))
                clock.sleep(breath_s)
                self._listened_s += breath_s

    def reports(self) -> Mapping[RunKey, AttemptReport]:
        return {flight.key: flight.report for flight in self._flights.values() if flight.report is not None}

    def close(self) -> None:
        with contextlib.suppress(RayError, ConnectionError):  # the cluster may be gone
            self._give_back_idle()
            if not self._flights:
                ray.kill(self._registry.actor)
        ray.shutdown()
        if not self._flights:
            self._disconnect()

    def _take_up(self, flight: Flight, call: Any) -> None:
        self._flights[flight.key, flight.attempt] = flight
        self._calls[call] = flight

    def _watch_on(self, flight: Flight) -> None:
        self._calls[flight.actor.wait.remote(self._poll_every_s, flight.is_begun)] = flight

    def _hear(self, flight: Flight, call: Any) -> None:
        """Turn an answer, or its absence, into events; watch on where the attempt goes on."""
        if (flight.key, flight.attempt) not in self._flights:
            return  # its end was certain before its actor spoke again
        try:
            report = ray.get(call, timeout=10.0)
        except RayError as error:
            if isinstance(error, RayTaskError) and isinstance(error.cause, NoLeaseError):
                # It started nothing, and says so: there is no doubt, and nothing to wait for.
                self._put_in_doubt(flight, "worker_lost", "its worker got no lease from the head", is_dead=True)
                self._give_up(flight)
            elif not self._doubt_for(flight, error):
                self._watch_on(flight)
            return
        if flight.report is None:
            self._appeared_at[flight.node] = clock.monotonic()
        flight.report, flight.doubt, flight.heard_at = report, None, self._listened_s
        if report.pid and not flight.is_started:
            flight.is_started = True
            self._pending.append(started_event(flight.key, flight.attempt, report, clock.now()))
        if report.has_begun and not flight.is_begun:
            flight.is_begun = True
            self._pending.append(TrainingBegan(at=clock.now(), key=flight.key, attempt=flight.attempt))
        if report.verdict is None:
            self._watch_on(flight)
        elif self._dock is None:
            self._finish(flight)
        elif not flight.is_asked:
            self._ask(flight, self._dock)

    def _doubt_for(self, flight: Flight, error: RayError) -> bool:
        """Doubt an attempt whose actor answered with an error; whether the actor is dead."""
        if isinstance(error, (ActorUnavailableError, GetTimeoutError)):
            # No sign of death: the trainer may be well and only its node's network slow.
            self._put_in_doubt(flight, "worker_lost", f"its worker does not answer ({type(error).__name__})")
            return False
        if isinstance(error, RayTaskError):
            # A mistake of ours in the actor; without it the guard ends the trainer, and tells how.
            ray.kill(flight.actor, no_restart=True)
            self._put_in_doubt(flight, "crashed", f"its worker failed: {error.cause!r}", is_dead=True)
        elif is_unable(error):
            cause = f"its worker cannot be started there (is dreamsweep installed on the node?): {last_line(error)}"
            self._put_in_doubt(flight, "crashed", cause, is_dead=True)
            assert flight.doubt is not None
            flight.doubt.is_node_suspect = True
        else:
            self._put_in_doubt(flight, *verdict_of(error), is_dead=True)
        return True

    def _finish(self, flight: Flight) -> None:
        """Report the end of an attempt whose actor told it."""
        assert flight.report is not None, flight.key
        report = flight.report
        self._pending.append(ended_event(flight.key, flight.attempt, report, clock.now()))
        del self._flights[flight.key, flight.attempt]
        self._registry.actor.forget.remote(lease_name(flight.key, flight.attempt))
        self._idle.setdefault(flight.place or (), []).append(flight.actor)

    def _ask_for_parcels(self) -> None:
        if self._dock is None:
            return
        moment = clock.monotonic()
        for flight in self._flights.values():
            is_due = flight.report is not None and not flight.is_asked and moment >= flight.ask_at
            if is_due and flight.actor is not None:
                self._ask(flight, self._dock)

    def _ask(self, flight: Flight, dock: Dock) -> None:
        flight.is_asked = True
        self._parcels[flight.actor.parcel.remote(dock.have(self._specs[flight.key]), flight.is_anew)] = flight

    def _take_in(self, flight: Flight, call: Any) -> None:
        """Unpack a parcel; what does not come or cannot be unpacked will be asked for again."""
        dock = self._dock
        if self._flights.get((flight.key, flight.attempt)) is not flight or dock is None:
            return  # given up since: another attempt may have been launched, and the root's files are its own now
        flight.is_asked = False
        flight.ask_at = clock.monotonic() + dock.interval_s
        if flight.is_in:
            self._finish(flight)
            try:
                ray.get(call, timeout=10.0)
            except (RayError, TimeoutError):  # its folder stays behind, until the node is cleared
                self._idle[flight.place or ()].remove(flight.actor)
                ray.kill(flight.actor, no_restart=True)  # it may live, and hold what others could use
            return
        was_lost, flight.is_anew = flight.is_anew, True
        try:
            parcel = ray.get(call, timeout=10.0)
        except LOST_ANSWERS as error:
            log.warning("%s: its logs are asked for again: %s", flight.key, type(error).__name__)
            flight.heard_at = self._listened_s
            return
        except RayError as error:
            self._doubt_for(flight, error)
            return
        # Also where the root takes nothing: one that has ended says no more than this, and nobody else has its logs.
        flight.heard_at = self._listened_s
        if flight.doubt is not None and not flight.doubt.is_dead:
            flight.doubt = None
        try:
            dock.take(flight.key, flight.attempt, parcel)
        except OSError as error:
            if not was_lost:
                log.warning("%s: the root does not take its logs: %s", flight.key, error)
            return
        flight.is_anew = False
        if parcel.is_all and flight.report is not None and flight.report.verdict is not None:
            flight.is_in = flight.is_asked = True
            self._parcels[flight.actor.discard.remote()] = flight
        elif parcel.has_more or (flight.report is not None and flight.report.verdict is not None):
            self._ask(flight, dock)

    def _put_in_doubt(self, flight: Flight, outcome: Outcome, cause: str, *, is_dead: bool = False) -> None:
        if flight.is_warned:
            outcome, cause = "preempted", TAKEN_AWAY
        since = flight.doubt.since if flight.doubt else clock.monotonic()
        if flight.doubt is None:
            log.info("%s is in doubt: %s", flight.key, cause)
        flight.doubt = Doubt(since, outcome, cause, is_dead)
        if not is_dead and flight.node is not None:
            self._reach.doubt(flight.node)
            if self._nodes.pop(flight.node, None) is not None:  # told before anything else can be placed there
                self._pending.append(NodeLeft(at=clock.now(), node=flight.node))

    def _look_at_doubts(self) -> None:
        """Report the attempts whose end has become certain."""
        moment = clock.monotonic()
        for flight in self._flights.values():
            # A frozen worker, or a link that swallows everything, breaks no call for a long time.
            is_silent = flight.report is not None and self._listened_s - flight.heard_at > self._silence_limit_s()
            if is_silent and flight.doubt is None:
                self._put_in_doubt(flight, "worker_lost", "its worker fell silent")
        doubtful = [flight for flight in self._flights.values() if flight.doubt is not None]
        if not doubtful or moment - self._doubts_at < _DOUBTS_EVERY_S:
            return
        self._doubts_at = moment
        limit_s = self._lease_s + margin_s(self._lease_s)
        calls = {}
        for flight in doubtful:
            lease = lease_name(flight.key, flight.attempt)
            if self._is_mute(flight):
                # Everybody takes its worker for dead; should it live, its trainer goes with the lease all the same.
                self._registry.actor.revoke.remote(lease)
            if self._is_over_by_guard(flight):
                self._give_up(flight)
            else:
                calls[self._registry.actor.revoke_if_over.remote(lease, limit_s, self._left_no_trace(flight))] = flight
        # All are asked at once: where the registry does not answer, the others are heard no less.
        answered, _ = ray.wait(list(calls), num_returns=len(calls), timeout=_ANSWER_LIMIT_S / 2) if calls else ([], [])
        for call in answered:
            with contextlib.suppress(RayError):
                if ray.get(call, timeout=1.0):
                    self._give_up(calls[call])

    def _give_up(self, flight: Flight) -> None:
        """Report the end of an attempt in doubt that is certain to be over, or never to begin."""
        assert flight.doubt is not None, flight.key
        self._registry.actor.revoke.remote(lease_name(flight.key, flight.attempt))
        self._pending.append(
            AttemptEnded(
                at=clock.now(),
                key=flight.key,
                attempt=flight.attempt,
                outcome=flight.doubt.outcome,
                cause=flight.doubt.cause,
                is_node_suspect=flight.doubt.is_node_suspect,
                ended_at=ended_at(self._root.run_dir(flight.key), flight.attempt),
            )
        )
        del self._flights[flight.key, flight.attempt]
        if flight.actor is not None:
            ray.kill(flight.actor, no_restart=True)

    def _silence_limit_s(self) -> float:
        return 3 * self._poll_every_s + self._lease_s / 2

    def _is_mute(self, flight: Flight) -> bool:
        """Whether nobody will speak for an attempt in doubt any more."""
        assert flight.doubt is not None
        return flight.doubt.is_dead and (flight.actor is not None or not self._strangers)

    def _is_over_by_guard(self, flight: Flight) -> bool:
        """Whether the guard has written how the trainer ended, for an actor that will not speak any more."""
        return self._is_mute(flight) and self._root.run_dir(flight.key).exit_status(flight.attempt).exists()

    def _left_no_trace(self, flight: Flight) -> bool:
        """Whether the orchestrator that was to launch it may have died first: no actor, no trace, and none to come."""
        if flight.actor is not None or self._strangers:
            return False
        if self._dock is not None and self._dock.was_handed_over(flight.key, flight.attempt):
            return False
        lines = read_records(self._root.run_dir(flight.key).attempts)
        return all(line.get("attempt") != flight.attempt for line in lines)

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
            is_waiting = flight.report is None and flight.doubt is None and flight.actor is not None
            since = max(flight.launched_at, self._appeared_at.get(flight.node, 0.0))
            if is_waiting and moment - since > _PLACEMENT_LIMIT_S:
                ray.kill(flight.actor, no_restart=True)
                cause = f"the cluster did not place it within {_PLACEMENT_LIMIT_S:g} s"
                self._put_in_doubt(flight, "worker_lost", cause, is_dead=True)

    def _look_at_nodes(self) -> None:
        moment = clock.monotonic()
        if moment - self._nodes_at < _NODES_EVERY_S:
            return
        self._nodes_at = moment
        at = clock.now()
        alive = {node["NodeID"]: node_event(node, at) for node in ray.nodes() if node["Alive"]}
        draining = draining_nodes()
        for name in {*self._reach.lost(alive), *draining} & alive.keys():
            del alive[name]
        for flight in self._flights.values():
            if flight.node in draining and flight.actor is not None and not flight.is_warned:
                flight.is_warned = True
                flight.actor.stop.remote(flight.key, flight.attempt, "preempted", TAKEN_AWAY)
        for name in self._nodes.keys() - alive.keys():
            del self._nodes[name]
            self._pending.append(NodeLeft(at=at, node=name))
        for name, event in alive.items():
            known = self._nodes.get(name)
            if known is None or resources_of(known) != resources_of(event):
                self._nodes[name] = event
                self._pending.append(event)
