"""The adapter for a checkout, without running it: arguments, revision, and whose configs decide the figures."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.trainers.dreamerv3 import checkout_trainer
from sweeps.contracts import Resources, RunKey, RunSpec, Schedule, TrainerSource
from sweeps.errors import TrainerError
from sweeps.layout import RunDir

CONFIGS = """
defaults:
  batch_size: 8
  batch_length: 32
  replay_context: 0
  random_agent: false
  run: {envs: 2, train_ratio: 32.0, steps: 1e10}
  env: {gym: {repeat: 3}}
  agent: {layers: 1}
gym: {}
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A checkout of a fork, committed."""
    repo = tmp_path / "fork"
    (repo / "dreamerv3").mkdir(parents=True)
    (repo / "dreamerv3/main.py").write_text("")
    (repo / "dreamerv3/configs.yaml").write_text(CONFIGS)
    git(repo, "init", "--quiet")
    git(repo, "add", ".")
    git(repo, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first")
    return repo


def git(repo: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(repo), *words], check=True, capture_output=True, text=True).stdout


def options(repo: Path | None, **changes: Any) -> dict[str, Any]:
    limits = {"startup_deadline_s": 0, "heartbeat_s": 0, "grace_s": 1}
    return {"adapter": "dreamerv3", "repo": repo and str(repo), **limits, **changes}


def spec(**changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "key": RunKey(suite="dmc_proprio", task="dmc_walker_walk", label="size12m_tr512", seed=4),
        "method": "size12m",
        "train_ratio": 512.0,
        "trainer_task": "dmc_walker_walk",
        "schedule": Schedule(steps=1000, action_repeat=2),
        "source": TrainerSource(adapter="dreamerv3"),
        "configs": ("dmc_proprio", "size12m"),
        "flags": {"agent.layers": 2, "agent.names": ["a", "b"], "random_agent": True, "lr": 3e-5},
    }
    return RunSpec(**{**values, **changes})


def value(argv: Sequence[str], flag: str) -> list[str]:
    """The words behind a flag."""
    start = argv.index(flag) + 1
    end = next((at for at in range(start, len(argv)) if argv[at].startswith("--")), len(argv))
    return list(argv[start:end])


def test_every_argument_is_explicit(repo: Path, tmp_path: Path) -> None:
    """What the trainer would default to in silence is passed: steps, seed, platform, outputs, folder."""
    launch = checkout_trainer(options(repo, python="/venv/bin/python")).launch(spec(), RunDir(tmp_path / "run"))
    argv = launch.argv

    assert argv[:3] == ("/venv/bin/python", "-u", str(repo / "dreamerv3/main.py"))
    assert {flag: value(argv, f"--{flag}") for flag in ("configs", "task", "seed", "script", "logdir")} == {
        "configs": ["dmc_proprio", "size12m"],
        "task": ["dmc_walker_walk"],
        "seed": ["4"],
        "script": ["train"],
        "logdir": [str(tmp_path / "run")],
    }
    assert {flag: value(argv, f"--{flag}") for flag in ("run.steps", "run.train_ratio", "jax.platform")} == {
        "run.steps": ["1000"],
        "run.train_ratio": ["512"],
        "jax.platform": ["cpu"],
    }
    assert value(argv, "--logger.outputs") == ["jsonl"]
    assert launch.environ["JAX_PLATFORMS"] == "cpu"


def test_the_interpreter_may_lie_at_home(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands the tilde of `trainer.python=~/…`."""
    monkeypatch.setenv("HOME", "/home/me")
    launch = checkout_trainer(options(repo, python="~/venv/bin/python")).launch(spec(), RunDir(tmp_path / "run"))

    assert launch.argv[0] == "/home/me/venv/bin/python"


def test_flags_are_written_as_the_trainer_reads_them(repo: Path, tmp_path: Path) -> None:
    """Lists are several words, booleans capitalised, small numbers keep their value."""
    argv = checkout_trainer(options(repo)).launch(spec(), RunDir(tmp_path)).argv

    assert argv[0] == sys.executable
    assert value(argv, "--agent.names") == ["a", "b"]
    assert value(argv, "--random_agent") == ["True"]
    assert [float(word) for word in value(argv, "--lr")] == [3e-5]


def test_a_run_with_a_gpu_uses_it(repo: Path, tmp_path: Path) -> None:
    """`auto` follows what the attempt holds."""
    launch = checkout_trainer(options(repo)).launch(spec(resources=Resources(gpus=0.5)), RunDir(tmp_path))

    assert value(launch.argv, "--jax.platform") == ["cuda"]
    assert "JAX_PLATFORMS" not in launch.environ


def test_no_ratio_means_no_flag(repo: Path, tmp_path: Path) -> None:
    """The trainer's own stands."""
    argv = checkout_trainer(options(repo)).launch(spec(train_ratio=None), RunDir(tmp_path)).argv

    assert "--run.train_ratio" not in argv


def test_the_revision_is_recorded(repo: Path) -> None:
    """The commit, and whether tracked files were changed; logs that lie in the checkout do not count."""
    head = git(repo, "rev-parse", "HEAD").strip()
    (repo / "logs").write_text("untracked")
    clean = checkout_trainer(options(repo)).source()
    (repo / "dreamerv3/main.py").write_text("changed")
    changed = checkout_trainer(options(repo)).source()

    assert clean == TrainerSource(adapter="dreamerv3", location=str(repo), revision=head, dirty=False)
    assert changed == TrainerSource(adapter="dreamerv3", location=str(repo), revision=head, dirty=True)


@pytest.mark.parametrize("missing", ["dreamerv3/main.py", "dreamerv3/configs.yaml"])
def test_a_folder_that_is_no_checkout_is_refused(repo: Path, missing: str) -> None:
    """The message names the file that is not there."""
    (repo / missing).unlink()

    with pytest.raises(TrainerError, match=f"is no checkout of DreamerV3: .*{missing} is missing"):
        checkout_trainer(options(repo))


def test_the_forks_configs_decide_the_figures(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan's frames and updates are those that this very program would make."""
    overrides = ["trainer=dreamerv3", f"trainer.repo={repo}", "suite=gym", "task=gym_CartPole-v1", "flags.run.envs=2"]
    assert main(["plan", *overrides, "steps=10000", "train_ratio=32", "--json"]) == 0

    (run,) = json.loads(capsys.readouterr().out)["runs"]
    batch, first = 8 * 32, 8 * 32 + 2 * (32 + 0 - 1)
    assert (run["frames"], run["policy_steps"]) == (30_000, 10_000)
    assert run["updates"] == 1 + (10_000 - first) * 32 // batch


@pytest.mark.parametrize("flag", ["seed", "task", "logdir", "run.steps", "run.train_ratio"])
def test_a_flag_that_the_sweep_sets_is_refused(repo: Path, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It would contradict the name of the run."""
    code = main(["plan", "trainer=dreamerv3", f"trainer.repo={repo}", "suite=gym", f"flags.{flag}=1"])

    assert code == 1
    assert f"'{flag}'" in capsys.readouterr().err
