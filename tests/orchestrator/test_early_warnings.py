"""`dreamsweep status` tells which runs leave the references that were imported into their root."""

import json
import sys
from pathlib import Path

import pytest
from command_line import run_words, said, status

TRAINER = Path(__file__).parents[1] / "fakes" / "noisy_trainer.py"


def test_status_tells_of_runs_below_their_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words with the likely cause, and in JSON."""
    root = tmp_path / "root"
    command = (
        f"{sys.executable} {TRAINER} --run_dir {{run_dir}} --seed {{seed}} --level 10 --spread 1 --steps {{steps}}"
    )
    assert said(capsys, *run_words(root, "seed=0,1", "train_ratio=8", "steps=320", command=command))[0] == 0
    xs = list(range(1, 321))
    reference = tmp_path / "gym-dreamerv3.json"
    reference.write_text(
        json.dumps(
            [
                {
                    "task": "gym_CartPole-v1",
                    "method": "dreamerv3",
                    "seed": seed,
                    "xs": xs,
                    "ys": [min(x, 100) + seed for x in xs],
                }
                for seed in range(4)
            ]
        )
    )
    assert said(capsys, "import", str(reference), "--store", str(root))[0] == 0
    found = status(capsys, root)["early_warnings"]
    code, out, err = said(capsys, "status", str(root))

    assert json.loads(said(capsys, "attach", str(root), "--json")[1])["early_warnings"] == found
    assert [each["run"] for each in found] == [f"gym/gym_CartPole-v1/dreamerv3_tr8/{seed}" for seed in (0, 1)]
    assert (code, err) == (0, "")
    assert "early warning gym/gym_CartPole-v1/dreamerv3_tr8/0 lies below dreamerv3:" in out
    assert "perhaps its train_ratio is 8, that of the reference" in out
