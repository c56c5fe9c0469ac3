"""The adapter for any program: templates, and what cannot be one."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.fake_runs import fake_run

from orchestrator.trainers.command import CommandTrainer
from sweeps.errors import ConfigError, UnknownNameError
from sweeps.layout import RunDir


def trainer(command: object) -> CommandTrainer:
    return CommandTrainer({**fake_run().trainer, "command": command})


def test_words_are_filled_in_one_by_one(tmp_path: Path) -> None:
    """A value with spaces stays one word, flags become words of their own, doubled braces are braces."""
    spec = replace(fake_run(seed=3, steps=7), trainer_task="a b", train_ratio=0.5, flags={"lr": 0.1, "net": "big one"})
    folder = tmp_path / "with space"
    command = "run 'two words' --task={task} {seed} {train_ratio} {steps} {frames} {run_dir} {{x}} {flags}"

    launch = trainer(command).launch(spec, RunDir(folder))

    fixed = ("run", "two words", "--task=a b", "3", "0.5", "7", "7", str(folder), "{x}")
    assert launch.argv == (*fixed, "--lr", "0.1", "--net", "big one")
    assert (launch.cwd, launch.environ) == (folder, {})


def test_a_run_without_a_ratio_has_an_empty_word(tmp_path: Path) -> None:
    """The number of words does not depend on the run."""
    assert trainer("x {train_ratio} y").launch(fake_run(), RunDir(tmp_path)).argv == ("x", "", "y")


@pytest.mark.parametrize(
    ("command", "error", "pattern"),
    [
        (None, ConfigError, "is not set; expected"),
        ("", ConfigError, "is not set; expected"),
        ("a 'b", ConfigError, "cannot be split into words: No closing quotation"),
        ("a {", ConfigError, "is no template"),
        ("a {sed}", UnknownNameError, "Unknown field 'sed' in trainer.command. Did you mean 'seed'"),
        ("a {}", UnknownNameError, "Unknown field ''"),
        ("a {seed.__class__}", UnknownNameError, "Unknown field 'seed.__class__'"),
        ("a x{flags}", ConfigError, "must stand as a word of its own"),
    ],
)
def test_what_is_no_template_is_refused(command: object, error: type[Exception], pattern: str) -> None:
    """When the sweep is composed, not when the first attempt fails."""
    with pytest.raises(error, match=pattern):
        trainer(command)


def test_a_torn_log_is_closed_before_a_resume(tmp_path: Path) -> None:
    """The next line must not be joined to half of one."""
    (tmp_path / "scores.jsonl").write_bytes(b'{"step": 1, "episode/score": 1.0}\n{"st')

    step, repairs = trainer("x").repair(RunDir(tmp_path))

    assert (step, len(repairs)) == (None, 1)
    assert (tmp_path / "scores.jsonl").read_bytes().endswith(b"\n")
    assert trainer("x").repair(RunDir(tmp_path)) == (None, ())


def test_the_program_of_the_docs_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """What docs/any_program.md shows is what it asks for."""
    text = (Path(__file__).parents[2] / "docs" / "any_program.md").read_text("utf-8")
    program = tmp_path / "train.py"
    program.write_text(text.partition("```python\n")[2].partition("```")[0])
    words = f"{sys.executable} {program} --task {{task}} --seed {{seed}} --frames {{frames}} {{flags}}"
    for budget in (20_000, 30_000):
        launch = trainer(words).launch(replace(fake_run(steps=budget), flags={"lr": 0.1}), RunDir(tmp_path))
        subprocess.run(launch.argv, cwd=launch.cwd, check=True)

    steps = [json.loads(line)["step"] for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert steps == list(range(1000, 30_001, 1000))
