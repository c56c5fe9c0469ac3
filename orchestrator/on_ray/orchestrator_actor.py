"""Orchestrators that are left on the cluster: `run --detach`."""

import os
import sys
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.attempts.process import GuardedProcess
from orchestrator.on_ray.nodes import head_node
from sweeps.errors import ClusterError
from sweeps.layout import SweepRoot


class OrchestratorActor:
    """Runs an orchestrator on the head, under a guard; goes when it has ended."""

    def __init__(self, words: Sequence[str], root: SweepRoot, folder: Path, address: str) -> None:
        process = GuardedProcess(
            [sys.executable, "-m", "orchestrator.cli", *words],
            environ={**os.environ, "RAY_ADDRESS": address},
            # Where the user stands, since paths among the words may be relative; that folder may be the user's own.
            cwd=folder if folder.is_dir() else root.path,
            output=root.orchestrator_log,
            header="",
            exit_path=root.orchestrator_exit_status,
            orphan_grace_s=30.0,
        )
        threading.Thread(target=self._leave_after, args=(process,), daemon=True).start()

    def _leave_after(self, process: GuardedProcess) -> None:
        while process.wait(60.0) is None and not process.is_guard_lost:
            continue
        os._exit(0)


_ORCHESTRATOR: Any = ray.remote(max_restarts=0, max_task_retries=0)(OrchestratorActor)


def host_orchestrator(words: Sequence[str], root: SweepRoot, folder: Path, *, namespace: str) -> None:
    """Start an orchestrator in a detached actor on the head of the cluster that this process has joined.

    Args:
        words: of its command.
        root: where its log goes.
        folder: where it works; the root where the head has no such folder.
        namespace: of the cluster's actors.

    Raises:
        ClusterError: its head is away.
    """
    head = head_node()
    if head is None:
        raise ClusterError("The head of the cluster is not alive; see `ray status`.")
    _ORCHESTRATOR.options(
        name=f"orchestrator/{uuid.uuid4().hex}",
        namespace=namespace,
        lifetime="detached",
        num_cpus=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=head, soft=False),
    ).remote(list(words), root, folder, str(ray.get_runtime_context().gcs_address))
