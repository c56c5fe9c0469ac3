"""Nodes that are about to be taken away: the trainer gets its grace period, and the retry costs nothing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from doomed_sweep import DoomedSweep, end
from fakes.fake_runs import fake_run, wait_until
from node_cluster import NodeCluster, node_cluster

from orchestrator.attempts.preemption_notice import PreemptionNotice
from orchestrator.attempts.worker import AttemptWorker, Terms
from orchestrator.outcomes import Verdict
from sweeps.files import read_records
from sweeps.layout import RunDir


@pytest.mark.parametrize(
    ("command", "is_given"),
    [(None, False), ("true", True), ("false", False), ("test -e {here}", True), ("/no/such/program", False)],
)
def test_a_notice_is_given_by_a_program_that_ends_with_0(tmp_path: Path, command: str | None, is_given: bool) -> None:
    """One that fails, or is not there, gives none."""
    notice = PreemptionNotice(None if command is None else command.format(here=tmp_path))

    assert notice.is_given() == is_given
    assert not notice.is_given()  # it is not asked again at once


def test_a_notice_ends_the_attempt_with_its_grace(tmp_path: Path) -> None:
    """The program may begin to give notice at any time; SIGTERM comes first."""
    notice, run_dir = tmp_path / "notice", RunDir(tmp_path / "run")
    worker = AttemptWorker(fake_run("hang"), run_dir, 1, Terms(preemption_command=f"test -e '{notice}'"))
    worker.start()
    wait_until(lambda: worker.report().pid)
    assert worker.wait(1.0).verdict is None
    notice.touch()
    verdict = worker.wait(20.0).verdict

    assert verdict is not None
    assert Verdict(verdict.outcome, verdict.cause) == Verdict("preempted", "the machine is about to be taken away")
    (status,) = read_records(run_dir.exit_status(1))
    assert (status["signal"], status["stopped"]) == (signal.SIGTERM, "it was asked to stop")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[NodeCluster]:
    """Two nodes whose Ray passes a SIGTERM on for up to 20 s."""
    with node_cluster(
        tmp_path, cpus=1, nodes=2, has_networks=False, RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="20"
    ) as nodes:
        yield nodes


@pytest.mark.ray
@pytest.mark.timeout(200)
def test_sigterm_to_the_ray_of_a_node_preempts_its_attempts(nodes: NodeCluster, tmp_path: Path) -> None:
    """With notice (SIGTERM to `ray start --block`) and without (to the raylet): SIGTERM, grace, a retry for free."""
    sweep = DoomedSweep(tmp_path, nodes.address, seeds=2, episodes=160, grace_s=3)
    # Nothing may be tried again at a cost.
    orchestrator = sweep.start("canary=false", "retry.crashed=0", "retry.out_of_memory=0")
    try:
        for number, who in enumerate((nodes.starter, nodes.raylet)):
            wait_until(lambda: nodes.on_node(0, sweep.trainers()), limit_s=60)
            wait_until(lambda: nodes.on_node(1, sweep.trainers()), limit_s=60)
            victim = who(number)
            assert victim is not None
            graces = len(sweep.graces())
            os.kill(victim, signal.SIGTERM)
            wait_until(lambda: len(sweep.graces()) > graces, limit_s=30)  # noqa: B023 - called in this round
        code = orchestrator.wait(timeout=150)
    finally:
        end(orchestrator)
    problems = sweep.problems()

    assert problems == []
    assert code == 0, sweep.last_words()
    assert "raylet" not in sweep.last_words()  # what Ray has to say about the dead node is not for our terminal
    assert [event["outcome"] for event in sweep.events("AttemptEnded")].count("preempted") == 2
    # Both were told by SIGTERM, and had the time to do something about it.
    assert len(sweep.graces()) == 2
