"""The contract of clusters, kept by a real Ray on this machine; and what only Ray can do: outlive its orchestrator."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_contract import Bench, ClusterContract, logged_steps
from fakes.fake_runs import is_alive, wait_until

from orchestrator.attempts.guard import descendants
from orchestrator.cluster import Cluster
from orchestrator.local_head import LocalHead
from orchestrator.on_ray import connection
from orchestrator.on_ray.ray_cluster import RayCluster
from sweeps.errors import ClusterError
from sweeps.layout import SweepRoot

pytestmark = [
    pytest.mark.ray,
    # Ray leaves the end of its sockets and log files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*accelerator visible devices env var.*:FutureWarning"),
]

NAMESPACE = "dreamsweep-test"
#: Launches a run and is gone, without a word to anybody, as soon as it has started.
DRIVER = """
import os, sys
from pathlib import Path
from cluster_contract import Bench
from orchestrator.on_ray import connection
from orchestrator.on_ray.ray_cluster import RayCluster
from sweeps.layout import SweepRoot
address, root, sweep_id, step_s = sys.argv[1:]
def connect(_):
    connection.join(address)
    return lambda: None
bench = Bench(RayCluster(connect, namespace="dreamsweep-test", poll_every_s=0.2), SweepRoot(Path(root)))
bench.cluster.open(bench.root, sweep_id, bench.specs)
spec = bench.run(steps=40, step_s=float(step_s))
bench.launch(spec)
print(bench.started(spec).pid, flush=True)
os.kill(os.getpid(), 9)
"""


class Head:
    """The Ray of this module."""

    local: LocalHead
    address: str
    pid: int


@pytest.fixture(scope="module", autouse=True)
def head() -> Iterator[type[Head]]:
    """One cluster for the module, which lives in a process of its own."""
    Head.local = LocalHead(f"test{os.getpid()}", cpus=4.0, gpus=0.0, namespace=NAMESPACE)
    try:
        Head.address = Head.local.address()
        Head.pid = int(Head.local._live_record()["pid"])  # type: ignore[index] - only a test asks for it
        yield Head
    finally:
        Head.local.stop()
    wait_until(lambda: not is_alive(Head.pid), limit_s=30)


def cluster() -> RayCluster:
    def connect(_sweep_id: str) -> object:
        connection.join(Head.address)
        return lambda: None

    return RayCluster(connect, namespace=NAMESPACE, poll_every_s=0.2)  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A cluster that is not open yet, for a sweep of its own."""
    bench = Bench(cluster(), SweepRoot(tmp_path))
    yield bench
    bench.cluster.close()


def sweep_id(bench: Bench) -> str:
    return bench.root.path.name[:30]


def leave_behind(bench: Bench, *, step_s: float) -> int:
    """Have another orchestrator launch a run and die; returns the process id of the trainer."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", DRIVER, Head.address, str(bench.root.path), sweep_id(bench), str(step_s)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environ, timeout=90, check=False)
    assert done.returncode == -signal.SIGKILL
    return int(done.stdout)


def ray_workers() -> list[int]:
    """The processes in which actors of this head live."""
    found = []
    for pid in descendants(Head.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes() if is_alive(pid) else b""
        if words.startswith(b"ray::AttemptActor"):
            found.append(pid)
    return found


def control_service() -> int:
    """The process of Ray's GCS; 0 while there is none."""
    for pid in descendants(Head.pid):
        if is_alive(pid) and b"/gcs/gcs_server" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return 0


class TestRayCluster(ClusterContract):
    @classmethod
    def make_cluster(cls) -> Cluster:
        return cluster()


def test_attempts_outlive_the_orchestrator(bench: Bench) -> None:
    """A killed orchestrator's attempt trains on; the next one finds it, and no training step is lost or repeated."""
    pid = leave_behind(bench, step_s=0.15)
    assert is_alive(pid)
    bench.cluster.open(bench.root, sweep_id(bench), bench.specs)
    spec = bench.run(steps=40, step_s=0.15)

    bench.cluster.adopt([(spec.key, 1)])

    assert (bench.started(spec).pid, bench.ended(spec).outcome) == (pid, "succeeded")
    assert logged_steps(bench.run_dir(spec)) == list(range(1, 41))
    assert bench.starts(spec) == 1


