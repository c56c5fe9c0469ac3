"""Measures what a plan's warnings need to know of the machines: those of this host, and what the config says."""

import os
import shutil
import subprocess
from pathlib import Path

from orchestrator.host_gpus import visible_gpus
from sweeps.capacity import Capacity
from sweeps.settings import SweepSettings

_GIB = 2**30


def capacity_of(settings: SweepSettings) -> Capacity:
    """What the cluster of these settings offers, without joining it: only this host's own figures are certain."""
    cluster = settings.cluster
    told = None if cluster.gpu_memory_gb is None else int(cluster.gpu_memory_gb * _GIB)
    disk = _free_bytes(Path(settings.root).expanduser())
    if cluster.backend == "ray":
        return Capacity(
            cpus=cluster.cpus,
            gpus=cluster.gpus,
            disk_bytes=disk,
            gpu_memory_bytes=told,
            gpu_compute_capability=cluster.gpu_compute_capability,
        )
    gpus = float(len(visible_gpus(os.environ))) if cluster.gpus is None else cluster.gpus
    return Capacity(
        cpus=cluster.cpus or float(os.cpu_count() or 1),
        gpus=gpus,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        disk_bytes=disk,
        gpu_memory_bytes=told or (_gpu_memory_bytes() if gpus else None),
        gpu_compute_capability=cluster.gpu_compute_capability or (_least("compute_cap") if gpus else None),
    )


def _gpu_memory_bytes() -> int | None:
    """Memory of the smallest GPU of this host; None where its driver does not say."""
    mebibytes = _least("memory.total")
    return None if mebibytes is None else int(mebibytes) * 2**20


def _least(figure: str) -> float | None:
    """The least value of a figure over this host's GPUs; None where their driver does not say."""
    command = ["nvidia-smi", f"--query-gpu={figure}", "--format=csv,noheader,nounits"]
    try:
        printed = subprocess.run(command, capture_output=True, check=True, text=True, timeout=5).stdout
        return min(float(line) for line in printed.splitlines())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _free_bytes(path: Path) -> int | None:
    """Free space where a folder lies, or will lie."""
    for folder in (path.absolute(), *path.absolute().parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return None
