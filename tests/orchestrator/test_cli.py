"""The command line: what it refuses and in which words, and a sweep of the fake trainer from the first run to the last.

The programs under test are real processes where signals, exit codes or locks matter.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from command_line import ended, logged_steps, run_dir, started, starts
from fakes.fake_runs import FAKE_COMMAND, processes_with, wait_until

from orchestrator.cli import main
from sweeps.files import read_records
from sweeps.layout import SweepRoot

PLAN_KEYS = {"suite", "task", "method", "train_ratio", "seed", "label", "frames", "policy_steps", "updates"}
FAKE = [
    "suite=gym",
    "task=gym_CartPole-v1",
    "trainer=command",
    f"trainer.command='{FAKE_COMMAND}'",
    "cluster=process",
    "cluster.cpus=4",
    "steps=5",
]


def words(*overrides: str, root: Path) -> list[str]:
    return ["run", *FAKE, f"root={root}", *overrides]


def called(*arguments: str) -> "subprocess.CompletedProcess[str]":
    with started(*arguments) as process:
        code, out, err = ended(process, limit_s=90.0)
    return subprocess.CompletedProcess(process.args, code, out, err)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A sweep root; no process that names it is left at the end of a test."""
    yield tmp_path / "root"
    wait_until(lambda: not processes_with(str(tmp_path)))


# --- plan


