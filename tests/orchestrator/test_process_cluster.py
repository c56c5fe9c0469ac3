"""The contract of clusters, kept by processes of this machine and by the fake one that other tests use."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_contract import ClusterContract
from fakes.fake_cluster import FakeCluster
from fakes.fake_runs import fake_run, processes_with, run_key, wait_until

from orchestrator.cluster import Cluster
from orchestrator.commands import LaunchAttempt
from orchestrator.events import AttemptEnded, Event
from orchestrator.process_cluster import ProcessCluster
from sweeps.contracts import Resources
from sweeps.errors import ClusterError
from sweeps.layout import SweepRoot

#: Seeds, and the GPUs of each.
ASKED = ((0, 1.0), (1, 2.0), (2, 0.0))
LAUNCH = """
import sys
from pathlib import Path
from fakes.fake_runs import fake_run
from orchestrator.commands import LaunchAttempt
from orchestrator.process_cluster import ProcessCluster
from sweeps.layout import SweepRoot
spec = fake_run("deaf")
cluster = ProcessCluster(cpus=1)
cluster.open(SweepRoot(Path(sys.argv[1])), "s", {spec.key: spec})
cluster.execute(LaunchAttempt(key=spec.key, attempt=1, node="this machine"))
while True:
    for event in cluster.poll(1.0):
        print(type(event).__name__, flush=True)
"""


class TestProcessCluster(ClusterContract):
    @classmethod
    def make_cluster(cls) -> Cluster:
        return ProcessCluster(cpus=4.0)


class TestFakeCluster(ClusterContract):
    is_real = False

    @classmethod
    def make_cluster(cls) -> Cluster:
        return FakeCluster(cpus=4.0)


def test_closing_ends_what_runs(tmp_path: Path) -> None:
    """Attempts here do not outlive the connection."""
    spec = fake_run("hang")
    cluster = ProcessCluster(cpus=1.0)
    cluster.open(SweepRoot(tmp_path), "s", {spec.key: spec})
    cluster.execute(LaunchAttempt(key=spec.key, attempt=1, node="this machine"))
    wait_until(lambda: processes_with(str(tmp_path)))

    cluster.close()

    assert processes_with(str(tmp_path)) == []


def test_attempts_end_with_a_killed_orchestrator(tmp_path: Path) -> None:
    """The guard of each sees to that, also where the trainer is deaf."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", LAUNCH, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ, start_new_session=True) as driver:
        assert driver.stdout is not None
        assert [driver.stdout.readline(), driver.stdout.readline()] == ["NodeJoined\n", "AttemptStarted\n"]
        driver.send_signal(signal.SIGKILL)

    cluster = ProcessCluster(cpus=1.0)
    spec = fake_run("deaf")
    cluster.open(SweepRoot(tmp_path), "s", {spec.key: spec})
    cluster.adopt([(spec.key, 1)])
    events: list[Event] = []
    wait_until(lambda: events.extend(cluster.poll(0.1)) or any(isinstance(event, AttemptEnded) for event in events))

    assert processes_with(str(tmp_path)) == []  # the next attempt may begin
    cluster.close()


def test_each_attempt_sees_the_gpus_that_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at a time would otherwise both train on the first one; a run without GPUs sees none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-b,6")
    command = f"sh -c 'echo $CUDA_VISIBLE_DEVICES > {tmp_path}/{{seed}}.gpus'"
    specs = [fake_run(seed=seed, command=command, resources=Resources(cpus=0.1, gpus=gpus)) for seed, gpus in ASKED]
    cluster = ProcessCluster(cpus=4.0)
    cluster.open(SweepRoot(tmp_path), "s", {spec.key: spec for spec in specs})
    for spec, held in zip(specs, [(0,), (1, 2), ()], strict=True):
        cluster.execute(LaunchAttempt(key=spec.key, attempt=1, node="this machine", gpus=held))
    ended: list[Event] = []
    wait_until(lambda: ended.extend(cluster.poll(0.1)) or sum(isinstance(each, AttemptEnded) for each in ended) == 3)
    cluster.close()

    assert [(tmp_path / f"{seed}.gpus").read_text().strip() for seed, _ in ASKED] == ["4", "GPU-b,6", ""]


def test_more_gpus_than_this_process_may_use_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest belongs to somebody else."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")

    with pytest.raises(ClusterError, match=r"cluster\.gpus is 2, but CUDA_VISIBLE_DEVICES='4' leaves 1 of"):
        ProcessCluster(gpus=2.0).open(SweepRoot(tmp_path), "s", {})


def test_the_end_of_a_lost_attempt_is_dated(tmp_path: Path) -> None:
    """By what its guard wrote down, however long nobody was there to read it; None where it wrote nothing."""
    spec = fake_run()
    exit_status = SweepRoot(tmp_path).run_dir(spec.key).exit_status(1)
    exit_status.parent.mkdir(parents=True)
    exit_status.write_text('{"ended_at": 1e9}\n')
    cluster = ProcessCluster(cpus=1.0)
    cluster.open(SweepRoot(tmp_path), "s", {spec.key: spec})
    cluster.adopt([(spec.key, 1), (run_key(1), 1)])

    events: list[Event] = []
    wait_until(lambda: events.extend(cluster.poll(0.1)) or sum(isinstance(each, AttemptEnded) for each in events) == 2)
    cluster.close()

    assert {each.key.seed: each.ended_at for each in events if isinstance(each, AttemptEnded)} == {0: 1e9, 1: None}
