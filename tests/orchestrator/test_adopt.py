"""`dreamsweep adopt`: log folders of the official trainer that become runs of a root, and those that do not."""

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from orchestrator.cli import main
from orchestrator.command_line.adoption import differences
from orchestrator.lock import RootLock
from orchestrator.trainers.trainer_configs import TrainerConfigs
from sweeps.files import read_records

CONFIGS = """
defaults:
  logdir: ~/logdir
  script: train
  task: dummy
  seed: 0
  batch_size: 8
  batch_length: 32
  replay_context: 1
  random_agent: false
  logger: {outputs: [jsonl]}
  run: {envs: 1, train_ratio: 32.0, steps: 1e10, log_every: 120}
  env: {gym: {repeat: 2}}
  agent: {layers: 1, norms: [rms, none], limit: inf}
gym: {}
"""
TASK, METHOD = "gym_CartPole-v1", "dreamerv3"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A checkout without git."""
    repo = tmp_path / "fork"
    (repo / "dreamerv3").mkdir(parents=True)
    (repo / "dreamerv3/main.py").write_text("")
    (repo / "dreamerv3/configs.yaml").write_text(CONFIGS)
    return repo


@pytest.fixture
def adopt(repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """A function from folders and further words to the exit code and what --json says of each folder by its state."""

    def adopted(*words: object, command: str = "adopt") -> tuple[int, Any]:
        code = main([command, *map(str, words), *grid(repo, tmp_path / "root"), "--json"])
        out, err = capsys.readouterr()
        assert err == ""
        return code, json.loads(out)

    return adopted


def grid(repo: Path, root: Path) -> list[str]:
    """A grid of one task, two ratios and two seeds; 1,000 policy steps are 2,000 frames."""
    trainer = ["trainer=dreamerv3", f"trainer.repo={repo}", f"root={root}", "cluster=process"]
    return ["suite=gym", f"task={TASK}", "train_ratio=32,64", "seed=0,1", "steps=1000", "flags.run.envs=1", *trainer]


def write_logs(
    folder: Path, *, steps: Any = range(100, 2001, 100), checkpoint: int | None = None, **options: Any
) -> Path:
    """A folder as the trainer leaves it; `options` are laid over those of a run with ratio 32 and seed 0."""
    folder.mkdir(parents=True)
    path = folder.parent / "configs.yaml"
    path.write_text(CONFIGS)
    ours = {"task": TASK, "seed": 0, "run.steps": 1000.0, "logdir": str(folder), "run.log_every": 7}
    values = TrainerConfigs.read(path).resolve([], {**ours, **options})
    path.unlink()
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *parents, last = name.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(nested))
    (folder / "scores.jsonl").write_text(
        "".join(json.dumps({"step": step, "episode/score": step / 10}) + "\n" for step in steps)
    )
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": step, "fps/policy": 50.0}) + "\n" for step in steps)
    )
    (folder / "replay").mkdir()
    (folder / "replay" / "chunk.npz").write_bytes(b"large")
    if checkpoint is not None:
        saved = folder / "ckpt" / "20250101T000000F000000"
        saved.mkdir(parents=True)
        (saved / "step.pkl").write_bytes(pickle.dumps(checkpoint))
        (saved / "done").touch()
        (folder / "ckpt" / "latest").write_text(saved.name)
    return folder


def said(found: Any) -> list[tuple[str, str | None]]:
    """The state and the run of each folder."""
    return [(folder["state"], folder["run"]) for folder in found["folders"]]


def key(ratio: int = 32, seed: int = 0) -> str:
    return f"gym/{TASK}/{METHOD}_tr{ratio}/{seed}"


def scores(root: Path) -> list[float]:
    frame = pd.read_parquet(root / "scores")
    return [float(score) for score in frame.sort_values("step")["score"]]


def test_folders_of_both_layouts_become_done_runs(adopt: Any, tmp_path: Path) -> None:
    """`plan --diff` keeps them, `aggregate` counts their scores, the originals stay, and replay is not copied."""
    logs, root = tmp_path / "logs", tmp_path / "root"
    stamped = write_logs(logs / f"20250101T000000-{TASK}-{METHOD}-0")
    write_logs(logs / TASK / METHOD / "1", seed=1, **{"run.train_ratio": 64})
    code, found = adopt(logs)
    _, diff = adopt("--diff", command="plan")
    main(["aggregate", str(root)])

    assert (code, said(found)) == (0, [("done", key()), ("done", key(64, 1))])
    assert (diff["done"], diff["changed"]) == ([key(), key(64, 1)], {})
    assert len(scores(root)) == 40
    run_dir = root / "runs" / key()
    assert sorted(path.name for path in run_dir.iterdir()) == sorted(
        ["attempts.jsonl", "config.yaml", "done", "metrics.jsonl", "run.json", "scores.jsonl"]
    )
    assert (stamped / "replay" / "chunk.npz").exists()
    (attempt,) = read_records(run_dir / "attempts.jsonl")
    assert (attempt["outcome"], attempt["host"], attempt["cause"]) == ("succeeded", "", f"adopted from {stamped}")
    assert not (root / ".adopting").exists()


def test_adopted_runs_are_shown_before_the_first_launch(
    adopt: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status` needs no `run`."""
    adopt(write_logs(tmp_path / "logs" / TASK / METHOD / "0"))
    main(["status", str(tmp_path / "root"), "--json"])

    assert [(run["run"], run["state"]) for run in json.loads(capsys.readouterr().out)["runs"]] == [(key(), "done")]


