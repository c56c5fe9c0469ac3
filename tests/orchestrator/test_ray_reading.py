"""Reading logs on a real Ray cluster."""

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregation.dataset.collect import collect
from orchestrator.local_head import LocalHead
from orchestrator.on_ray import connection
from orchestrator.on_ray.log_reading import read_spread


@pytest.fixture
def head() -> Iterator[LocalHead]:
    """A cluster of one node, which this process has joined."""
    head = LocalHead(f"reading{os.getpid()}", cpus=2.0, gpus=0.0, namespace="dreamsweep-test")
    connection.join(head.address())
    try:
        yield head
    finally:
        connection.ray.shutdown()
        head.stop()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves its sockets to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*accelerator visible devices env var.*:FutureWarning")
@pytest.mark.usefixtures("head")
def test_a_cluster_reads_the_same_store_byte_for_byte(tmp_path: Path) -> None:
    """Whoever reads, the dataset's files are the same."""
    logs = tmp_path / "logs"
    for task in ("dmc_walker_walk", "dmc_cheetah_run"):
        for seed in range(4):
            folder = logs / task / "dreamerv3" / str(seed)
            folder.mkdir(parents=True)
            lines = [json.dumps({"step": step, "episode/score": step / 7 + seed}) for step in range(1, 2000, 3)]
            (folder / "scores.jsonl").write_text("\n".join(lines) + '\n{"step": 5, "epi', encoding="utf-8")

    here = collect([logs], tmp_path / "here", suite="dmc_proprio")
    there = collect([logs], tmp_path / "there", suite="dmc_proprio", spread=read_spread(2))

    assert {**there.to_json(), "store": ""} == {**here.to_json(), "store": ""}
    assert _files(tmp_path / "there" / "scores") == _files(tmp_path / "here" / "scores")
    assert here.rows == 8 * 667


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*accelerator visible devices env var.*:FutureWarning")
@pytest.mark.usefixtures("head")
def test_a_cluster_without_a_free_cpu_is_told(tmp_path: Path) -> None:
    """Whoever collects from a busy sweep learns why nothing happens; when a CPU is free, it goes on."""
    folder, is_told = tmp_path / "logs" / "dmc_walker_walk" / "dreamerv3" / "0", tmp_path / "told"
    folder.mkdir(parents=True)
    (folder / "scores.jsonl").write_text('{"step": 1, "episode/score": 2.0}\n')

    def hold(until: Path) -> None:
        while not until.exists():
            time.sleep(0.05)

    holder = connection.ray.remote(num_cpus=2)(hold).remote(is_told)
    while connection.ray.available_resources().get("CPU", 0) >= 1:
        time.sleep(0.05)

    class Release(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            is_told.write_text(record.getMessage())

    logger, handler = logging.getLogger("orchestrator.on_ray.log_reading"), Release()
    logger.addHandler(handler)
    try:
        summary = collect([tmp_path / "logs"], tmp_path / "store", spread=read_spread(patience_s=0.5))
    finally:
        logger.removeHandler(handler)
        is_told.touch()
    connection.ray.get(holder)

    assert summary.rows == 1
    assert "attempts hold the cluster's CPUs (2)" in is_told.read_text()


def _files(folder: Path) -> dict[str, bytes]:
    folder = folder.resolve()
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")}
    assert len(files) == 2, sorted(files)
    return files
