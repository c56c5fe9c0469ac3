"""The head that a sweep starts on this machine: there is one, it goes with its Ray, and a sweep survives it."""

import getpass
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from doomed_sweep import DoomedSweep, end
from fakes.fake_runs import is_alive, wait_until

from orchestrator.attempts.guard import descendants
from orchestrator.local_head import LocalHead

pytestmark = [
    pytest.mark.ray,
    # A head outlives who started it.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def head() -> Iterator[LocalHead]:
    """A head that is not started yet."""
    head = LocalHead(f"head{os.getpid()}", cpus=1.0, gpus=0.0, namespace="dreamsweep-test")
    yield head
    head.stop()


def started(head: LocalHead) -> int:
    """Its process."""
    record = head._live_record()
    assert record is not None
    return int(record["pid"])


def part_of(head: int, program: str) -> int:
    """The process of a part of Ray; 0 while there is none."""
    for pid in descendants(head):
        if is_alive(pid) and program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return 0


def test_a_head_that_is_mended_goes_in_order(head: LocalHead) -> None:
    """Two orchestrators that ask for it get the same one: the first may have been killed while it started."""
    with ThreadPoolExecutor() as threads:
        addresses = [asked.result() for asked in [threads.submit(head.address) for _ in range(2)]]
    assert addresses == addresses[:1] * 2
    pid = started(head)
    control_service = part_of(pid, "/gcs/gcs_server")
    os.kill(control_service, signal.SIGKILL)
    wait_until(lambda: part_of(pid, "/gcs/gcs_server") not in (0, control_service))
    parts = descendants(pid)
    head.stop()

    wait_until(lambda: not any(map(is_alive, [pid, *parts])), limit_s=30)


def test_a_head_goes_with_its_raylet(head: LocalHead) -> None:
    """Nothing can run on it any more: whoever needs one starts another."""
    first = head.address()
    pid = started(head)
    os.kill(part_of(pid, "/raylet/raylet"), signal.SIGKILL)
    wait_until(lambda: not head.is_alive())

    assert head.address() != first
    assert not is_alive(pid)


@pytest.mark.timeout(200)
def test_a_sweep_survives_the_death_of_its_head(tmp_path: Path) -> None:
    """The trainers go with it; the orchestrator starts another one, and tries their runs again at no cost."""
    sweep = DoomedSweep(tmp_path, None, seeds=2, episodes=100)
    orchestrator = sweep.start("canary=false", "retry.crashed=0", "retry.out_of_memory=0")
    try:
        wait_until(lambda: len(sweep.trainers()) == 4, limit_s=60)
        time.sleep(1.0)  # past a checkpoint
        (opened,) = sweep.events("SweepOpened")
        folder = Path(tempfile.gettempdir()) / f"dreamsweep-{getpass.getuser()}" / opened["sweep_id"]
        head = json.loads((folder / "head.json").read_text())["pid"]
        os.kill(head, signal.SIGKILL)
        code = orchestrator.wait(timeout=120)
    finally:
        end(orchestrator)

    assert sweep.problems() == []
    assert code == 0, sweep.last_words()
    outcomes = [event["outcome"] for event in sweep.events("AttemptEnded")]
    assert sorted(outcomes) == ["succeeded"] * 4 + ["worker_lost"] * 2
    assert sweep.attempts == 6
    assert len(sweep.events("SweepOpened")) == 1
