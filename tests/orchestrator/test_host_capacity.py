"""What a plan takes the machines to offer."""

import os
from pathlib import Path

import pytest

from orchestrator.command_line.host_capacity import capacity_of
from orchestrator.events import NodeJoined
from orchestrator.process_cluster import ProcessCluster
from sweeps.layout import SweepRoot
from sweeps.settings import ClusterSettings, Method, Suite, SweepSettings


def settings(root: Path, **cluster: object) -> SweepSettings:
    """A sweep under a root, on a cluster."""
    return SweepSettings(
        name="test",
        root=str(root),
        suite=Suite(name="ponds", tasks=["ponds_a"], steps=10),
        method=Method(name="plain"),
        task="all",
        train_ratio="default",
        seed=0,
        trainer={},
        cluster=ClusterSettings.model_validate({"backend": "process", **cluster}),
    )


def test_this_host_is_measured(tmp_path: Path) -> None:
    """CPUs, memory, and the free space where the root will lie."""
    found = capacity_of(settings(tmp_path / "not" / "yet" / "there"))

    assert found.cpus == os.cpu_count()
    assert found.memory_bytes is not None
    assert found.memory_bytes > 2**28
    assert found.disk_bytes is not None


def test_of_a_cluster_to_be_joined_only_the_disk_is_known(tmp_path: Path) -> None:
    """Nothing of this host is taken for the cluster's."""
    found = capacity_of(settings(tmp_path, backend="ray"))

    assert (found.cpus, found.gpus, found.memory_bytes, found.gpu_memory_bytes) == (None, None, None, None)


@pytest.mark.parametrize(("printed", "bytes_"), [("143771\n24576", 24576 * 2**20), ("[N/A]", None)])
def test_gpu_memory_is_asked_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, bytes_: int | None
) -> None:
    """The smallest GPU counts, and an answer that is no number is none."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{printed}\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert capacity_of(settings(tmp_path, gpus=2)).gpu_memory_bytes == bytes_
    assert capacity_of(settings(tmp_path, gpus=2, gpu_memory_gb=8)).gpu_memory_bytes == 8 * 2**30


def test_the_gpus_of_this_host_are_counted_alike_for_the_plan_and_for_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cluster.gpus=null` is all that this process may use."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    cluster = ProcessCluster(cpus=1.0)
    cluster.open(SweepRoot(tmp_path), "s", {})

    (joined,) = cluster.poll(1.0)
    cluster.close()

    assert isinstance(joined, NodeJoined)
    assert joined.gpus == capacity_of(settings(tmp_path)).gpus == 2.0
