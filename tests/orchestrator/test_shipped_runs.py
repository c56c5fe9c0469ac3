"""Runs with `storage=ship` on this machine: what comes to the root, and what a retry begins with."""

import json
import os
import signal
from pathlib import Path

import pytest
from command_line import logged_steps, run_dir, run_words, said, started
from fakes.fake_runs import processes_with, wait_until

from sweeps.contracts import Attempt
from sweeps.files import read_records
from sweeps.layout import RunDir

LONG = ("steps=60", "flags.step_s=0.03")
RETRY = ("retry.delay_s=0", "retry.out_of_memory=5", "retry.crashed=0", "hold_after=null")


def ship_words(tmp_path: Path, *overrides: str) -> list[str]:
    """`run` with a store, and a local disk, beside the root."""
    return run_words(
        tmp_path / "root",
        "storage=ship",
        f"storage.local_dir={tmp_path}/local",
        f"storage.checkpoints='file://{tmp_path}/store'",
        "storage.interval_s=0.2",
        "trainer.checkpoint=saved_step",
        *RETRY,
        *overrides,
    )


def attempts(folder: RunDir) -> list[Attempt]:
    return [Attempt.from_json(record) for record in read_records(folder.attempts)]


def pids(folder: RunDir) -> list[int]:
    """The trainer of each attempt that has got so far."""
    return [attempt.pid for attempt in attempts(folder) if attempt.pid]


def manifests(tmp_path: Path) -> list[Path]:
    """The checkpoints in the store, oldest first."""
    return sorted((tmp_path / "store").rglob("manifests/*.json"))


def local_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "local").rglob("*") if path.is_file()]


def test_a_run_comes_to_the_root_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Logs, records and the marker; its checkpoint stays in the store, and nothing is left on the local disk."""
    code, _, err = said(capsys, *ship_words(tmp_path, "steps=8"))
    folder = run_dir(tmp_path / "root")

    assert (code, err) == (0, "")
    assert logged_steps(tmp_path / "root") == list(range(1, 9))
    (attempt,) = attempts(folder)
    assert (attempt.outcome, attempt.exit_code) == ("succeeded", 0)
    assert json.loads(folder.done.read_text()) == {"attempt": 1, "ended_at": attempt.ended_at}
    assert json.loads(folder.exit_status(1).read_text())["exit_code"] == 0
    assert json.loads(folder.spec.read_text())["key"] == "gym/gym_CartPole-v1/dreamerv3/0"
    assert folder.stdout.read_text().endswith("done\n")
    # The trainer's other files are its own affair.
    assert {path.name for path in folder.path.iterdir()} == {
        "attempts",
        "attempts.jsonl",
        "done",
        "run.json",
        "scores.jsonl",
        "stdout.log",
    }
    assert len(manifests(tmp_path)) == 1
    assert local_files(tmp_path) == []


def test_a_killed_trainer_goes_on_from_the_store(tmp_path: Path, gate: Path) -> None:
    """In another folder, as if on another node; each step is logged as it would be in one place."""
    root = tmp_path / "root"
    with started(*ship_words(tmp_path, *LONG)) as sweep:
        for number in (1, 2):
            wait_until(lambda n=number: len(manifests(tmp_path)) >= n and len(pids(run_dir(root))) == n)  # type: ignore[misc]
            os.kill(pids(run_dir(root))[-1], signal.SIGKILL)
        wait_until(lambda: len(pids(run_dir(root))) == 3)
        gate.touch()
        assert sweep.wait(timeout=60) == 0

    found = attempts(run_dir(root))
    steps = logged_steps(root)
    assert [attempt.outcome for attempt in found] == ["out_of_memory", "out_of_memory", "succeeded"]
    assert all(attempt.repairs[0].startswith("fetched the checkpoint ") for attempt in found[1:])
    assert sorted(set(steps)) == list(range(1, 61))
    content = run_dir(root).scores.read_bytes()
    for attempt in found[1:]:
        seam = attempt.log_bytes["scores.jsonl"]
        assert content[seam - 1 : seam] == b"\n"
        # It resumed behind what it had: no step before its checkpoint is missing.
        first = json.loads(content[seam:].splitlines()[0])["step"]
        before = [json.loads(line)["step"] for line in content[:seam].splitlines()]
        assert first <= max(before) + 1


def test_a_killed_orchestrator_loses_nothing_that_was_saved(
    tmp_path: Path, gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next one goes on from the checkpoint, which took along the end of the log that had not arrived."""
    root = tmp_path / "root"
    words = ship_words(tmp_path, *LONG)
    with started(*words) as sweep:
        wait_until(lambda: len(manifests(tmp_path)) >= 2)
        sweep.kill()
        sweep.wait()
    wait_until(lambda: not processes_with(str(tmp_path / "local")))
    gate.touch()

    code, _, _ = said(capsys, *words)

    first, second = attempts(run_dir(root))
    assert code == 0
    assert (first.outcome, second.outcome) == ("worker_lost", "succeeded")
    assert sorted(set(logged_steps(root))) == list(range(1, 61))


