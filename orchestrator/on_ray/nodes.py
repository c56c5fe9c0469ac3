"""The nodes of the cluster as Ray lists them, and which of them are within reach."""

import socket
from collections.abc import Iterable, Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.events import NodeJoined

# Ray's own resources, as ray.nodes() lists them beside the custom ones.
_OWN_RESOURCES = ("CPU", "GPU", "memory", "object_store_memory")


def head_node() -> str | None:
    """The head of the cluster; None while it is away."""
    heads = (node for node in ray.nodes() if node["Alive"] and "node:__internal_head__" in node["Resources"])
    return next((str(node["NodeID"]) for node in heads), None)


def draining_nodes() -> set[str]:
    """The nodes that Ray was told to give up soon: by SIGTERM to their `ray start --block`, or by `ray drain-node`."""
    state = ray._private.state.state
    return set(state.get_draining_nodes())


def node_event(node: Mapping[str, Any], at: float) -> NodeJoined:
    """What Ray lists of a node, as an event; memory in bytes."""
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


def resources_of(event: NodeJoined) -> tuple[object, ...]:
    """What a node has, to be compared with what it had."""
    return event.cpus, event.gpus, event.memory_bytes, dict(event.custom)


def _answer() -> None:
    """What a node runs to show that it is within reach."""


_ANSWER: Any = ray.remote(num_cpus=0, max_retries=0)(_answer)


class Reach:
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
