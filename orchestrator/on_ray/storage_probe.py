"""Sees before a launch that the nodes can use the store of checkpoints."""

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.attempts.checkpoint_store import probe
from orchestrator.attempts.outbox import check_local
from sweeps.errors import StorageError
from sweeps.settings import StorageSettings

#: Of a store of checkpoints: on how many nodes it is tried at a launch, and how long that may take.
_MOST_PROBED = 4
_PROBE_LIMIT_S = 90.0


def _storage_fault(url: str, storage: StorageSettings) -> str:
    """Why this node cannot use a store or its own disk; empty where it can."""
    try:
        probe(url)
        check_local(storage)
    except StorageError as error:
        return str(error)
    return ""


def probe_storage(url: str, storage: StorageSettings) -> None:
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