def test_a_changed_option_is_told(adopt: Any, tmp_path: Path) -> None:
    """What only says where the run executed and how often it logged does not count."""
    folder = write_logs(
        tmp_path / "logs" / TASK / METHOD / "0",
        batch_size=16,
        **{"agent.norms": ["rms", "layer"], "logger.outputs": ["jsonl", "scope"]},
    )
    code, found = adopt(folder)

    assert (code, said(found)) == (1, [("refused", key())])
    assert found["folders"][0]["differences"] == {
        "batch_size": {"there": 16, "grid": 8},
        "agent.norms": {"there": ["rms", "layer"], "grid": ["rms", "none"]},
    }
    assert not (tmp_path / "root" / "runs").exists()


def test_a_folder_outside_the_grid_is_told(adopt: Any, tmp_path: Path) -> None:
    """Its task and its seed are named."""
    folder = write_logs(tmp_path / "logs" / TASK / METHOD / "7", seed=7)

    code, found = adopt(folder)

    assert (code, said(found)) == (1, [("refused", None)])
    assert found["folders"][0]["reason"] == f"the grid has no run of the task {TASK!r} with seed 7"


def test_without_its_config_a_folder_is_not_adopted(adopt: Any, tmp_path: Path) -> None:
    """Its name alone does not tell its options."""
    folder = write_logs(tmp_path / "logs" / TASK / METHOD / "0")
    (folder / "config.yaml").unlink()

    assert "it has no config.yaml" in adopt(folder)[1]["folders"][0]["reason"]


def test_nothing_in_the_root_is_overwritten(adopt: Any, tmp_path: Path) -> None:
    """The same folder again is kept as it is; another one of the same run is refused."""
    first = write_logs(tmp_path / "a" / TASK / METHOD / "0")
    other = write_logs(tmp_path / "b" / TASK / METHOD / "0", steps=[2000])
    adopt(first)
    before = {path: path.read_bytes() for path in (tmp_path / "root" / "runs").rglob("*") if path.is_file()}
    again = adopt(first)
    refused = adopt(other)

    assert (again[0], said(again[1])) == (0, [("kept", key())])
    assert (refused[0], said(refused[1])) == (1, [("refused", key())])
    assert "nothing in it is overwritten" in refused[1]["folders"][0]["reason"]
    assert before == {path: path.read_bytes() for path in (tmp_path / "root" / "runs").rglob("*") if path.is_file()}


def test_a_run_that_ended_early_is_adopted_only_on_request(adopt: Any, tmp_path: Path) -> None:
    """With --unfinished it has its checkpoint and no `done`, and the next attempt is the first."""
    folder = write_logs(tmp_path / "logs" / TASK / METHOD / "0", steps=range(100, 1501, 100), checkpoint=700)
    code, found = adopt(folder)
    assert (code, said(found)) == (1, [("refused", key())])
    assert "frame 1,500 of 2,000" in found["folders"][0]["reason"]

    code, found = adopt(folder, "--unfinished")

    run_dir = tmp_path / "root" / "runs" / key()
    assert (code, said(found)) == (0, [("unfinished", key())])
    assert not (run_dir / "done").exists()
    assert (run_dir / "ckpt" / "latest").read_text() == "20250101T000000F000000"
    assert pickle.loads((run_dir / "ckpt" / "20250101T000000F000000" / "step.pkl").read_bytes()) == 700
    assert [record["attempt"] for record in read_records(run_dir / "attempts.jsonl")] == [0]
    assert adopt("--diff", command="plan")[1]["unfinished"] == [key()]


