"""A short sweep that is killed at random; the long form is `make chaos`."""

from pathlib import Path

import pytest
from chaos import Chaos


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_a_sweep_survives_kills_with_every_row_counted_once(tmp_path: Path) -> None:
    """After kills of trainers, workers, raylets and the orchestrator every run is done and every row is there once."""
    chaos = Chaos(tmp_path, seed=3, kills=12, seeds=6, episodes=60)

    outcome = chaos.run(limit_s=300)

    assert outcome.problems == []
    assert outcome.kills.total() >= 6
