"""A node is lost with its disk, where nodes do not see the root: its runs go on elsewhere, from the store."""

import json
import time
from pathlib import Path

import pytest
from chaos import Chaos
from checkpointing_trainer import FRAMES_PER_EPISODE
from fakes.fake_runs import wait_until
from several_nodes import can_hide_folders

from sweeps.contracts import Attempt
from sweeps.files import read_records
from sweeps.layout import RunDir, SweepRoot

_RUNS = 6


class LostNode(Chaos):
    """A sweep that loses the node with the most runs, once all have checkpoints in the store."""

    lost: Path

    def _drive(self, *, deadline: float) -> None:
        orchestrator = self._sweep.start()
        try:
            wait_until(lambda: orchestrator.poll() is not None or self._is_under_way(), limit_s=90)
            assert orchestrator.poll() is None, self._sweep.last_words()
            victim = max(range(3), key=lambda node: self._runs_on(self._nodes.disk(node)))
            self.lost = self._nodes.disk(victim)
            self.lose_node(victim)
            assert orchestrator.wait(timeout=deadline - time.monotonic()) == 0, self._sweep.last_words()
        finally:
            orchestrator.kill()
            orchestrator.wait()

    def _is_under_way(self) -> bool:
        try:
            saved = {path.parent.parent for path in (self._folder / "store").glob("*/*/*/*/*/manifests/*.json")}
        except FileNotFoundError:
            return False  # what the launch tried the store with went while it was listed
        logged = [folder for _, folder in SweepRoot(self.root).run_dirs() if folder.scores.exists()]
        return len(saved) == len(logged) == _RUNS

    def _runs_on(self, disk: Path) -> int:
        """How many runs have an attempt there that is not over."""
        return len(list(disk.glob("*/*/*/*/*/*")))

    def attempts(self, folder: RunDir) -> list[tuple[Attempt, str]]:
        """The attempts of a run, and the folder in which each trained."""
        places = [
            line.partition("--dir ")[2].split()[0]
            for line in folder.stdout.read_text(encoding="utf-8").splitlines()
            if line.startswith("=== attempt ")
        ]
        records = [Attempt.from_json(record) for record in read_records(folder.attempts)]
        return list(zip(records, places, strict=True))


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.skipif(not can_hide_folders(), reason="this machine lets nobody have a mount namespace")
def test_the_runs_of_a_lost_node_go_on_from_the_store(tmp_path: Path) -> None:
    """No worker sees the root, a node vanishes, and every row of an undisturbed sweep is there once."""
    sweep = LostNode(tmp_path, seed=0, kills=0, seeds=_RUNS // 2, episodes=300, storage="ship")

    outcome = sweep.run(limit_s=200)

    assert outcome.problems == []
    moved = 0
    for _, folder in SweepRoot(sweep.root).run_dirs():
        (first, place), *later = sweep.attempts(folder)
        assert not place.startswith(str(sweep.root))
        if not place.startswith(f"{sweep.lost}/") or first.outcome == "succeeded":  # elsewhere, or just before
            continue
        moved += 1
        ((second, other),) = later
        assert first.outcome == "worker_lost"
        assert not other.startswith(f"{sweep.lost}/")
        assert second.repairs[0].startswith("fetched the checkpoint 000001-")
        # It went on where the checkpoint was, not from the first episode.
        content = folder.scores.read_bytes()[second.log_bytes["scores.jsonl"] :]
        assert json.loads(content.splitlines()[0])["step"] > FRAMES_PER_EPISODE
    assert moved > 0