def test_plan_lists_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON of a plan has one entry for each cell, with its figures, and the sums."""
    axes = ["task=dmc_walker_walk,dmc_cheetah_run", "train_ratio=32,512", "seed=range(0,5)"]
    code = main(["plan", "suite=dmc_proprio", *axes, "--json"])
    plan = json.loads(capsys.readouterr().out)

    assert code == 0
    assert {(run["task"], run["label"], run["train_ratio"], run["seed"]) for run in plan["runs"]} == {
        (task, f"dreamerv3_tr{ratio}", float(ratio), seed)
        for task in ("dmc_walker_walk", "dmc_cheetah_run")
        for ratio in (32, 512)
        for seed in range(5)
    }
    assert all(run.keys() >= PLAN_KEYS for run in plan["runs"])
    assert {(run["suite"], run["method"]) for run in plan["runs"]} == {("dmc_proprio", "dreamerv3")}
    assert plan["total"]["runs"] == len(plan["runs"]) == 20
    for figure in ("frames", "policy_steps", "updates"):
        assert plan["total"][figure] == sum(run[figure] for run in plan["runs"])


def test_plan_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the root nor anything else."""
    monkeypatch.chdir(tmp_path)

    assert main(["plan"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_plan_is_readable_where_it_is_piped() -> None:
    """No escape codes, no line broken in the middle of a cell."""
    done = called("plan", "suite=atari100k")

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "26 tasks" in done.stdout


def test_nobody_who_reads_on_is_no_failure() -> None:
    """`dreamsweep plan | head -1` is no error of the plan."""
    with started("plan", "suite=atari100k") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert (process.wait(timeout=60), process.stderr.read()) == (0, "")


@pytest.mark.parametrize(("encoding", "sign"), [("ascii", b"?"), ("utf-8", "×".encode())])
def test_any_terminal_gets_its_plan(encoding: str, sign: bytes) -> None:
    """What it has no letter for is a question mark."""
    command = [sys.executable, "-m", "orchestrator.cli", "plan", "task=gym_CartPole-v1"]
    environ = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environ, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 run (1 task " + sign + b" 1 label" in done.stdout


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any command."""
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("dreamsweep ")


@pytest.mark.parametrize("command", ["plan", "run", "probe", "nightly"])
def test_cfg_prints_what_is_composed(
    command: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As YAML that can be read back, axes as they were asked for; nothing is run."""
    trainer = ["trainer=command", "trainer.command=/bin/true", f"root={root}"]
    assert main([command, "seed=0,1", "steps=1e3", "--cfg", *trainer]) == 0
    assert list(tmp_path.iterdir()) == []

    text = capsys.readouterr().out
    assert "\nsteps: 1000" in text
    assert re.search(r"seed:\n\s*- 0\n\s*- 1", text)


def test_options_and_overrides_come_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    """People append what comes to mind."""
    assert main(["plan", "seed=0", "--json", "train_ratio=32"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["runs"] == 5


def test_a_plan_needs_no_trainer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A grid can be planned on a laptop."""
    assert main(["plan", f"trainer.home={tmp_path}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["runs"] == 5


# --- what is refused

REFUSED = [
    (["seeed=1"], r"Unknown key 'seeed'.* Did you mean 'seed'\? Allowed: .*\bsuite\b"),
    (["cluster.cpu=1"], r"Unknown key 'cpu' in cluster\. Did you mean 'cpus'\? Allowed: .*poll_every_s"),
    (["trainer.comand=x"], r"Unknown key 'comand' in trainer\. Did you mean 'command'\?"),
    (["suite=gim"], r"Unknown suite 'gim'\. Did you mean 'gym'\? Allowed: .*atari100k"),
    (["method=dreamer3"], r"Unknown method 'dreamer3'\. Did you mean 'dreamerv3'\? Allowed: .*size12m"),
    (["method=dreamerv3,size13m"], r"Unknown method 'size13m'\. Did you mean 'size1m'\?"),
    (["trainer=dreamrv3"], r"Unknown trainer 'dreamrv3'\. Did you mean 'dreamerv3'\?"),
    (["experiment=quick"], r"Unknown experiment 'quick'\..* Allowed: .*quickstart"),
    (["task=gym_CartPole"], r"Unknown task 'gym_CartPole' in suite gym\. Did you mean 'gym_CartPole-v1'\?"),
    (["task='gym_X*'"], r"Unknown task 'gym_X\*' in suite gym\..* Allowed: gym_Acrobot-v1"),
    (["seed=0,0"], r"gym/gym_CartPole-v1/dreamerv3/0 is planned twice"),
    (["train_ratio=default,64"], r"is planned twice"),
    (["seed=[]"], r"The axis 'seed' is empty"),
    (["seed="], r"The axis 'seed' holds an empty value"),
    (["train_ratio=-1"], r"train_ratio -1 .* not negative"),
    (["train_ratio=much"], r"train_ratio 'much' is no ratio"),
    (["seed=-1"], r"The seed -1 is no seed"),
    (["seed=1.5"], r"The seed 1\.5 is no seed"),
    (["steps=0"], r"steps is 0\..* greater than 0"),
    (["steps=0,1"], r"'steps=0,1' sweeps over 'steps', which is no axis\. The axes are suite, task"),
    (["seed=range(0"], r"Cannot read the override 'seed=range\(0'"),
    (["seed=1", "seed=2"], r"The axis 'seed' is given twice"),
    (["--config-dir", "/nowhere"], r"--config-dir '/nowhere' is not a folder"),
    (["--frobnicate"], r"unrecognized arguments: --frobnicate"),
    (["--jso"], r"unrecognized arguments: --jso"),
    (["trainer.command=null"], r"trainer\.command is not set"),
    (["trainer.command='python x {tusk}'"], r"Unknown field 'tusk' in trainer\.command\. Did you mean 'task'\?"),
    (["trainer.command='\"'"], r"cannot be split into words"),
    (
        ["trainer.command='x {train_ratio:.1f}'"],
        r"word '\{train_ratio:\.1f\}', which cannot be filled in: Unknown format",
    ),
    (["trainer.command='x {seed:{task}}'"], r"which cannot be filled in"),
    (["hold_after=11"], r"hold_after is 11\. .*less than or equal to 10"),
    (["train_ratio=1e300"], r"train_ratio 1e\+300 is no ratio; .* up to 1e\+12"),
    (["train_ratio=x1e400"], r"train_ratio 'x1e400' is no ratio"),
    (["resources.memory_gb=inf"], r"resources\.memory_gb is inf\. .*finite"),
    (["cluster.lease_s=1e400"], r"cluster\.lease_s is inf\. .*finite"),
    (["cluster=null"], r"Unknown cluster 'None'\. Allowed: local"),
    (["experiment=null"], r"Unknown experiment 'None'\. Allowed: nightly"),
    (["resources=much"], r"resources is 'much'\. .*valid dictionary"),
    (["method.trainer=mine"], r"method\.trainer is 'mine'\. .*valid dictionary"),
    (["method.resources=[1]"], r"method\.resources is \[1\]\. .*valid dictionary"),
    (
        ["trainer=dreamer_pypi", "flags.batch_size=abc"],
        r"option batch_size is 'abc'; expected a whole number, .* 16 in",
    ),
    (["trainer=dreamer_pypi", "flags.batch_size=1.5"], r"option batch_size is 1\.5; expected a whole number"),
    (["trainer=dreamer_pypi", "flags.run.envs=[1]"], r"option run\.envs is \[1\]; expected a whole number"),
    (
        ["trainer=dreamer_pypi", "flags.env.gym.repeat=null"],
        r"option env\.gym\.repeat is None; expected a whole number",
    ),
    (["trainer=dreamer_pypi", "flags.replay.size=abc"], r"option replay\.size is 'abc'; expected a number"),
    (["trainer=dreamer_pypi", "flags.run.debug=1"], r"option run\.debug is 1; expected true or false"),
    (["trainer=dreamer_pypi", "flags.batch_size=-3"], r"option batch_size is -3; expected at least 1"),
    (["trainer=dreamer_pypi", "flags.batch_length=0"], r"option batch_length is 0; expected at least 1"),
    (["trainer=dreamer_pypi", "flags.run.envs=0"], r"option run\.envs is 0; expected at least 1"),
    (["trainer=dreamer_pypi", "flags.env.gym.repeat=0"], r"option env\.gym\.repeat is 0; expected at least 1"),
    (["trainer=dreamer_pypi", "flags.replay_context=-1"], r"option replay_context is -1; expected at least 0"),
    (["task='gym_*'", "train_ratio=1,2", "zip=[[task,train_ratio]]"], r"task has 1, train_ratio has 2\. A pattern"),
]


def sentence(text: str, pattern: str) -> None:
    """One message on standard error: no traceback, no warning besides it."""
    assert re.search(pattern, text, re.DOTALL), text
    assert "Traceback" not in text
    assert text.startswith("dreamsweep")
    assert len(text.splitlines()) <= 2, text


@pytest.mark.parametrize(("overrides", "pattern"), REFUSED, ids=lambda value: " ".join(value)[:30])
def test_what_cannot_be_is_refused_in_a_sentence(
    overrides: list[str], pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and what is wrong, what was expected and what is near, on standard error alone."""
    axes = ["suite=gym", "task=gym_CartPole-v1", "trainer=command"]
    given = {word.split("=")[0] for word in overrides}
    arguments = [word for word in axes if word.split("=")[0] not in given]
    command = [] if any("command" in word for word in overrides) else ["trainer.command=/bin/true"]
    if "trainer" in given:
        command = []
    try:
        code = main(["plan", *arguments, *command, *overrides])
    except SystemExit as exit_:  # argparse's own way out
        code = int(str(exit_.code))

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    sentence(err, pattern)


def test_a_config_file_that_is_no_yaml_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message has the file and the line."""
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "mine.yaml").write_text("name: mine\nsuite\n: x: y")

    assert main(["plan", "--config-dir", str(tmp_path), "suite=mine"]) == 1
    sentence(capsys.readouterr().err, r"is no YAML: .*mine\.yaml\", line 2")


def test_a_config_file_that_is_no_utf8_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hydra's own error does not say which file it was."""
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_bytes("name: mine\nabout: café".encode("latin-1"))

    assert main(["plan", "--config-dir", str(tmp_path), "suite=gym", "method=mine"]) == 1
    sentence(capsys.readouterr().err, r"method/mine\.yaml is no UTF-8: .* Save it as UTF-8\.")


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["aggregate", "nowhere"], r"nowhere does not exist"),
        (["import", "nowhere.json.gz", "--store", "store"], r"nowhere\.json\.gz .*: No such file or directory\."),
        (["import", "empty.json.gz", "--store", "store"], r"empty\.json\.gz holds no run"),
        (["import", "text.json.gz", "--store", "store"], r"text\.json\.gz .*: expected a JSON list of runs"),
    ],
)
def test_a_path_that_holds_nothing_is_told(
    words: list[str],
    pattern: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Which one, and what was expected."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.json.gz").write_text("[]")
    (tmp_path / "text.json.gz").write_text("hello")

    assert main(words) == 1
    sentence(capsys.readouterr().err, pattern)


def test_every_command_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    """In its own help as in the list of all."""
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    listed = re.search(r"COMMAND\n(.*?)\n\n", capsys.readouterr().out, re.DOTALL)
    assert listed is not None
    names = re.findall(r"^    ([a-z]+)\b", listed[1], re.MULTILINE)
    assert len(names) == 19
    for name in names:
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
        usage, about, *_ = capsys.readouterr().out.split("\n\n")
        assert usage.startswith(f"usage: dreamsweep {name} ")
        assert about.endswith(".")


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also behind a `=`, where shells leave the tilde alone."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "conf" / "suite").mkdir(parents=True)
    (tmp_path / "conf" / "suite" / "ponds.yaml").write_text("name: ponds\ntasks: [ponds_a]\nsteps: 10\n")

    assert main(["plan", "--config-dir=~/conf", "suite=ponds", "trainer=command", "trainer.command=true"]) == 0


@pytest.mark.parametrize("count", ["0", "1.5", "inf", "nan", "many"])
def test_a_count_that_is_none_is_refused(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of bins, points and frames."""
    with pytest.raises(SystemExit, match="1"):
        main(["export", "root", "--bins", count])
    sentence(capsys.readouterr().err, r"--bins: invalid whole number above 0 value: ")


@pytest.mark.parametrize("command", [["status"], ["table"], ["cancel", "--all"]])
def test_a_file_of_a_root_that_cannot_be_read_is_told(
    command: list[str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a root that belongs to somebody else; which file it is, and no traceback."""
    (root / "journal.jsonl").mkdir(parents=True)
    (root / "sweep.yaml").write_text("name: sweep\n")

    assert main([*command, str(root)]) == 1
    sentence(capsys.readouterr().err, r"Is a directory: '.*/journal\.jsonl'\. Check the path, and your permissions")


@pytest.mark.parametrize("name", ["", "/nowhere"])
def test_a_trainer_repo_that_is_none_is_refused(
    name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is written."""
    repo = name or str(tmp_path)

    assert main(["run", "trainer=dreamerv3", f"trainer.repo={repo}", "cluster=process", f"root={root}"]) == 1
    sentence(capsys.readouterr().err, r"is no checkout of DreamerV3: .*dreamerv3/main\.py is missing")
    assert not root.exists()


def test_a_trainer_repo_is_required(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says which option names it."""
    assert main(["run", "trainer=dreamerv3", "cluster=process", f"root={root}"]) == 1
    sentence(capsys.readouterr().err, r"trainer\.repo is not set; expected a checkout")


def test_a_trainer_that_is_not_installed_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that installs it."""
    assert main(["run", f"trainer.home={tmp_path}/none", "cluster=process", f"root={root}"]) == 1
    sentence(capsys.readouterr().err, r"not installed in .* Run: dreamsweep trainer install")


@pytest.mark.parametrize("mode", ["", "disabled"])
def test_a_cluster_without_a_token_is_refused(
    mode: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reaches its ports could run programs there."""
    monkeypatch.setenv("RAY_AUTH_MODE", mode)

    assert main(words("cluster=ray", root=root)) == 1
    sentence(capsys.readouterr().err, rf"RAY_AUTH_MODE is {mode or 'not set'}; expected token, .* cluster\.auth=open\.")


def test_reading_on_an_open_cluster_is_asked_for_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`aggregate` has no option for it; Ray's own variable says so on purpose."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)

    assert main(["aggregate", str(tmp_path), "--store", str(tmp_path / "store"), "--ray", "127.0.0.1:1"]) == 1
    sentence(capsys.readouterr().err, r"RAY_AUTH_MODE is not set; .* on purpose with RAY_AUTH_MODE=disabled\.")


def test_a_run_that_fits_on_no_node_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ray would let it wait for ever without a word."""
    assert main(words("resources.gpus=1", root=root)) == 1

    err = capsys.readouterr().err
    assert "asks for 1 CPU, 1 GPU" in err
    assert "4 CPUs, 0 GPUs" in err
    assert "GiB" not in err, "nobody counts the memory here"
    assert "Traceback" not in err


def test_a_root_with_a_file_in_the_way_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A root must be a folder that takes files."""
    (tmp_path / "file").write_text("in the way")

    assert main(words(root=tmp_path / "file" / "root")) == 1
    sentence(capsys.readouterr().err, r"The root '.*/file/root' cannot be written: Not a directory\. Give another")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if mounted.returncode:
        pytest.skip("this machine does not let tests mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_root_is_refused(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also for root, who may write everywhere else."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    assert main(words(root=small_disk / "root")) == 1
    sentence(capsys.readouterr().err, r"cannot be written: Read-only file system")


def test_a_disk_that_fills_up_is_told_in_words(small_disk: Path) -> None:
    """The sweep stops with the reason; there is no traceback."""
    done = called(*words("steps=100000", "flags.step_s=0", root=small_disk / "root"))

    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (1, 2, 3)
    assert re.search(r"disk|space", done.stdout + done.stderr)


# --- run


def test_a_sweep_runs_to_its_end(root: Path) -> None:
    """Every run is done, and the results are where the output says; nothing in it is for terminals only."""
    done = called(*words("seed=0,1,2", root=root))

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "3 done" in done.stdout.splitlines()[-1]
    assert [run_dir(root, seed).done.exists() for seed in range(3)] == [True] * 3
    assert f"{root}/score_files/gym-dreamerv3.json.gz: 3 runs, 15 points" in done.stdout
    assert not SweepRoot(root).lock.exists()


def test_a_sweep_that_is_done_is_not_run_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time nothing is started; a further seed runs alone."""
    assert main(words("seed=0,1", root=root)) == 0
    assert main(words("seed=0,1", root=root)) == 0
    assert main(words("seed=0,1,2", root=root)) == 0

    assert [len(starts(root, seed)) for seed in range(3)] == [1, 1, 1]
    assert "3 done" in capsys.readouterr().out


def test_a_failing_run_does_not_stop_the_others(root: Path) -> None:
    """Exit code 2; the end of the output names it with its cause, the last lines of its log and where that is."""
    flags = ["flags.mode=fail", "flags.mode_seed=1"]
    done = called(*words("seed=0,1,2", "retry.crashed=0", *flags, root=root))
    log = run_dir(root, 1).stdout

    assert done.returncode == 2, done.stderr
    end = done.stdout[done.stdout.index("1 failed") :]
    assert "gym/gym_CartPole-v1/dreamerv3/1" in end
    assert "the reward is a teapot" in end
    assert "    | RuntimeError: the reward is a teapot" in end
    assert str(log) in end
    assert "2 done, 1 failed" in end
    assert [run_dir(root, seed).done.exists() for seed in range(3)] == [True, False, True]


def test_the_end_as_json(root: Path) -> None:
    """Standard output is one object; everything for people goes to standard error."""
    flags = ["flags.mode=fail", "flags.mode_seed=1"]
    done = called(*words("seed=0,1", "retry.crashed=0", "--json", *flags, root=root))
    result = json.loads(done.stdout)

    assert (done.returncode, result["root"]) == (2, str(root))
    assert (result["done"], result["failed"], result["open"]) == (1, 1, 0)
    (failure,) = result["failures"]
    assert (failure["run"], failure["outcome"], failure["log"]) == (
        "gym/gym_CartPole-v1/dreamerv3/1",
        "crashed",
        str(run_dir(root, 1).stdout),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_continues(root: Path, gate: Path, number: signal.Signals) -> None:
    """Ctrl-C ends trainers and orchestrator, exit code 3; the same command goes on from where each run was."""
    arguments = words("seed=0,1", "steps=60", "flags.step_s=0.05", root=root)
    with started(*arguments) as process:
        for seed in (0, 1):
            wait_until(lambda seed=seed: len(logged_steps(root, seed)) > 3, limit_s=60)
        process.send_signal(number)
        _, out, err = ended(process)
    gate.touch()

    assert (process.returncode, err) == (3, "")
    assert "Stopping" in out
    assert "2 not finished: the same command continues" in out
    assert processes_with(str(root)) == []
    assert not SweepRoot(root).lock.exists()
    assert main(arguments) == 0
    for seed in (0, 1):
        assert sorted(set(logged_steps(root, seed))) == list(range(1, 61))
        assert len(starts(root, seed)) == 2


def test_a_sweep_goes_on_when_its_terminal_closes(root: Path, gate: Path) -> None:
    """It cannot show anything any more; nobody asked it to stop."""
    terminal, own = os.openpty()
    command = [sys.executable, "-m", "orchestrator.cli", *words("steps=40", "flags.step_s=0.05", root=root)]
    process = subprocess.Popen(command, stdin=own, stdout=own, stderr=own, start_new_session=True)
    try:
        os.close(own)
        wait_until(lambda: len(logged_steps(root)) > 3, limit_s=60)
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        gate.touch()
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 0
    assert run_dir(root, 0).done.exists()
    assert len(starts(root)) == 1


def test_a_second_interrupt_does_not_wait(root: Path) -> None:
    """Who presses Ctrl-C twice is in a hurry; trainers go all the same."""
    with started(*words("flags.mode=deaf", "trainer.grace_s=60", root=root)) as process:
        wait_until(lambda: run_dir(root, 0).stdout.exists() and "here I stay" in run_dir(root, 0).stdout.read_text())
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert any("Stopping" in line for line in process.stdout)  # two signals at once would be one
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)  # and not for the whole grace period

    assert process.returncode == 3
    wait_until(lambda: not processes_with(str(root)))


def test_a_killed_orchestrator_is_continued(root: Path, gate: Path) -> None:
    """kill -9 in the middle: the lock is free, the journal reads, and the run goes on as its next attempt."""
    arguments = words("steps=40", "flags.step_s=0.05", root=root)
    with started(*arguments) as process:
        wait_until(lambda: len(logged_steps(root)) > 3, limit_s=60)
        process.kill()
    gate.touch()

    assert main(arguments) == 0
    attempts = list(read_records(run_dir(root, 0).attempts))
    assert [attempt["attempt"] for attempt in attempts] == [1, 2]
    assert sorted(set(logged_steps(root))) == list(range(1, 41))


@pytest.mark.parametrize("lost", ["removed", "behind"])
def test_attempts_are_counted_on_where_the_journal_was_lost(root: Path, gate: Path, lost: str) -> None:
    """The run's own folder tells of them; a second first attempt would hide where the log begins again."""
    arguments = words("steps=40", "flags.step_s=0.05", root=root)
    with started(*arguments) as process:
        wait_until(lambda: len(logged_steps(root)) > 3, limit_s=60)
        process.kill()
    wait_until(lambda: not processes_with(str(root)))
    gate.touch()
    journal = SweepRoot(root).journal
    if lost == "removed":
        journal.unlink()
    else:  # as it was before the launch of the attempt
        journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:2]))

    assert main(arguments) == 0
    assert [attempt["attempt"] for attempt in read_records(run_dir(root).attempts)] == [1, 2]
    assert sorted(pd.read_parquet(root / "scores")["step"]) == list(range(1, 41))


def test_a_root_has_one_orchestrator(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second is refused by the name of the first, and leaves it alone."""
    with started(*words("steps=1000", "flags.step_s=0.05", root=root)) as process:
        wait_until(lambda: starts(root), limit_s=60)

        assert main(words("steps=1000", "flags.step_s=0.05", root=root)) == 1
        sentence(capsys.readouterr().err, rf"Another orchestrator holds {root}: process {process.pid} on ")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 3


def test_a_changed_specification_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the difference, before anything runs; the results that are there stay as they are."""
    assert main(words(root=root)) == 0
    capsys.readouterr()

    assert main(words("steps=7", "+flags.lr=0.1", root=root)) == 1
    err = capsys.readouterr().err
    assert "The run gym/gym_CartPole-v1/dreamerv3/0 in" in err
    assert "schedule.steps: 5 then, 7 now" in err
    assert "'lr': 0.1" in err
    assert len(starts(root)) == 1


def test_a_mistake_that_kept_a_run_from_starting_can_be_mended(root: Path) -> None:
    """No trainer has left anything that could be mixed up: the run is begun with the mended options."""
    wrong = f"trainer.command='{sys.executable} /no/such/train.py {{run_dir}}'"
    assert called(*words(wrong, root=root)).returncode == 2
    done = called(*words(root=root))

    assert done.returncode == 0, done.stderr
    assert "no/such" not in run_dir(root).spec.read_text()
    assert [attempt["outcome"] for attempt in read_records(run_dir(root).attempts)] == ["misconfigured", "succeeded"]
    assert called(*words(wrong, root=root)).returncode == 1


def test_where_a_run_executes_may_change(root: Path) -> None:
    """Resources and the environment do not make it another run."""
    assert main(words(root=root)) == 0
    assert main(words("resources.cpus=2", "trainer.grace_s=3", root=root)) == 0
    assert len(starts(root)) == 1


def test_a_missing_package_is_named(root: Path, tmp_path: Path) -> None:
    """What an environment lacks is a cause of its own, not a crash to be tried again."""
    program = tmp_path / "train.py"
    program.write_text("import dm_control_that_is_not_there\n")
    command = f"trainer.command='{sys.executable} {program} {{run_dir}}'"
    done = called(*words(command, root=root))

    assert done.returncode == 2, done.stdout
    assert "(misconfigured)" in done.stdout
    assert "dm_control_that_is_not_there" in done.stdout


def test_results_that_were_removed_are_made_anew(root: Path) -> None:
    """Removing a run's folder is the way to have it run again."""
    assert main(words("seed=0,1", root=root)) == 0
    for path in sorted(run_dir(root, 1).path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()

    assert main(words("seed=0,1", root=root)) == 0
    assert [len(starts(root, seed)) for seed in (0, 1)] == [1, 1]
    assert run_dir(root, 1).done.exists()


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`dreamsweep plan | head -1` ends in silence."""
    with started("plan", "suite=atari57", "seed=range(0,50)", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with contextlib.closing(process.stdout):
            os.read(process.stdout.fileno(), 10)

        assert (process.stderr.read(), process.wait(30)) == ("", 0)