def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path, gate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the newest is damaged, the one before; the record says so."""
    root = tmp_path / "root"
    words = ship_words(tmp_path, *LONG)
    with started(*words) as sweep:
        wait_until(lambda: len(manifests(tmp_path)) == 2)
        sweep.kill()
        sweep.wait()
    wait_until(lambda: not processes_with(str(tmp_path / "local")))
    gate.touch()
    manifests(tmp_path)[-1].write_text("{")

    code, _, _ = said(capsys, *words)

    assert code == 0
    assert "is torn" in attempts(run_dir(root))[1].repairs[1]
    assert sorted(set(logged_steps(root))) == list(range(1, 61))


def test_without_a_whole_checkpoint_a_fresh_start_must_be_asked_for(
    tmp_path: Path, gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run fails with words that tell how; asked, it begins anew, and its earlier logs are put aside."""
    root = tmp_path / "root"
    words = ship_words(tmp_path, *LONG)
    with started(*words) as sweep:
        wait_until(lambda: manifests(tmp_path) and logged_steps(root))
        sweep.kill()
        sweep.wait()
    wait_until(lambda: not processes_with(str(tmp_path / "local")))
    gate.touch()
    for manifest in manifests(tmp_path):
        manifest.write_text("{")
    before = run_dir(root).scores.read_bytes()

    code, out, _ = said(capsys, *words)
    assert code == 2
    assert "None of the checkpoints" in " ".join(out.split())
    assert "--fresh" in out
    assert run_dir(root).scores.read_bytes() == before

    assert said(capsys, "retry", str(root), "--run", "*/0", "--fresh")[0] == 0
    code, out, _ = said(capsys, *words)

    assert code == 0
    assert logged_steps(root) == list(range(1, 61))
    assert (run_dir(root).path / "set_aside/3/scores.jsonl").read_bytes() == before
    assert attempts(run_dir(root))[-1].set_aside == "set_aside/3"
    assert "60 episodes of 1 run" in out


def test_a_run_that_has_no_checkpoint_yet_begins_anew(
    tmp_path: Path, gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program without checkpoints, or a node that was lost before the first one: what it repeats is counted once."""
    root = tmp_path / "root"
    with started(*ship_words(tmp_path, *LONG, "trainer.checkpoint=null")) as sweep:
        wait_until(lambda: len(logged_steps(root)) > 3)
        os.kill(pids(run_dir(root))[-1], signal.SIGKILL)
        gate.touch()
        assert sweep.wait(timeout=60) == 0

    assert logged_steps(root)[-60:] == list(range(1, 61))
    code, out, _ = said(capsys, "aggregate", str(root), "--json")
    assert (code, json.loads(out)["rows"]) == (0, 60)


@pytest.mark.parametrize(("first", "second"), [("ship", "shared"), ("shared", "ship")])
@pytest.mark.usefixtures("gate")
def test_a_run_is_not_gone_on_with_under_the_other_storage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: str, second: str
) -> None:
    """Its checkpoints are elsewhere, and it would begin anew without a word."""
    root = tmp_path / "root"
    words = {"ship": ship_words(tmp_path, *LONG), "shared": run_words(root, *LONG)}
    with started(*words[first]) as sweep:
        wait_until(lambda: logged_steps(root))
        sweep.kill()
        sweep.wait()
    wait_until(lambda: not processes_with(str(tmp_path)))

    code, _, err = said(capsys, *words[second])

    assert code == 1
    assert f"was begun with storage={first}" in err


def test_a_store_that_cannot_be_used_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the URL and the reason."""
    code, _, err = said(capsys, *ship_words(tmp_path, "storage.checkpoints='nope://bucket'"))

    assert code == 1
    assert "storage.checkpoints='nope://bucket' cannot be used: Protocol not known: nope. Expected a URL" in err
    assert attempts(run_dir(tmp_path / "root")) == []


@pytest.mark.parametrize(
    ("folder", "reason"),
    [("/proc/no/such/place", "cannot be written on"), ("'$NO_SUCH_VARIABLE/here'", "names a variable that is not set")],
)
def test_a_disk_that_cannot_be_used_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str, reason: str
) -> None:
    """With the setting, the reason and the host."""
    code, _, err = said(capsys, *ship_words(tmp_path, f"storage.local_dir={folder}"))

    assert code == 1
    assert f"storage.local_dir={folder if folder.startswith(chr(39)) else repr(folder)} {reason}" in err


def test_a_joined_cluster_needs_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of the root would be seen by no node of it."""
    code, _, err = said(capsys, *run_words(tmp_path / "root", "storage=ship", "cluster=ray"))

    assert code == 1
    assert "storage.checkpoints is not set; expected the URL of a store" in err
