"""What lies under a sweep root."""

from pathlib import Path

from sweeps.contracts import RunKey
from sweeps.layout import SweepRoot


def test_folders_that_name_no_run_are_none(tmp_path: Path) -> None:
    """A copy that a user keeps beside a run does not keep the others from being planned or told of."""
    root = SweepRoot(tmp_path)
    keys = [RunKey(suite="gym", task=task, label="m", seed=3) for task in ("bsuite/0", "gym_a")]
    for key in keys:
        folder = root.run_dir(key).path
        for path in (folder, folder.with_name("3_old")):
            path.mkdir(parents=True)
            (path / "run.json").write_text("{}")
    (root.runs / "gym" / "gym_a" / "m" / "4").mkdir()

    assert [(key, run_dir.path) for key, run_dir in root.run_dirs()] == [(key, root.run_dir(key).path) for key in keys]