def test_without_a_checkpoint_an_unfinished_run_is_refused(adopt: Any, tmp_path: Path) -> None:
    """The trainer would start it from nothing and append to its log."""
    folder = write_logs(tmp_path / "logs" / TASK / METHOD / "0", steps=[100, 1000])

    assert "no whole checkpoint" in adopt(folder, "--unfinished")[1]["folders"][0]["reason"]


def test_a_replayed_stretch_counts_once(adopt: Any, tmp_path: Path) -> None:
    """A log whose trainer was started again becomes several attempts, with the rows of a foreign log."""
    steps = [*range(100, 1001, 100), *range(802, 2001, 100), 2000]
    folder = write_logs(tmp_path / "logs" / TASK / METHOD / "0", steps=steps)
    adopt(folder)
    main(["aggregate", str(tmp_path / "root")])
    main(["aggregate", str(folder), "--store", str(tmp_path / "foreign"), "--suite", "gym"])

    attempts = list(read_records(tmp_path / "root" / "runs" / key() / "attempts.jsonl"))
    assert [attempt["attempt"] for attempt in attempts] == [1, 2]
    assert attempts[1]["log_bytes"].keys() == {"scores.jsonl", "metrics.jsonl"}
    assert scores(tmp_path / "root") == scores(tmp_path / "foreign")
    assert len(scores(tmp_path / "root")) == len(steps) - 2


def test_a_compressed_log_is_unpacked(adopt: Any, tmp_path: Path) -> None:
    """A trainer that goes on would append to the plain one."""
    folder = write_logs(tmp_path / "logs" / TASK / METHOD / "0")
    text = (folder / "scores.jsonl").read_bytes()
    (folder / "scores.jsonl.gz").write_bytes(gzip.compress(text))
    (folder / "scores.jsonl").unlink()
    adopt(folder)

    assert (tmp_path / "root" / "runs" / key() / "scores.jsonl").read_bytes() == text


def test_a_held_root_is_left_alone(repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An orchestrator may be writing there."""
    folder, root = write_logs(tmp_path / "logs" / TASK / METHOD / "0"), tmp_path / "root"
    root.mkdir()
    with RootLock(root / "orchestrator.lock"):
        code = main(["adopt", str(folder), *grid(repo, root)])

    assert code == 1
    assert "Another orchestrator holds" in capsys.readouterr().err
    assert not (root / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "adopt needs a folder of logs"),
        (["nowhere"], "nowhere is no folder"),
    ],
)
def test_a_mistyped_command_is_told(
    repo: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an exit code of a usage error, and without a root."""
    assert main(["adopt", *words, *grid(repo, tmp_path / "root")]) == 1
    assert message in capsys.readouterr().err


def test_a_program_without_known_options_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to compare."""
    words = ["trainer=command", "trainer.command='train {seed}'", f"root={tmp_path / 'root'}"]

    assert main(["adopt", str(tmp_path), *words]) == 1
    assert "trainer=command has none that are known" in capsys.readouterr().err


def test_methods_with_the_same_options_are_told_apart_by_the_path(adopt: Any, tmp_path: Path) -> None:
    """`dreamerv3` is the official size: a folder that names neither of the two is not guessed."""
    (tmp_path / "conf" / "method").mkdir(parents=True)
    (tmp_path / "conf" / "method" / "twin.yaml").write_text("name: twin\n")
    twin = write_logs(tmp_path / "logs" / TASK / "twin" / "0")
    unnamed = write_logs(tmp_path / "logs" / TASK / "x" / "0")
    _, found = adopt(tmp_path / "logs", f"method={METHOD},twin", "--config-dir", tmp_path / "conf")

    assert [(Path(folder["folder"]), folder["run"]) for folder in found["folders"]] == [
        (twin, f"gym/{TASK}/twin_tr32/0"),
        (unnamed, None),
    ]
    assert "name the method in its path" in found["folders"][1]["reason"]


def test_numbers_are_the_same_however_they_are_written() -> None:
    """YAML readers differ on `inf` and 1e6; a switch is no number, and an option may be on one side only."""
    stated = {"a": "inf", "b": 1e6, "c": [0.3], "d": 1, "e": "x"}
    wanted = {"a": float("inf"), "b": "1e6", "c": ["0.3"], "d": "1", "f": 2}

    assert differences(stated, wanted) == {"f": ("not there", 2), "e": ("x", "not there")}
