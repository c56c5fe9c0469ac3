"""`dreamsweep plan` as its users type it."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main

_COMMAND = ["trainer=command", "trainer.command='train --seed {seed} --ratio {train_ratio}'"]


@pytest.fixture
def planned(capsys: pytest.CaptureFixture[str]) -> Any:
    """A function from words to the exit code and what was printed."""

    def plan(*words: str) -> tuple[int, str, str]:
        code = main(["plan", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return plan


@pytest.mark.parametrize(
    ("words", "issue", "advice"),
    [
        (
            ["suite=dmc_proprio", "task=dmc_walker_walk", "train_ratio=32"],
            "issue 140",
            "Leave train_ratio out for 1024",
        ),
        (["suite=dmc_vision", "task=dmc_walker_walk", "train_ratio=32"], "issue 140", "Leave train_ratio out for 256"),
        (["suite=atari57", "train_ratio=128"], "issue 154", "Leave train_ratio out for 32"),
    ],
)
def test_the_historic_mistakes_are_warned_about(planned: Any, words: list[str], issue: str, advice: str) -> None:
    """Walker Walk at 32 and Atari 200M at 128, with where that is known from and the ratio to take."""
    _, text, _ = planned(*words)
    _, printed, _ = planned(*words, "--json")
    found = {warning["code"]: warning for warning in json.loads(printed)["warnings"]}

    assert "far_ratio" in found
    assert issue in found["far_ratio"]["source"]
    assert found["far_ratio"]["advice"].startswith(advice)
    assert "warning" in text
    assert issue in " ".join(text.split())


def test_strict_refuses_a_plan_with_warnings(planned: Any) -> None:
    """In `run` just as in `plan`: the exit code is that of a usage error."""
    words = ["suite=dmc_proprio", "task=dmc_walker_walk", "train_ratio=32", "strict=true", *_COMMAND]
    code, out, err = planned(*words)

    assert (code, out) == (1, "")
    assert "strict=true, and the plan has 1 warning" in err
    assert main(["run", *words]) == 1


def test_the_quickstart_has_no_warning(planned: Any) -> None:
    """The first thing that a user sees is right, and its ratios are an ablation around the suite's own."""
    _, printed, _ = planned("experiment=quickstart", "--json")
    plan = json.loads(printed)

    assert plan["warnings"] == []
    assert [run["label"] for run in plan["runs"]][::2] == [
        "cartpole_fast_tr16",
        "cartpole_fast_tr64",
        "cartpole_fast_tr256",
    ]


def test_two_thousand_cells_are_one_screen(planned: Any) -> None:
    """Grouped by label, with the tasks counted and the seeds drawn together."""
    _, text, _ = planned("suite=atari57", "train_ratio=x0.25,x1,x4", "seed=range(0,12)", *_COMMAND)

    assert len(text.splitlines()) < 30
    assert "57 tasks" in text
    assert "0-11" in text
    assert "2,052 runs" in text


def test_the_grid_of_every_published_atari_run_is_planned_at_once(planned: Any) -> None:
    """Atari100k with five seeds: 130 runs."""
    _, printed, _ = planned("suite=atari100k", "seed=range(0,5)", "--json")

    assert json.loads(printed)["total"]["runs"] == 130


def test_a_plan_writes_nothing(planned: Any, tmp_path: Path) -> None:
    """Not even the root."""
    planned("experiment=quickstart", f"root={tmp_path / 'root'}")

    assert list(tmp_path.iterdir()) == []


def test_a_comparison_with_an_empty_root_adds_everything(planned: Any, tmp_path: Path) -> None:
    """`--diff` says what the next launch would do."""
    code, printed, _ = planned("--diff", "--json", "task=gym_CartPole-v1", "seed=0,1", f"root={tmp_path}", *_COMMAND)

    assert (code, json.loads(printed)) == (
        0,
        {
            "root": str(tmp_path),
            "added": ["gym/gym_CartPole-v1/dreamerv3/0", "gym/gym_CartPole-v1/dreamerv3/1"],
            "done": [],
            "unfinished": [],
            "elsewhere": [],
            "changed": {},
        },
    )
