"""Episode lengths that stand in metrics.jsonl alone, as DreamerV3 writes them."""

import json
from pathlib import Path

import numpy as np
from log_builders import METRICS, log_text, write_foreign

from aggregation.curves.curve_view import CurveView
from aggregation.curves.curves import curves
from aggregation.dataset.collect import collect
from aggregation.sources.sources import open_sources


def write_metrics(log: Path, points: list[tuple[int, float]]) -> None:
    lines = [json.dumps({"step": step, "episode/length": length, "train/loss": 1.0}) for step, length in points]
    log.with_name(METRICS).write_text("\n".join(lines) + "\n")


def test_lengths_come_from_the_metrics_where_the_scores_have_none(tmp_path: Path) -> None:
    """Both seeds of one label; the other label logged none and has none."""
    for seed in (0, 1):
        log = write_foreign(tmp_path / "logs", log_text([(5, 1), (15, 2), (25, 3)]), task="gym_a", seed=seed)
        write_metrics(log, [(5, 10 + seed), (15, 20 + seed), (25, 30 + seed)])
    write_foreign(tmp_path / "logs", log_text([(5, 1), (25, 3)]), task="gym_a", label="other")
    collect([tmp_path / "logs"], tmp_path / "store", metrics="episode/length|train/.*")

    with open_sources([tmp_path / "store"]) as sources:
        (panel,) = curves(sources, CurveView(points=3), with_lengths=True).panels

    assert [curve.label for curve in panel.lengths] == ["dreamerv3"]
    np.testing.assert_allclose(panel.lengths[0].centre, [10.5, 20.5, 30.5])
    assert panel.lengths[0].seeds == 2


def test_a_store_without_metrics_has_no_lengths(tmp_path: Path) -> None:
    """Nothing is made up."""
    write_foreign(tmp_path / "logs", log_text([(5, 1), (15, 2)]), task="gym_a")
    with open_sources([tmp_path / "logs"]) as sources:
        (panel,) = curves(sources, with_lengths=True).panels

    assert panel.lengths == ()
