"""A node that is cut off from the others, on a cluster across network namespaces."""

import time
from pathlib import Path

import pytest
from doomed_sweep import LEASE_S, DoomedSweep, end
from fakes.fake_runs import is_alive, wait_until
from node_cluster import node_cluster
from several_nodes import why_no_networks

from orchestrator.leases import margin_s


@pytest.mark.ray
@pytest.mark.timeout(200)
def test_a_node_that_is_cut_off_loses_its_trainers_before_they_are_tried_again(tmp_path: Path) -> None:
    """Cut off for longer than a lease: the whole tree is gone by then, the retry starts elsewhere and only after that.

    The link heals before Ray has given the node up, and it takes runs again. At the end every run is done, and every
    row is there once.
    """
    reason = why_no_networks()
    if reason is not None:
        pytest.skip(reason)
    with node_cluster(tmp_path, cpus=1, nodes=3, has_networks=True) as nodes:
        sweep = DoomedSweep(tmp_path, nodes.address, seeds=5, episodes=120, entering=nodes.entering)

        def retries() -> list[str]:
            return [event["key"] for event in sweep.events("AttemptStarted") if event["attempt"] > 1]

        orchestrator = sweep.start("canary=false")
        try:
            wait_until(lambda: all(len(nodes.on_node(node, sweep.trainers())) == 2 for node in range(3)), limit_s=60)
            time.sleep(1.0)  # past a checkpoint
            tree = nodes.on_node(1, sweep.trainers())
            (worker,) = nodes.on_node(1, sweep.workers())
            nodes.cut(1)
            cut_at = time.monotonic()
            wait_until(lambda: not any(map(is_alive, tree)))
            gone_at = time.monotonic()
            assert retries() == []
            wait_until(retries)
            assert nodes.on_node(1, sweep.trainers()) == []
            nodes.heal(1)
            wait_until(lambda: nodes.on_node(1, sweep.trainers()), limit_s=60)
            wait_until(lambda: not is_alive(worker))
            code = orchestrator.wait(timeout=120)
        finally:
            end(orchestrator)
        problems = sweep.problems()

    assert problems == []
    assert code == 0, sweep.last_words()
    assert len(tree) == 2  # the trainer, and its environment worker in a session of its own
    assert gone_at - cut_at < LEASE_S + margin_s(LEASE_S)
    ends = sweep.events("AttemptEnded")
    # On a busy machine another lease may run out as well; nothing else may happen.
    assert {event["outcome"] for event in ends if event["attempt"] == 1} == {"succeeded", "worker_lost"}
    assert nodes.left_over() == []
