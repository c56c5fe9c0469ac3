"""A detached orchestrator: `run --detach` returns, `attach` waits for the end, and mistakes come back all the same."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import logged_steps, run_words, said, starts, status
from fakes.fake_runs import is_alive, processes_with, wait_until

from orchestrator.cli import main
from orchestrator.lock import RootLock
from sweeps.layout import SweepRoot

LONG = ("steps=1000", "flags.step_s=0.05")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A sweep root; the orchestrator that a test leaves behind is stopped, and no process of it is left."""
    root = tmp_path / "root"
    yield root
    pid = holder(root)
    if pid and is_alive(pid):
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not processes_with(str(tmp_path)))


def holder(root: Path) -> int:
    """The process that holds a root; 0 where none does."""
    try:
        return int(json.loads(SweepRoot(root).lock.read_text())["pid"])
    except FileNotFoundError:
        return 0


def test_a_detached_sweep_goes_on_by_itself(root: Path, gate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`run --detach` returns while it runs, names who drives it, and `attach` ends with it."""
    code, out, err = said(capsys, *run_words(root, "--detach", "steps=60", "flags.step_s=0.05"))
    pid = holder(root)

    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith(f"process {pid} on ")
    assert out.splitlines()[-1].endswith(f" drives it. `dreamsweep attach {root}` shows it.")
    assert os.getsid(pid) == pid
    assert len(logged_steps(root)) < 60
    assert str(status(capsys, root)["orchestrator"]).startswith(f"process {pid} on ")

    gate.touch()
    code, out, err = said(capsys, "attach", str(root))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "1 done; no orchestrator drives it"
    assert logged_steps(root) == list(range(1, 61))
    assert [path.name for path in SweepRoot(root).score_files.iterdir()] == ["gym-dreamerv3.json.gz"]


def test_who_drives_a_detached_sweep_is_told_as_json(
    root: Path, gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object on standard output; the words go to standard error."""
    code, out, err = said(capsys, *run_words(root, "--detach", "--json", "steps=40", "flags.step_s=0.05"))
    told = json.loads(out)

    assert (code, told["root"]) == (0, str(root))
    assert told["orchestrator"].startswith(f"process {holder(root)} on ")
    assert err.splitlines()[-1].startswith(told["orchestrator"])
    gate.touch()
    assert said(capsys, "attach", str(root))[0] == 0


def test_a_sweep_that_ends_at_once_is_told_as_json_too(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody drives it any more; the exit code is that of the orchestrator."""
    assert main(run_words(root)) == 0
    code, out, _ = said(capsys, *run_words(root, "--detach", "--json"))

    assert (code, json.loads(out)) == (0, {"root": str(root), "orchestrator": None, "exit_code": 0})


def test_files_of_the_user_are_not_taken_for_modules(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script named as a module of Python's is what people have in the folder where they stand."""
    checkout = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [checkout, os.environ.get("PYTHONPATH")])))
    monkeypatch.chdir(tmp_path)
    for name in ("statistics", "fnmatch", "sweeps"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken for a module')\n")

    code, out, err = said(capsys, *run_words(root, "--detach"))
    assert (code, err) == (0, ""), out
    assert said(capsys, "attach", str(root))[0] == 0


def test_a_second_orchestrator_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the name of the first, which goes on undisturbed; with and without --detach."""
    assert main(run_words(root, "--detach", *LONG)) == 0
    wait_until(lambda: starts(root), limit_s=60)
    pid = holder(root)

    code, out, err = said(capsys, *run_words(root, "--detach", *LONG))
    assert code == 1
    assert f"root: {root}" in out.splitlines()
    assert err.startswith(f"dreamsweep: Another orchestrator holds {root}: process {pid} on ")
    assert err.endswith(f". `dreamsweep attach {root}` shows it.\n")
    assert said(capsys, *run_words(root, *LONG))[0] == 1
    assert holder(root) == pid
    assert len(starts(root)) == 1


def test_a_root_that_is_locked_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a process is started."""
    root.mkdir()
    with RootLock(SweepRoot(root).lock):
        code, _, err = said(capsys, *run_words(root, "--detach"))

    assert code == 1
    assert err.startswith(f"dreamsweep: Another orchestrator holds {root}: process {os.getpid()} on ")
    assert sorted(path.name for path in root.iterdir()) == []


def test_a_mistake_in_the_words_is_told_here(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left behind where the configuration cannot be composed."""
    code, out, err = said(capsys, *run_words(root, "--detach", "method=dreamer3"))

    assert (code, out) == (1, "")
    assert err.startswith("dreamsweep: Unknown method 'dreamer3'. Did you mean 'dreamerv3'? Allowed: ")
    assert not root.exists()


def test_a_run_that_fails_is_told_by_attach(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with the cause."""
    assert main(run_words(root, "--detach", "flags.mode=fail", "retry.crashed=0")) in (0, 2)
    code, out, _ = said(capsys, "attach", str(root))

    assert code == 2
    assert "1 failed (crashed): " in out
    assert "the reward is a teapot" in out


def test_a_run_that_fits_nowhere_is_told_here(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The orchestrator finds out when it sees the nodes: its message and its exit code are ours."""
    code, out, err = said(capsys, *run_words(root, "--detach", "resources.cpus=64"))

    assert (code, err) == (1, "")
    assert "dreamsweep: No node of the cluster can ever hold a run that asks for 64 CPUs" in out


def test_a_changed_specification_is_told_here(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Although the orchestrator holds the root when it finds out."""
    assert main(run_words(root)) == 0
    code, out, err = said(capsys, *run_words(root, "--detach", "steps=7"))

    assert (code, err) == (1, "")
    message = out[out.index("dreamsweep: ") :]
    assert message.startswith(f"dreamsweep: The run gym/gym_CartPole-v1/dreamerv3/0 in {root} was made with other")
    assert "schedule.steps: 5 then, 7 now" in message
    assert len(starts(root)) == 1


def test_a_detached_sweep_is_stopped_by_a_signal_and_goes_on(
    root: Path, gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM is its Ctrl-C: `attach` tells that it was interrupted, and the same command continues."""
    words = run_words(root, "--detach", "steps=60", "flags.step_s=0.05")
    assert main(words) == 0
    wait_until(lambda: len(logged_steps(root)) > 3, limit_s=60)
    os.kill(holder(root), signal.SIGTERM)

    assert said(capsys, "attach", str(root))[0] == 3
    before = logged_steps(root)
    assert len(before) < 60
    gate.touch()
    assert main(words) == 0
    assert said(capsys, "attach", str(root))[0] == 0
    assert sorted(set(logged_steps(root))) == list(range(1, 61))
    assert len(starts(root)) == 2
