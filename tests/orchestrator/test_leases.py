"""Leases: when it is certain that a trainer on a node that nobody reaches is gone, and that it stays gone."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster_contract import Bench
from fakes.fake_runs import fake_run, is_alive, processes_with, wait_until
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import clock
from orchestrator.attempts.guard import descendants
from orchestrator.attempts.worker import AttemptWorker, Terms
from orchestrator.events import AttemptEnded
from orchestrator.leases import LeaseBook, margin_s
from orchestrator.local_head import LocalHead
from orchestrator.on_ray import connection
from orchestrator.on_ray.ray_cluster import RayCluster
from orchestrator.outcomes import Verdict
from sweeps.files import read_records
from sweeps.layout import RunDir, SweepRoot

LEASE_S = 4.0

# --- the book


def test_the_age_of_a_lease_counts_from_its_last_grant() -> None:
    """Each attempt has its own."""
    book = LeaseBook(opened_at=10.0)
    book.grant("a", 12.0)
    book.grant("a", 15.0)
    book.grant("b", 16.0)

    assert (book.age_s("a", 20.0), book.age_s("b", 20.0)) == (5.0, 4.0)


def test_an_attempt_that_the_book_does_not_know_may_have_had_a_lease_when_it_was_opened() -> None:
    """An earlier book may have granted it in its last moment."""
    assert LeaseBook(opened_at=10.0).age_s("a", 20.0) == 10.0


def test_an_attempt_that_was_given_up_is_granted_nothing() -> None:
    """However often it asks; the others go on."""
    book = LeaseBook(opened_at=0.0)
    assert book.grant("a", 1.0)
    book.revoke("a")

    assert [book.grant("a", 2.0), book.grant("a", 3.0), book.grant("b", 3.0)] == [False, False, True]
    assert book.age_s("a", 4.0) == 3.0


def test_an_attempt_that_has_ended_is_forgotten() -> None:
    """A book that is kept for months stays small."""
    book = LeaseBook(opened_at=0.0)
    book.grant("a", 1.0)
    book.forget("a")
    book.forget("never seen")

    assert book.grants == {}


def test_the_margin_grows_with_the_lease() -> None:
    """Two seconds for the kill, and a tenth for clocks that do not run alike."""
    assert [margin_s(lease_s) for lease_s in (0.0, 10.0, 60.0)] == [2.0, 3.0, 8.0]


@dataclass(frozen=True)
class Renewal:
    """A worker asks, the book grants, the answer arrives or is lost; seconds of one clock, from one to the next."""

    pause_s: float
    to_book_s: float
    to_worker_s: float | None
    is_to_new_book: bool


SECONDS = st.one_of(st.just(0.0), st.floats(0.0, 1.0), st.floats(0.0, 300.0))
RENEWALS = st.lists(st.builds(Renewal, SECONDS, SECONDS, st.none() | SECONDS, st.booleans()), max_size=12)


@given(renewals=RENEWALS, lease_s=st.floats(1.0, 120.0), look_s=SECONDS, drift=st.floats(-0.05, 0.05))
def test_when_the_book_says_that_a_lease_is_over_it_is(
    renewals: list[Renewal], lease_s: float, look_s: float, drift: float
) -> None:
    """Whatever is late or lost, whenever the head is replaced, and with a clock of the worker that is 5 % wrong.

    The guard takes up to a second to kill.
    """
    moment = 1000.0
    book = LeaseBook(opened_at=moment)
    gone_at = float("-inf")
    for renewal in renewals:
        moment += renewal.pause_s
        asked_at = moment
        moment += renewal.to_book_s
        book.grant("a", moment)
        if renewal.to_worker_s is not None:
            # By its own clock the worker has `lease_s` from before it asked; an answer that comes later means nothing.
            until = asked_at + lease_s * (1 + drift)
            if moment + renewal.to_worker_s < until:
                gone_at = max(gone_at, until + 1.0)
        if renewal.is_to_new_book:
            book = LeaseBook(opened_at=moment)
    at = moment + look_s

    assert book.age_s("a", at) <= lease_s + margin_s(lease_s) or gone_at <= at


# --- the worker


def test_a_worker_that_was_frozen_before_it_began_starts_nothing(tmp_path: Path) -> None:
    """Its lease ran out meanwhile: another attempt may be at work in the run directory."""
    run_dir = RunDir(tmp_path / "run")
    worker = AttemptWorker(fake_run("hang"), run_dir, 1, Terms(clock.boottime() + 0.2))
    time.sleep(0.3)
    worker.start()
    report = worker.wait(10.0)

    assert (report.pid, report.verdict) == (
        0,
        Verdict("worker_lost", "its lease ran out before its trainer could be started"),
    )
    assert not (run_dir.path / "starts").exists()


def test_a_lease_that_is_renewed_before_the_trainer_starts_counts(tmp_path: Path) -> None:
    """Looking after a large checkpoint may take longer than a lease."""
    worker = AttemptWorker(fake_run(), RunDir(tmp_path / "run"), 1, Terms(clock.boottime() + 0.2))
    time.sleep(0.3)
    worker.renew_lease(clock.boottime() + 20.0)
    worker.start()

    assert worker.wait(10.0).verdict == Verdict("succeeded")


def test_a_trainer_whose_lease_ran_out_is_a_lost_worker(tmp_path: Path) -> None:
    """The kernel's killer of processes sends the same signal, and would cost a retry."""
    worker = AttemptWorker(fake_run("hang"), RunDir(tmp_path / "run"), 1, Terms(clock.boottime() + 3.0))
    worker.start()

    assert worker.wait(10.0).verdict == Verdict(
        "worker_lost", "its lease ran out: the head of its cluster did not answer in time"
    )


