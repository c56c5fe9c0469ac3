"""The contract of clusters, kept by processes of this machine and by the fake one that other tests use."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from cluster_contract import ClusterContract
from fakes.fake_cluster import FakeCluster
from fakes.fake_runs import fake_run, processes_with, wait_until

from orchestrator.cluster import Cluster
from orchestrator.commands import LaunchAttempt
from orchestrator.events import AttemptEnded, Event
from orchestrator.process_cluster import ProcessCluster
from sweeps.layout import SweepRoot

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
