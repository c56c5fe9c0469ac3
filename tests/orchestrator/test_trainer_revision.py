"""`trainer.revision`: one commit, tag or branch of a repository as the program, whatever is checked out there."""

import dataclasses
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.trainers.checkout import PinnedCheckout
from orchestrator.trainers.dreamerv3 import checkout_trainer
from sweeps.contracts import RunKey, RunSpec, Schedule, TrainerSource
from sweeps.errors import TrainerError
from sweeps.layout import RunDir

CONFIGS = """
defaults:
  batch_size: 8
  batch_length: 32
  replay_context: 0
  run: {envs: 1, train_ratio: 32.0, steps: 1e10}
  env: {gym: {repeat: 3}}
  agent: {layers: 1}
gym: {}
"""


def git(repo: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", "-C", str(repo), *who, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(repo: Path, main_text: str, configs: str = CONFIGS) -> str:
    (repo / "dreamerv3").mkdir(parents=True, exist_ok=True)
    (repo / "dreamerv3/main.py").write_text(main_text)
    (repo / "dreamerv3/configs.yaml").write_text(configs)
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "-m", main_text)
    return git(repo, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with the original on `main`, tagged v1, and a branch `idea`; main is checked out, and changed."""
    repo = tmp_path / "fork"
    repo.mkdir()
    git(repo, "init", "--quiet", "--initial-branch=main")
    commit(repo, "original")
    git(repo, "tag", "v1")
    git(repo, "switch", "--quiet", "-c", "idea")
    commit(repo, "idea", CONFIGS.replace("repeat: 3", "repeat: 5"))
    git(repo, "switch", "--quiet", "main")
    (repo / "dreamerv3/main.py").write_text("changed by hand")
    return repo


def options(repo: Path, revision: object) -> dict[str, Any]:
    limits = {"startup_deadline_s": 0, "heartbeat_s": 0, "grace_s": 1}
    return {"adapter": "dreamerv3", "repo": str(repo), "revision": revision, **limits}


def spec(source: TrainerSource) -> RunSpec:
    return RunSpec(
        key=RunKey(suite="gym", task="gym_CartPole-v1", label="dreamerv3", seed=0),
        method="dreamerv3",
        train_ratio=None,
        trainer_task="gym_CartPole-v1",
        schedule=Schedule(steps=1000),
        source=source,
    )


def script(repo: Path, revision: object, source: TrainerSource | None = None) -> Path:
    """The program that a run would execute."""
    trainer = checkout_trainer(options(repo, revision))
    return Path(trainer.launch(spec(source or trainer.source()), RunDir(repo.parent / "run")).argv[2])


@pytest.mark.parametrize(("revision", "text"), [("v1", "original"), ("idea", "idea"), ("main", "original")])
def test_exactly_the_revision_is_executed(repo: Path, revision: str, text: str) -> None:
    """Changes by hand are none of it, and the checkout stays as it was."""
    before = git(repo, "status", "--porcelain"), git(repo, "worktree", "list")
    trainer = checkout_trainer(options(repo, revision))
    path = script(repo, revision)

    assert trainer.source() == TrainerSource(
        adapter="dreamerv3", location=str(repo), revision=git(repo, "rev-parse", revision), dirty=False
    )
    assert path.read_text() == text
    assert (git(repo, "status", "--porcelain"), git(repo, "worktree", "list")) == before
    assert [each.name for each in (repo / ".git" / "dreamsweep").iterdir()] == [trainer.source().revision]


def test_a_commit_may_be_shortened_and_a_branch_lie_at_the_origin(repo: Path, tmp_path: Path) -> None:
    """As git itself reads them."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(repo), str(clone))
    full = git(repo, "rev-parse", "idea")

    assert checkout_trainer(options(repo, full[:10])).source().revision == full
    assert checkout_trainer(options(clone, "idea")).source().revision == full


def test_a_run_keeps_its_commit_when_the_branch_moves_on(repo: Path) -> None:
    """A retry after weeks executes what the run was planned with."""
    planned = checkout_trainer(options(repo, "idea")).source()
    git(repo, "stash", "--quiet")
    git(repo, "switch", "--quiet", "idea")
    commit(repo, "later idea")

    assert script(repo, "idea", planned).read_text() == "idea"
    assert script(repo, "idea").read_text() == "later idea"


def test_what_was_checked_out_is_found_again(repo: Path) -> None:
    """The second time nothing is written."""
    first = script(repo, "v1")
    before = first.stat().st_ino, first.stat().st_mtime_ns

    assert script(repo, "v1") == first
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == before


def test_many_at_once_make_one_checkout(repo: Path) -> None:
    """Attempts start side by side; each finds whole files, and nothing else is left behind."""
    revision = git(repo, "rev-parse", "idea")
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: PinnedCheckout(repo, "idea").folder(revision), range(16)))

    assert set(folders) == {repo / ".git" / "dreamsweep" / revision}
    assert (folders[0] / "dreamerv3/main.py").read_text() == "idea"
    assert [each.name for each in folders[0].parent.iterdir()] == [revision]


