"""The one file that knows Ray: attempts run in detached, named actors on the nodes that the machine chose.

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
import os
import signal
import socket
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    GetTimeoutError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator import clock
from orchestrator.attempts.checkpoint_store import probe
from orchestrator.attempts.dock import Dock, check_storage
from orchestrator.attempts.outbox import check_local
from orchestrator.attempts.process import GuardedProcess
from orchestrator.attempts.shipping import Handover, Parcel
from orchestrator.attempts.worker import AttemptReport, AttemptWorker, Terms
from orchestrator.commands import LaunchAttempt, StopAttempt
from orchestrator.events import AttemptEnded, Event, NodeJoined, NodeLeft, TrainingBegan
from orchestrator.leases import LeaseBook, NoLeaseError, margin_s
from orchestrator.outcomes import Outcome
from orchestrator.process_cluster import ended_event, started_event
from sweeps.contracts import RunKey, RunSpec
from sweeps.errors import ClusterError, StorageError
from sweeps.files import read_records
from sweeps.layout import RunDir, SweepRoot
from sweeps.settings import StorageSettings

if TYPE_CHECKING:
    # Every worker imports this file: it shall not bring Arrow along.
    from aggregation.logs.spread import Batch, Readings, Spread

log = logging.getLogger(__name__)

_NODES_EVERY_S = 5.0
_OBJECT_STORE_BYTES = 128 * 1024 * 1024
#: How soon an attempt that was just begun is heard of, if it does not end before.
_FIRST_WORD_S = 0.2
_ANSWER_LIMIT_S = 10.0
_ADOPTION_LIMIT_S = 10.0
_DOUBTS_EVERY_S = 0.5
#: Between two looks at answers without news; what has news after one waits for so long.
_BREATH_S = 0.05
_FIRST_LEASE_TRIES = 20
#: How long an actor that was placed on a node with room may take to appear after the last one that did there.
_PLACEMENT_LIMIT_S = 120.0
#: How long a head may be away when an orchestrator comes.
_HEAD_LIMIT_S = 60.0
#: A lease is renewed four times before it runs out; after a failure another try follows soon.
_RENEWALS, _RENEWAL_TRIES = 4, 20
#: An actor without work that nobody has asked anything for so long goes: its orchestrator may never come back.
_UNASKED_LIMIT_S = 3600.0
#: How often in the time of a lease the registry is looked at.
_REGISTRY_LOOKS = 12
#: Of a store of checkpoints: on how many nodes it is tried at a launch, and how long that may take.
_MOST_PROBED = 4
_PROBE_LIMIT_S = 90.0
_TAKEN_AWAY = "its node was taken away"
#: What the name of a registry ends with, after the sweep's id.
_REGISTRY_NAME = ".leases"
#: What becomes of a large answer whose actor is well: it goes through the object store, which may be full.
_LOST_ANSWERS = (ObjectLostError, ObjectStoreFullError, OutOfDiskError)
# Ray's own resources, as ray.nodes() lists them beside the custom ones.
_OWN_RESOURCES = ("CPU", "GPU", "memory", "object_store_memory")


class AttemptActor:
    """Holds an AttemptWorker, and after it the next one; renews the lease that lets its trainer live."""

    def __init__(self, namespace: str, registry: str, lease_s: float) -> None:
        self._namespace = namespace
        self._registry_name = registry
        self._registry: Any = None
        self._lease_s = lease_s
        self._worker: AttemptWorker | None = None
        self._held: tuple[RunKey, int] | None = None
        #: Told to stop, perhaps before they were begun, and why: calls may overtake each other.
        self._stopped: dict[tuple[RunKey, int], tuple[Outcome, str]] = {}
        #: The registry grants its attempt nothing any more: its guard ends the trainer when this process goes.
        self._is_given_up = False
        self._asked_at = clock.monotonic()
        threading.Thread(target=self._keep_renewing, name="lease", daemon=True).start()

    def begin(
        self,
        spec: RunSpec,
        run_dir: RunDir,
        attempt: int,
        preemption_command: str | None,
        handover: Handover | None,
        fresh_from: int,
    ) -> AttemptReport:
        """Start an attempt, once; returns as soon as there is something to tell."""
        self._asked_at = clock.monotonic()
        if self._held != (spec.key, attempt):
            assert self._worker is None or self._worker.report().verdict is not None, self._held
            terms = Terms(self._first_lease_until(spec.key, attempt), preemption_command)
            self._worker = AttemptWorker(spec, run_dir, attempt, terms, handover=handover, fresh_from=fresh_from)
            self._held = (spec.key, attempt)
            if self._held in self._stopped:
                self._worker.stop(*self._stopped[self._held])
            self._worker.start()
        assert self._worker is not None
        return self._worker.wait(_FIRST_WORD_S)

    def held(self) -> tuple[tuple[RunKey, int] | None, str]:
        """Which attempt it has, running or ended, and on which node."""
        self._asked_at = clock.monotonic()
        return self._held, str(ray.get_runtime_context().get_node_id())

    def wait(self, timeout_s: float, is_begun_known: bool) -> AttemptReport:
        """Return when the attempt has ended; bounded, so that no call of a dead orchestrator stays for ever."""
        assert self._worker is not None, "no attempt was begun"
        self._asked_at = clock.monotonic()
        return self._worker.wait(timeout_s, is_begun_known=is_begun_known)

    def parcel(self, have: Mapping[str, int], is_anew: bool) -> Parcel:
        """What a root that it cannot see lacks of the attempt."""
        assert self._worker is not None, "no attempt was begun"
        return self._worker.parcel(have, is_anew=is_anew)

    def discard(self) -> None:
        """Remove what the attempt left on this node: the root has it all."""
        assert self._worker is not None, "no attempt was begun"
        self._worker.discard()

    def stop(self, key: RunKey, attempt: int, outcome: Outcome, cause: str) -> None:
        """End an attempt with its grace period."""
        self._stopped[key, attempt] = (outcome, cause)
        if self._worker is not None and self._held == (key, attempt):
            self._worker.stop(outcome, cause)

    def _first_lease_until(self, key: RunKey, attempt: int) -> float:
        self._is_given_up = False  # the attempt before this one may have been
        for _ in range(_FIRST_LEASE_TRIES):
            until = self._renewed_until(key, attempt)
            if until is not None and until > clock.boottime() + self._lease_s / 2:
                return until
            if self._is_given_up:
                break
            clock.sleep(0.2)
        raise NoLeaseError(f"{key} gets no lease from the registry on the head")

    def _keep_renewing(self) -> None:
        pause_s = self._lease_s / _RENEWALS
        while True:
            clock.sleep(pause_s)
            pause_s = self._lease_s / _RENEWALS
            if self._is_forgotten():
                os._exit(0)
            if self._worker is not None and self._held and self._worker.report().verdict is None:
                until = self._renewed_until(*self._held)
                if until is not None:
                    self._worker.renew_lease(until)
                elif self._is_given_up:
                    # Its network was cut, or its machine paused, and nobody could tell it that nobody waits for it any
                    # more. Another attempt may be at work: there is no time for grace.
                    self._worker.renew_lease(clock.boottime())
                    os._exit(0)
                else:
                    # The head may be back the moment after, and the lease not last until the next round.
                    pause_s = self._lease_s / _RENEWAL_TRIES

    def _is_forgotten(self) -> bool:
        """Whether it may give its room back: how its attempt ended can be read in the root by whoever comes."""
        is_at_rest = self._worker is None or (self._worker.report().verdict is not None and not self._worker.is_apart)
        return is_at_rest and clock.monotonic() - self._asked_at > _UNASKED_LIMIT_S

    def _renewed_until(self, key: RunKey, attempt: int) -> float | None:
        """Ask for another lease; the moment of `clock.boottime` at which it runs out, or None where there is none."""
        asked_at = clock.boottime()
        try:
            # Two threads come here, and each may find that the registry is gone.
            registry = self._registry or ray.get_actor(self._registry_name, namespace=self._namespace)
            is_granted = ray.get(registry.renew.remote(_lease_of(key, attempt)), timeout=self._lease_s / _RENEWALS)
            self._registry = registry
        except Exception as error:  # whatever it is: without this thread, every later attempt here would end as well
            log.info("No lease was granted for %s: %r", key, error)
            self._registry = None  # a head that came back has another one
            return None
        self._is_given_up = not is_granted
        return asked_at + self._lease_s if is_granted else None


class LeaseRegistry:
    """Keeps the book of leases on the head; outlives orchestrators."""

    def __init__(self) -> None:
        self._book = LeaseBook(clock.monotonic())

    def renew(self, attempt: str) -> bool:
        return self._book.grant(attempt, clock.monotonic())

    def revoke(self, attempt: str) -> None:
        self._book.revoke(attempt)

    def forget(self, attempt: str) -> None:
        self._book.forget(attempt)

    def revoke_if_over(self, attempt: str, limit_s: float, left_no_trace: bool) -> bool:
        """Give an attempt up if its last grant is older than that, or it left no trace and never had one.

        In one step, so that no renewal comes between.
        """
        never_began = left_no_trace and attempt not in self._book.grants
        is_over = never_began or self._book.age_s(attempt, clock.monotonic()) > limit_s
        if is_over:
            self._book.revoke(attempt)
        return is_over

    def is_there(self) -> bool:
        """Whether anybody answers."""
        return True


class OrchestratorActor:
    """Runs an orchestrator on the head, under a guard; goes when it has ended."""

    def __init__(self, words: Sequence[str], root: SweepRoot, address: str) -> None:
        process = GuardedProcess(
            [sys.executable, "-m", "orchestrator.cli", *words],
            environ={**os.environ, "RAY_ADDRESS": address},
            cwd=root.path,
            output=root.orchestrator_log,
            header="",
            exit_path=root.path / "orchestrator.exit.json",
            orphan_grace_s=30.0,
        )
        threading.Thread(target=self._leave_after, args=(process,), daemon=True).start()

    def _leave_after(self, process: GuardedProcess) -> None:
        while process.wait(60.0) is None and not process.is_guard_lost:
            continue
        os._exit(0)


_ACTOR: Any = ray.remote(max_restarts=0, max_task_retries=0)(AttemptActor)
# A new book is as good as the old one, and where no orchestrator is, nobody else would open it.
_REGISTRY: Any = ray.remote(max_restarts=-1, max_task_retries=0)(LeaseRegistry)
_ORCHESTRATOR: Any = ray.remote(max_restarts=0, max_task_retries=0)(OrchestratorActor)
_Shape = tuple[object, ...]


class _Flight:
    """An attempt in flight as the driver sees it."""

    def __init__(self, key: RunKey, attempt: int, actor: Any, node: str | None, place: _Shape | None) -> None:
        self.key = key
        self.attempt = attempt
        #: None for an attempt of an earlier orchestrator that no actor owns up to.
        self.actor = actor
        #: Where its actor lives; None where it has none.
        self.node = node
        #: The node and the resources of its actor; None where an earlier orchestrator made it.
        self.place = place
        self.launched_at = clock.monotonic()
        #: When its actor last said anything, in seconds of listening.
        self.heard_at = 0.0
        self.report: AttemptReport | None = None
        self.is_started = False
        self.is_begun = False
        #: With storage=ship: whether it was asked for a parcel, when it is asked again, whether the last answer may be
        #: lost, and whether the root has everything of it.
        self.is_asked = False
        self.ask_at = self.launched_at
        self.is_anew = True
        self.is_in = False
        #: Whether it was told that its node is about to be taken away.
        self.is_warned = False
        #: Since when its actor has been dead or silent, and what that looks like; None while all is well.
        self.doubt: _Doubt | None = None


@dataclass(slots=True)
class _Doubt:
    since: float
    outcome: Outcome
    cause: str
    #: Whether Ray says that the actor is dead; a silent one may still speak.
    is_dead: bool
    #: Whether other runs are likely to end alike on its node.
    is_node_suspect: bool = False


def _answer() -> None:
    """What a node runs to show that it is within reach."""


_ANSWER: Any = ray.remote(num_cpus=0, max_retries=0)(_answer)


class _Reach:
    """Nodes that fell silent, and that nothing is placed on until they answer: Ray takes a minute to miss a node."""

    def __init__(self) -> None:
        self._calls: dict[str, Any] = {}

    def doubt(self, node: str) -> None:
        """Count a node as out of reach until it answers."""
        if node not in self._calls:
            strategy = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
            self._calls[node] = _ANSWER.options(scheduling_strategy=strategy).remote()

    def lost(self, alive: Iterable[str]) -> list[str]:
        """Those of the live nodes that are out of reach."""
        silent = []
        for node in set(self._calls) & set(alive):
            ready, _ = ray.wait([self._calls[node]], timeout=0, fetch_local=True)
            if ready:
                call = self._calls.pop(node)
                try:
                    ray.get(call, timeout=1.0)
                    continue
                except RayError:
                    self.doubt(node)
            silent.append(node)
        for node in set(self._calls) - set(alive):
            del self._calls[node]
        return silent


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
        self._parcels: dict[Any, _Flight] = {}
        self._beat = beat
        self._is_lost = is_lost
        self._flights: dict[tuple[RunKey, int], _Flight] = {}
        self._calls: dict[Any, _Flight] = {}
        #: Actors whose attempt has ended and that may take the next one, by node and resources.
        self._idle: dict[_Shape, list[Any]] = {}
        #: Actors of an earlier orchestrator that have not said yet what they hold, by the question.
        self._strangers: dict[Any, Any] = {}
        #: When an actor last appeared on a node: Ray starts them one after another.
        self._appeared_at: dict[str | None, float] = {}
        #: Seconds spent listening to actors: only then can one be silent.
        self._listened_s = 0.0
        self._registry_call: Any = None
        self._registry_at = float("-inf")
        self._nodes: dict[str, NodeJoined] = {}
        self._reach = _Reach()
        self._nodes_at = float("-inf")
        self._doubts_at = float("-inf")
        self._pending: list[Event] = []

    def open(self, root: SweepRoot, sweep_id: str, specs: Mapping[RunKey, RunSpec]) -> None:
        self._root = root
        self._sweep_id = sweep_id
        self._specs = specs
        check_storage(root, specs, self._storage)
        self._disconnect = self._connect(sweep_id)
        with _lost_connection_in_words():
            self._registry = self._first_registry()
            if self._storage.kind == "ship":
                self._dock = Dock(root, sweep_id, self._storage)
                _probe_storage(self._dock.store, self._storage)

    def adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None:
        with _lost_connection_in_words():
            self._adopt(attempts)

    def _adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None:
        # First of all: an end that comes before they were found must leave them what they need.
        for key, attempt in sorted(attempts):
            self._flights[key, attempt] = _Flight(key, attempt, None, None, None)
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
                self._take_up(_Flight(held[0], held[1], actor, node, None), actor.wait.remote(0.0, True))
            else:
                ray.kill(actor, no_restart=True)
        if all(flight.actor is not None for flight in self._flights.values()):
            # Whatever the silent ones hold, or will hold once they are placed, is nobody's any more.
            for actor in self._strangers.values():
                ray.kill(actor, no_restart=True)
            self._strangers.clear()

    def execute(self, command: LaunchAttempt | StopAttempt) -> None:
        with _lost_connection_in_words():
            self._execute(command)

    def _execute(self, command: LaunchAttempt | StopAttempt) -> None:
        name = (command.key, command.attempt)
        if isinstance(command, StopAttempt):
            if name in self._flights and self._flights[name].actor is not None:
                self._flights[name].actor.stop.remote(*name, "cancelled", "stopped on request")
        elif name not in self._flights:
            place = _place(command)
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
            self._take_up(_Flight(*name, actor, command.node, place), call)

    def _new_actor(self, command: LaunchAttempt) -> Any:
        resources = command.resources
        return _ACTOR.options(
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
        ).remote(self._namespace, self._registry_name, self._lease_s)

    @property
    def _registry_name(self) -> str:
        return f"{self._sweep_id}{_REGISTRY_NAME}"

    def _first_registry(self) -> Any:
        """The registry, once the cluster has a head.

        Raises:
            ClusterError: it has none.
        """
        deadline = clock.monotonic() + _HEAD_LIMIT_S
        while (registry := self._find_registry()) is None:
            if clock.monotonic() > deadline:
                raise ClusterError(f"The head of the cluster is not alive after {_HEAD_LIMIT_S:g} s; see `ray status`.")
            clock.sleep(0.5)
        return registry

    def _find_registry(self) -> Any:
        """The registry, which is started where there is none; None while the cluster has no head."""
        head = _head_node()
        if head is None:
            return None
        # Never anywhere else: with the node of the registry every trainer of the sweep would lose its lease. A soft
        # affinity goes elsewhere when the head is busy for a moment.
        strategy = NodeAffinitySchedulingStrategy(node_id=head, soft=False)
        return _REGISTRY.options(
            name=self._registry_name,
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            scheduling_strategy=strategy,
        ).remote()

    def _own_actors(self) -> list[str]:
        named = ray.util.list_named_actors(all_namespaces=True)
        prefix = f"{self._sweep_id}/"
        return [
            actor["name"]
            for actor in named
            if actor["namespace"] == self._namespace and actor["name"].startswith(prefix)
        ]

    def _look_at_registry(self) -> None:
        """Open another book where the registry went with its head: nobody may notice until the leases run out."""
        moment = clock.monotonic()
        if moment - self._registry_at < self._lease_s / _REGISTRY_LOOKS:
            return
        self._registry_at = moment
        if self._registry_call is None:
            self._registry_call = self._registry.is_there.remote()
        elif ray.wait([self._registry_call], timeout=0)[0]:
            call, self._registry_call = self._registry_call, None
            try:
                ray.get(call, timeout=1.0)
            except (ActorDiedError, ActorUnschedulableError) as error:
                if _is_unable(error):
                    raise ClusterError(
                        f"The head of the cluster cannot start the registry of leases: {_last_line(error)}. Is "
                        f"dreamsweep installed there as it is here?"
                    ) from None
                self._registry = self._find_registry() or self._registry
            except RayError as error:
                log.info("The registry of leases does not answer: %s", type(error).__name__)

    def poll(self, timeout_s: float) -> list[Event]:
        with _lost_connection_in_words():
            return self._poll(timeout_s)

    def _poll(self, timeout_s: float) -> list[Event]:
        if self._is_lost():  # looked at first: without its head, Ray waits for a minute and then ends this process
            self._open_again()
        self._beat()
        self._give_back_idle()
        self._look_at_nodes()
        self._look_at_registry()
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
        self._reach, self._nodes_at, self._registry_call = _Reach(), float("-inf"), None
        ray.shutdown()
        self._disconnect = self._connect(self._sweep_id)
        self._registry = self._first_registry()
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
                ray.kill(self._registry)
        ray.shutdown()
        if not self._flights:
            self._disconnect()

    def _take_up(self, flight: _Flight, call: Any) -> None:
        self._flights[flight.key, flight.attempt] = flight
        self._calls[call] = flight

    def _watch_on(self, flight: _Flight) -> None:
        self._calls[flight.actor.wait.remote(self._poll_every_s, flight.is_begun)] = flight

    def _hear(self, flight: _Flight, call: Any) -> None:
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

    def _doubt_for(self, flight: _Flight, error: RayError) -> bool:
        """Doubt an attempt whose actor answered with an error; whether the actor is dead."""
        if isinstance(error, (ActorUnavailableError, GetTimeoutError)):
            # No sign of death: the trainer may be well and only its node's network slow.
            self._put_in_doubt(flight, "worker_lost", f"its worker does not answer ({type(error).__name__})")
            return False
        if isinstance(error, RayTaskError):
            # A mistake of ours in the actor; without it the guard ends the trainer, and tells how.
            ray.kill(flight.actor, no_restart=True)
            self._put_in_doubt(flight, "crashed", f"its worker failed: {error.cause!r}", is_dead=True)
        elif _is_unable(error):
            cause = f"its worker cannot be started there (is dreamsweep installed on the node?): {_last_line(error)}"
            self._put_in_doubt(flight, "crashed", cause, is_dead=True)
            assert flight.doubt is not None
            flight.doubt.is_node_suspect = True
        else:
            self._put_in_doubt(flight, *_verdict_of(error), is_dead=True)
        return True

    def _finish(self, flight: _Flight) -> None:
        """Report the end of an attempt whose actor told it."""
        assert flight.report is not None, flight.key
        report = flight.report
        self._pending.append(ended_event(flight.key, flight.attempt, report, clock.now()))
        del self._flights[flight.key, flight.attempt]
        self._registry.forget.remote(_lease_of(flight.key, flight.attempt))
        self._idle.setdefault(flight.place or (), []).append(flight.actor)

    def _ask_for_parcels(self) -> None:
        if self._dock is None:
            return
        moment = clock.monotonic()
        for flight in self._flights.values():
            is_due = flight.report is not None and not flight.is_asked and moment >= flight.ask_at
            if is_due and flight.actor is not None:
                self._ask(flight, self._dock)

    def _ask(self, flight: _Flight, dock: Dock) -> None:
        flight.is_asked = True
        self._parcels[flight.actor.parcel.remote(dock.have(self._specs[flight.key]), flight.is_anew)] = flight

    def _take_in(self, flight: _Flight, call: Any) -> None:
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
        except _LOST_ANSWERS as error:
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

    def _put_in_doubt(self, flight: _Flight, outcome: Outcome, cause: str, *, is_dead: bool = False) -> None:
        if flight.is_warned:
            outcome, cause = "preempted", _TAKEN_AWAY
        since = flight.doubt.since if flight.doubt else clock.monotonic()
        if flight.doubt is None:
            log.info("%s is in doubt: %s", flight.key, cause)
        flight.doubt = _Doubt(since, outcome, cause, is_dead)
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
            lease = _lease_of(flight.key, flight.attempt)
            if self._is_mute(flight):
                # Everybody takes its worker for dead; should it live, its trainer goes with the lease all the same.
                self._registry.revoke.remote(lease)
            if self._is_over_by_guard(flight):
                self._give_up(flight)
            else:
                calls[self._registry.revoke_if_over.remote(lease, limit_s, self._left_no_trace(flight))] = flight
        # All are asked at once: where the registry does not answer, the others are heard no less.
        answered, _ = ray.wait(list(calls), num_returns=len(calls), timeout=_ANSWER_LIMIT_S / 2) if calls else ([], [])
        for call in answered:
            with contextlib.suppress(RayError):
                if ray.get(call, timeout=1.0):
                    self._give_up(calls[call])

    def _give_up(self, flight: _Flight) -> None:
        """Report the end of an attempt in doubt that is certain to be over, or never to begin."""
        assert flight.doubt is not None, flight.key
        self._registry.revoke.remote(_lease_of(flight.key, flight.attempt))
        self._pending.append(
            AttemptEnded(
                at=clock.now(),
                key=flight.key,
                attempt=flight.attempt,
                outcome=flight.doubt.outcome,
                cause=flight.doubt.cause,
                is_node_suspect=flight.doubt.is_node_suspect,
            )
        )
        del self._flights[flight.key, flight.attempt]
        if flight.actor is not None:
            ray.kill(flight.actor, no_restart=True)

    def _silence_limit_s(self) -> float:
        return 3 * self._poll_every_s + self._lease_s / 2

    def _is_mute(self, flight: _Flight) -> bool:
        """Whether nobody will speak for an attempt in doubt any more."""
        assert flight.doubt is not None
        return flight.doubt.is_dead and (flight.actor is not None or not self._strangers)

    def _is_over_by_guard(self, flight: _Flight) -> bool:
        """Whether the guard has written how the trainer ended, for an actor that will not speak any more."""
        return self._is_mute(flight) and self._root.run_dir(flight.key).exit_status(flight.attempt).exists()

    def _left_no_trace(self, flight: _Flight) -> bool:
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
        alive = {node["NodeID"]: _node_event(node, at) for node in ray.nodes() if node["Alive"]}
        draining = _draining_nodes()
        for name in {*self._reach.lost(alive), *draining} & alive.keys():
            del alive[name]
        for flight in self._flights.values():
            if flight.node in draining and flight.actor is not None and not flight.is_warned:
                flight.is_warned = True
                flight.actor.stop.remote(flight.key, flight.attempt, "preempted", _TAKEN_AWAY)
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
        _check_answers(address)
        on_sigterm = signal.getsignal(signal.SIGTERM)
        # Ray's own lines belong into its log folder, not into the table of a sweep.
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        with contextlib.suppress(ValueError, TypeError):  # not the first thread, or a handler that is not Python's
            # Ray takes it, also in the middle of a sweep that had to join another cluster.
            signal.signal(signal.SIGTERM, on_sigterm)
        # What it has to say of dead nodes and workers it would print all the same, also between the lines of --json.
        ray._private.worker.print_to_stdstream = _note_lines
    except (OSError, RuntimeError, RayError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ClusterError(
            f"Cannot join the Ray cluster at cluster.address={address!r}: {reason}. Expected 'auto' "
            f"on a node of a running cluster, or host:port of its head. Is it up (`ray status`), and does this shell "
            f"have its token (RAY_AUTH_MODE, RAY_AUTH_TOKEN_PATH)?"
        ) from None


def _note_lines(data: Mapping[str, Any], **_: object) -> None:
    """Ray's lines for its driver's terminal."""
    for line in data["lines"]:
        log.info("Ray: %s", line)


def _check_answers(address: str) -> None:
    """Fail at once where nobody listens: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:  # not for ray://, which it handles itself
        socket.create_connection((host, int(port)), timeout=_ANSWER_LIMIT_S).close()


