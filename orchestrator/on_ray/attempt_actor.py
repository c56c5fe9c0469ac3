"""The actor that runs attempts on a node, one after another, and renews the lease that lets each trainer live."""

import logging
import os
import threading
from collections.abc import Mapping
from typing import Any

import ray

from orchestrator import clock
from orchestrator.attempts.shipping import Handover, Parcel
from orchestrator.attempts.worker import AttemptReport, AttemptWorker, Terms
from orchestrator.leases import NoLeaseError
from orchestrator.on_ray.lease_registry import lease_name
from orchestrator.outcomes import Outcome
from sweeps.contracts import RunKey, RunSpec
from sweeps.layout import RunDir

log = logging.getLogger(__name__)

#: How soon an attempt that was just begun is heard of, if it does not end before.
_FIRST_WORD_S = 0.2
_FIRST_LEASE_TRIES = 20
#: A lease is renewed four times before it runs out; after a failure another try follows soon.
_RENEWALS, _RENEWAL_TRIES = 4, 20
#: An actor without work that nobody has asked anything for so long goes: its orchestrator may never come back.
_UNASKED_LIMIT_S = 3600.0


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
            is_granted = ray.get(registry.renew.remote(lease_name(key, attempt)), timeout=self._lease_s / _RENEWALS)
            self._registry = registry
        except Exception as error:  # whatever it is: without this thread, every later attempt here would end as well
            log.info("No lease was granted for %s: %r", key, error)
            self._registry = None  # a head that came back has another one
            return None
        self._is_given_up = not is_granted
        return asked_at + self._lease_s if is_granted else None


ATTEMPT_ACTOR: Any = ray.remote(max_restarts=0, max_task_retries=0)(AttemptActor)
