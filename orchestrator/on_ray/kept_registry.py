"""The registry of leases as an orchestrator keeps it: on the head, started where there is none."""

import logging
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnschedulableError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator import clock
from orchestrator.on_ray.lease_registry import REGISTRY, REGISTRY_NAME
from orchestrator.on_ray.nodes import head_node
from orchestrator.on_ray.ray_errors import is_unable, last_line
from sweeps.errors import ClusterError

log = logging.getLogger(__name__)

#: How long a head may be away when an orchestrator comes.
_HEAD_LIMIT_S = 60.0
#: How often in the time of a lease it is looked at.
_LOOKS = 12


class KeptRegistry:
    """The registry of one sweep, which outlives orchestrators.

    Raises (when made):
        ClusterError: the cluster has no head.
    """

    def __init__(self, sweep_id: str, *, namespace: str, lease_s: float) -> None:
        self.name = f"{sweep_id}{REGISTRY_NAME}"
        self._namespace = namespace
        self._lease_s = lease_s
        self._call: Any = None
        self._looked_at = float("-inf")
        #: The actor itself; what it can be asked is in lease_registry.py.
        self.actor: Any = self._first()

    def look(self) -> None:
        """Open another book where the registry went with its head: nobody may notice until the leases run out.

        Raises:
            ClusterError: the head cannot start it.
        """
        moment = clock.monotonic()
        if moment - self._looked_at < self._lease_s / _LOOKS:
            return
        self._looked_at = moment
        if self._call is None:
            self._call = self.actor.is_there.remote()
        elif ray.wait([self._call], timeout=0)[0]:
            call, self._call = self._call, None
            try:
                ray.get(call, timeout=1.0)
            except (ActorDiedError, ActorUnschedulableError) as error:
                if is_unable(error):
                    raise ClusterError(
                        f"The head of the cluster cannot start the registry of leases: {last_line(error)}. Is "
                        f"dreamsweep installed there as it is here?"
                    ) from None
                self.actor = self._found() or self.actor
            except RayError as error:
                log.info("The registry of leases does not answer: %s", type(error).__name__)

    def _first(self) -> Any:
        deadline = clock.monotonic() + _HEAD_LIMIT_S
        while (actor := self._found()) is None:
            if clock.monotonic() > deadline:
                raise ClusterError(f"The head of the cluster is not alive after {_HEAD_LIMIT_S:g} s; see `ray status`.")
            clock.sleep(0.5)
        return actor

    def _found(self) -> Any:
        """The actor, which is started where there is none; None while the cluster has no head."""
        head = head_node()
        if head is None:
            return None
        # Never anywhere else: with the node of the registry every trainer of the sweep would lose its lease. A soft
        # affinity goes elsewhere when the head is busy for a moment.
        strategy = NodeAffinitySchedulingStrategy(node_id=head, soft=False)
        return REGISTRY.options(
            name=self.name,
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            scheduling_strategy=strategy,
        ).remote()