# --- a real Ray


@pytest.fixture
def head(tmp_path: Path) -> Iterator[LocalHead]:
    """A cluster of one node, in a process of its own."""
    head = LocalHead(f"lease{os.getpid()}", cpus=4.0, gpus=0.0, namespace="dreamsweep-test")
    try:
        yield head
    finally:
        head.stop()
        wait_until(lambda: not processes_with(str(tmp_path)), limit_s=30)


@pytest.fixture
def bench(head: LocalHead, tmp_path: Path) -> Iterator[Bench]:
    """It, opened with a short lease."""

    def connect(_sweep_id: str) -> object:
        connection.join(head.address())
        return lambda: None

    cluster = RayCluster(connect, namespace="dreamsweep-test", poll_every_s=0.2, lease_s=LEASE_S)  # type: ignore[arg-type]
    bench = Bench(cluster, SweepRoot(tmp_path))
    cluster.open(bench.root, "lease", bench.specs)
    yield bench
    cluster.close()


def worker_of(head: LocalHead, kind: bytes = b"AttemptActor") -> int:
    """The process of the only attempt, or of another actor."""
    record = head._live_record()
    assert record is not None
    (pid,) = [
        pid
        for pid in descendants(int(record["pid"]))
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::" + kind)
    ]
    return pid


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves its sockets to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*accelerator visible devices env var.*:FutureWarning")
def test_a_frozen_worker_loses_its_trainer_before_it_is_called_lost(head: LocalHead, bench: Bench) -> None:
    """Its trainer is gone within the lease, its loss is told only afterwards, and once thawed it starts nothing."""
    spec = bench.run("deaf")
    bench.launch(spec)
    pid = bench.started(spec).pid
    worker = worker_of(head)
    os.kill(worker, signal.SIGSTOP)
    frozen_at, frozen_wall = time.monotonic(), clock.now()
    while is_alive(pid):
        bench.events += bench.cluster.poll(0.1)
        assert time.monotonic() - frozen_at < 60.0
    assert not any(isinstance(event, AttemptEnded) for event in bench.told(spec))

    end = bench.ended(spec)

    assert (end.outcome, end.cause) == ("worker_lost", "its worker fell silent")
    (status,) = read_records(bench.run_dir(spec).exit_status(1))
    assert (status["signal"], status["stopped"]) == (signal.SIGKILL, "its lease ran out")
    # By the guard's own clock: a poll of ours may take seconds.
    assert status["ended_at"] - frozen_wall < LEASE_S + 1.0
    assert end.at > status["ended_at"]
    # The lease was last granted at most a quarter of it before the freeze.
    assert time.monotonic() - frozen_at > 0.75 * LEASE_S + margin_s(LEASE_S)

    bench.launch(spec, attempt=2)
    second = bench.started(spec, attempt=2).pid
    wait_until(lambda: bench.starts(spec) == 2)
    with contextlib.suppress(ProcessLookupError):  # Ray may have killed it frozen
        os.kill(worker, signal.SIGCONT)
    wait_until(lambda: not is_alive(worker))
    assert is_alive(second)
    assert bench.starts(spec) == 2
    bench.stop(spec, attempt=2)
    assert bench.ended(spec, attempt=2).outcome == "cancelled"


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*accelerator visible devices env var.*:FutureWarning")
def test_a_killed_registry_costs_nobody_its_lease(head: LocalHead, bench: Bench) -> None:
    """The kernel may choose its process when memory runs out: every trainer of the sweep hangs on it."""
    spec = bench.run(steps=80, step_s=0.1)
    bench.launch(spec)
    bench.started(spec)
    os.kill(worker_of(head, b"LeaseRegistry"), signal.SIGKILL)

    assert bench.ended(spec).outcome == "succeeded"
    assert bench.starts(spec) == 1
