"""Which runs of a store are held beside which references."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from test_sources import write_score_file

from aggregation.dataset.collect import collect
from aggregation.dataset.reference_runs import import_files
from aggregation.sources.sources import open_sources
from aggregation.verdicts.lookout import EarlyWarning, early_warnings

TASKS = ("dmc_walker_walk", "dmc_cheetah_run", "dmc_finger_spin")
STEPS = np.arange(1000, 40_001, 1000)


def scores(level: float, seed: int) -> list[float]:
    """What one run scores at each step, rising to its level."""
    luck = np.random.default_rng(seed).normal(0, 0.05 * level + 1)
    return [float(level * step / 40_000 + luck) for step in STEPS]


def write_logs(folder: Path, label: str, levels: Sequence[float]) -> Path:
    """A run of each task for each level, as far as half of the steps."""
    for task in TASKS:
        for seed, level in enumerate(levels):
            run = folder / "dmc_proprio" / task / label / str(seed)
            run.mkdir(parents=True)
            half = zip(STEPS[:20].tolist(), scores(level, seed)[:20], strict=True)
            lines = [f'{{"step": {step}, "episode/score": {score}}}\n' for step, score in half]
            (run / "scores.jsonl").write_text("".join(lines))
    return folder


def write_reference(path: Path, method: str = "dreamerv3") -> Path:
    return write_score_file(
        path / f"dmc_proprio-{method}.json.gz",
        [
            {"task": task, "method": method, "seed": seed, "xs": STEPS.tolist(), "ys": scores(800, 10 + seed)}
            for task in TASKS
            for seed in range(5)
        ],
    )


def warned(store: Path) -> list[EarlyWarning]:
    with open_sources([store]) as sources:
        return early_warnings(sources)


def test_a_wrong_ratio_is_told_of_the_label_and_of_its_runs(tmp_path: Path) -> None:
    """The label first; the ratio is the first cause, beside the suite's own where the reference tells none."""
    store = tmp_path / "store"
    collect([write_logs(tmp_path / "logs", "dreamerv3_tr32", [100, 110])], store, suite="dmc_proprio")
    import_files([write_reference(tmp_path)], store)
    label, *runs = warned(store)

    assert (label.label, label.run, label.reference) == ("dreamerv3_tr32", None, "dreamerv3")
    assert label.sentence().startswith("dmc_proprio/dreamerv3_tr32 lies below dreamerv3: its runs beat a reference")
    assert label.causes[0].startswith("its train_ratio is 32, that of the reference 1024")
    assert [each.run for each in runs] == [
        f"dmc_proprio/{task}/dreamerv3_tr32/{seed}" for task in sorted(TASKS) for seed in (0, 1)
    ]
    assert label.to_json()["departure"]["side"] == "below"


def test_healthy_runs_and_other_methods_are_left_alone(tmp_path: Path) -> None:
    """A reference of another method says nothing of what this one should do; one by a plain name is of this one."""
    healthy, other = tmp_path / "healthy", tmp_path / "other"
    collect([write_logs(tmp_path / "logs", "dreamerv3", [800, 790])], healthy, suite="dmc_proprio")
    import_files([write_reference(tmp_path)], healthy, label="published")
    collect([write_logs(tmp_path / "more", "dreamerv3", [100, 100])], other, suite="dmc_proprio")
    import_files([write_reference(tmp_path, "ppo")], other)

    assert warned(healthy) == []
    assert warned(other) == []
    import_files([write_reference(tmp_path)], other, label="published")
    assert {each.reference for each in warned(other)} == {"published"}


def test_without_references_the_other_seeds_tell(tmp_path: Path) -> None:
    """One that learns nothing among four that do; its siblings stand for themselves."""
    store = tmp_path / "store"
    collect([write_logs(tmp_path / "logs", "dreamerv3", [800, 790, 10, 810, 805])], store, suite="dmc_proprio")
    found = warned(store)

    assert [each.run for each in found] == [f"dmc_proprio/{task}/dreamerv3/2" for task in sorted(TASKS)]
    assert "lies below 4 other seeds" in found[0].sentence()
    assert found[0].causes[0].startswith("nothing that is recorded differs")