def test_an_attempt_that_ended_meanwhile_is_told(bench: Bench) -> None:
    """Its actor keeps the verdict until somebody asks for it."""
    leave_behind(bench, step_s=0.0)
    bench.cluster.open(bench.root, sweep_id(bench), bench.specs)
    spec = bench.run(steps=40)
    wait_until(bench.run_dir(spec).done.exists)

    bench.cluster.adopt([(spec.key, 1)])

    assert bench.ended(spec).outcome == "succeeded"
    assert bench.starts(spec) == 1


def test_an_attempt_that_nobody_wants_is_ended(bench: Bench) -> None:
    """What the journal does not know was never launched; it must not write into the directory of the next attempt."""
    pid = leave_behind(bench, step_s=1.0)
    bench.cluster.open(bench.root, sweep_id(bench), bench.specs)

    bench.cluster.adopt([])

    wait_until(lambda: not is_alive(pid))


def test_an_adopted_attempt_can_be_stopped(bench: Bench) -> None:
    """Whoever finds it has all power over it."""
    pid = leave_behind(bench, step_s=1.0)
    bench.cluster.open(bench.root, sweep_id(bench), bench.specs)
    spec = bench.run(steps=40, step_s=1.0)
    bench.cluster.adopt([(spec.key, 1)])
    bench.stop(spec)

    assert bench.ended(spec).outcome == "cancelled"
    assert not is_alive(pid)


def test_a_killed_worker_is_lost_and_its_trainer_with_it(bench: Bench) -> None:
    """kill -9 of Ray's worker process, as the kernel does it when memory runs out."""
    bench.cluster.open(bench.root, sweep_id(bench), bench.specs)
    spec = bench.run("deaf", grace_s=0.5)
    before = set(ray_workers())
    bench.launch(spec)
    pid = bench.started(spec).pid
    (worker,) = set(ray_workers()) - before
    os.kill(worker, signal.SIGKILL)

    end = bench.ended(spec)

    assert end.outcome == "worker_lost"
    wait_until(lambda: not is_alive(pid))


def test_files_where_the_user_stands_are_no_modules_of_workers(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would have its workers take them for Python's own, and none would start."""
    for name in ("statistics.py", "sweeps.py"):
        (tmp_path / name).write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    bench.cluster.open(bench.root, sweep_id(bench), bench.specs)
    spec = bench.run()
    bench.launch(spec)

    assert bench.ended(spec).outcome == "succeeded"
    assert Path.cwd() == tmp_path


def test_an_attempt_without_a_lease_never_begins(bench: Bench) -> None:
    """Its node, and not the run, is at fault: it is tried again elsewhere."""
    bench.cluster.open(bench.root, sweep_id(bench), bench.specs)
    spec = bench.run()
    bench.cluster._registry.actor.revoke.remote(f"{spec.key}/1")  # type: ignore[attr-defined] - only a test does so
    bench.launch(spec)

    end = bench.ended(spec)

    assert (end.outcome, end.cause) == ("worker_lost", "its worker got no lease from the head")
    assert not (bench.run_dir(spec).path / "starts").exists()


def test_the_control_service_of_a_head_may_die(bench: Bench) -> None:
    """It comes back where it was, and knows everybody: attempts go on, and others can be launched."""
    bench.cluster.open(bench.root, sweep_id(bench), bench.specs)
    spec = bench.run(steps=40, step_s=0.15)
    bench.launch(spec)
    pid = bench.started(spec).pid
    died: list[int] = [0]
    for _ in range(2):  # the second time while everybody waits for it: it must come back all the same
        died.append(control_service())
        os.kill(died[-1], signal.SIGKILL)
        wait_until(lambda: control_service() not in died, limit_s=30)
    other = bench.run()
    bench.launch(other)

    assert [bench.ended(run).outcome for run in (spec, other)] == ["succeeded", "succeeded"]
    assert (bench.started(spec).pid, bench.starts(spec)) == (pid, 1)
    assert logged_steps(bench.run_dir(spec)) == list(range(1, 41))


def test_an_address_without_a_cluster_is_told_in_words() -> None:
    """At once, with the address and what to look at; Ray itself once tried for five minutes."""
    with pytest.raises(ClusterError, match=r"cluster\.address='127\.0\.0\.1:1': .*refused\. Expected .*`ray status`"):
        connection.join("127.0.0.1:1")