def _storage_fault(url: str, storage: StorageSettings) -> str:
    """Why this node cannot use a store or its own disk; empty where it can."""
    try:
        probe(url)
        check_local(storage)
    except StorageError as error:
        return str(error)
    return ""


def _probe_storage(url: str, storage: StorageSettings) -> None:
    """See that the nodes can use a store and their disks, before anything is started on them.

    Raises:
        StorageError: one of them cannot.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")][:_MOST_PROBED]
    task = ray.remote(num_cpus=0, max_retries=0)(_storage_fault)
    calls = {}
    for node in nodes:
        strategy = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
        calls[task.options(scheduling_strategy=strategy).remote(url, storage)] = node.get("NodeManagerHostname", "")
    done, silent = ray.wait(list(calls), num_returns=len(calls), timeout=_PROBE_LIMIT_S) if calls else ([], [])
    for call in done:
        try:
            fault = ray.get(call)
        except RayError:
            continue  # the node is gone; others are there
        if fault:
            raise StorageError(f"On the node {calls[call]}: {fault}")
    if silent:
        raise StorageError(
            f"The store of checkpoints at storage.checkpoints={url!r} does not answer the node {calls[silent[0]]} "
            f"within {_PROBE_LIMIT_S:g} s. Is it reached from there?"
        )


def host_orchestrator(words: Sequence[str], root: SweepRoot, *, namespace: str) -> None:
    """Start an orchestrator in a detached actor on the head of the cluster that this process has joined.

    Raises:
        ClusterError: its head is away.
    """
    head = _head_node()
    if head is None:
        raise ClusterError("The head of the cluster is not alive; see `ray status`.")
    _ORCHESTRATOR.options(
        name=f"orchestrator/{uuid.uuid4().hex}",
        namespace=namespace,
        lifetime="detached",
        num_cpus=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=head, soft=False),
    ).remote(list(words), root, str(ray.get_runtime_context().gcs_address))


def read_spread(ahead: int | None = None) -> "Spread":
    """Reads logs as Ray tasks on the cluster that this process has joined, where their folders must be reachable.

    Args:
        ahead: batches in flight at most; None for two for each CPU.
    """
    most = ahead or max(2, 2 * int(ray.cluster_resources().get("CPU", 1)))

    def spread(function: "Callable[[Batch], Readings]", batches: "Iterable[Batch]") -> "Iterator[Readings]":
        task = ray.remote(num_cpus=1, max_retries=3)(function)
        remaining = iter(batches)
        waiting = deque(task.remote(batch) for batch in islice(remaining, most))
        while waiting:
            readings = ray.get(waiting.popleft())
            waiting.extend(task.remote(batch) for batch in islice(remaining, 1))
            yield readings

    return spread


def serve_head(*, cpus: float | None, gpus: float | None) -> str:
    """Start a cluster of one node, which lives as long as this process; returns its address."""
    ray.init(
        address="local",
        num_cpus=None if cpus is None else int(cpus),
        num_gpus=None if gpus is None else int(gpus),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        # Nothing goes through the object store: all results are files.
        object_store_memory=_OBJECT_STORE_BYTES,
    )
    return str(ray.get_runtime_context().gcs_address)


def mend_head() -> bool:
    """Start the control service of the cluster that `serve_head` started again, should it have died.

    It comes back at its old address. Where its store is on disk, it knows its nodes and actors, who waited for it.

    Returns:
        False if that is of no use: the raylet has died, and everything that ran on its node with it.
    """
    node = ray._private.worker._global_node
    alive = {name for name, _ in node.live_processes()}
    if "raylet" not in alive:
        return False
    if "gcs_server" not in alive:
        log.warning("Ray's control service has died; it is started again.")
        node.kill_gcs_server(check_alive=False)
        node.start_gcs_server()
    return True


def has_attempts(namespace: str) -> bool:
    """Whether attempts are alive on the cluster that this process is connected to, as far as it tells."""
    try:
        named = ray.util.list_named_actors(all_namespaces=True)
    except RayError as error:
        log.warning("Ray does not tell its actors: %s", type(error).__name__)
        return True
    # The registry of leases stays behind where an orchestrator was killed, and needs nobody.
    return any(actor["namespace"] == namespace and not actor["name"].endswith(_REGISTRY_NAME) for actor in named)


def _verdict_of(error: RayError) -> tuple[Outcome, str]:
    """The only translation of Ray's errors into outcomes."""
    if isinstance(error, OutOfMemoryError):
        return "out_of_memory", "Ray's memory monitor killed it: the node ran out of memory"
    if getattr(error, "preempted", False) or "SIGTERM" in str(error) or "preempted" in str(error):
        return "preempted", _TAKEN_AWAY
    if isinstance(error, ActorDiedError):
        return "worker_lost", "its Ray worker died, and the trainer with it"
    if isinstance(error, ActorUnschedulableError):
        return "worker_lost", "its node is gone"
    return "worker_lost", f"Ray lost it ({type(error).__name__})"


def _is_unable(error: RayError) -> bool:
    """Whether an actor never came to be, by an error of its own code: it would be the same with the next one."""
    return isinstance(error, ActorDiedError) and error.actor_init_failed


def _last_line(error: RayError) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def _lease_of(key: RunKey, attempt: int) -> str:
    return f"{key}/{attempt}"


def _draining_nodes() -> set[str]:
    """The nodes that Ray was told to give up soon: by SIGTERM to their `ray start --block`, or by `ray drain-node`."""
    state = ray._private.state.state
    return set(state.get_draining_nodes())


def _head_node() -> str | None:
    """The head of the cluster; None while it is away."""
    heads = (node for node in ray.nodes() if node["Alive"] and "node:__internal_head__" in node["Resources"])
    return next((str(node["NodeID"]) for node in heads), None)


@contextlib.contextmanager
def _lost_connection_in_words() -> Iterator[None]:
    try:
        yield
    except (RayError, ConnectionError, TimeoutError) as error:
        raise ClusterError(
            f"The connection to the Ray cluster is lost ({type(error).__name__}). Attempts that still run go on; "
            f"the same command finds them again once the cluster answers (`ray status`)."
        ) from None


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