def test_where_the_repository_cannot_be_written_a_cache_is_used(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared checkout often belongs to somebody else."""
    (repo / ".git" / "dreamsweep").write_text("no folder: not even root can write into it")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    path = script(repo, "v1")

    assert path.is_relative_to(tmp_path / "cache" / "dreamsweep")
    assert path.read_text() == "original"


def test_a_folder_below_the_top_of_its_repository_is_found(tmp_path: Path) -> None:
    """A fork may be a part of a larger repository."""
    top = tmp_path / "all"
    (top / "agents").mkdir(parents=True)
    git(top, "init", "--quiet")
    (top / "agents" / "dreamerv3").mkdir()
    (top / "agents" / "dreamerv3" / "main.py").write_text("nested")
    (top / "agents" / "dreamerv3" / "configs.yaml").write_text(CONFIGS)
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "all")

    assert script(top / "agents", "HEAD").read_text() == "nested"


def test_an_unknown_revision_is_told_with_those_that_there_are(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In `plan` too, as a usage error."""
    words = ["trainer=dreamerv3", f"trainer.repo={repo}", "trainer.revision=nowhere", "suite=gym"]

    assert main(["plan", *words]) == 1
    message = capsys.readouterr().err
    assert "trainer.revision='nowhere' is no commit, tag or branch" in message
    assert "idea" in message
    assert "v1" in message


def test_a_word_that_looks_like_an_option_is_no_option(repo: Path) -> None:
    """It is handed to git as a name."""
    with pytest.raises(TrainerError, match="is no commit, tag or branch"):
        checkout_trainer(options(repo, "--all")).source()


def test_a_revision_without_the_trainer_is_told(repo: Path) -> None:
    """The file that it lacks is named."""
    git(repo, "rm", "--quiet", "-f", "dreamerv3/configs.yaml")
    git(repo, "commit", "--quiet", "-m", "gone")

    with pytest.raises(TrainerError, match=r"is no DreamerV3: it has no dreamerv3/configs\.yaml"):
        checkout_trainer(options(repo, "main")).source()


def test_a_revision_needs_a_repository(tmp_path: Path) -> None:
    """A plain folder has none."""
    with pytest.raises(TrainerError, match="needs git, and a git repository"):
        checkout_trainer(options(tmp_path, "v1")).source()


def test_a_plan_writes_nothing_and_follows_the_revisions_own_configs(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two methods put the original and a branch of it side by side, each with its own figures and commit."""
    (tmp_path / "conf" / "method").mkdir(parents=True)
    for name, revision in (("original", "v1"), ("idea", "idea")):
        (tmp_path / "conf" / "method" / f"{name}.yaml").write_text(f"name: {name}\ntrainer: {{revision: {revision}}}\n")
    words = ["trainer=dreamerv3", f"trainer.repo={repo}", "suite=gym", "task=gym_CartPole-v1", "steps=1000"]
    words += ["flags.run.envs=1", "method=original,idea", "--config-dir", str(tmp_path / "conf")]
    assert main(["plan", *words, "--json"]) == 0

    runs = json.loads(capsys.readouterr().out)["runs"]
    assert {run["method"]: run["frames"] for run in runs} == {"original": 3000, "idea": 5000}
    assert not (repo / ".git" / "dreamsweep").exists()


def test_a_commit_is_the_same_run_however_it_was_named(repo: Path) -> None:
    """A clean checkout at a tag, and the tag: one identity, so that neither contradicts the other."""
    git(repo, "checkout", "--quiet", "--", ".")
    as_it_is = spec(checkout_trainer(options(repo, None)).source())
    tagged = dataclasses.replace(as_it_is, source=checkout_trainer(options(repo, "v1")).source())

    assert as_it_is.digest() == tagged.digest()
