"""The embedded trainer: its configs as data, its installation, and the real program in its `--random_agent` mode.

The real one runs without learning here: official driver, replay, checkpoints and logger, in a second or two.
"""

import json
import math
import os
import re
import runpy
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.trainers import checkpoint, dreamer_pypi, signatures
from sweeps.errors import TrainerError
from sweeps.layout import RunDir

SIZES = {
    "size1m": (512, 64, 4, 64, 4),
    "size12m": (2048, 256, 16, 256, 16),
    "size25m": (3072, 384, 24, 384, 24),
    "size50m": (4096, 512, 32, 512, 32),
    "size100m": (6144, 768, 48, 768, 48),
    "size200m": (8192, 1024, 64, 1024, 64),
    "size400m": (12288, 1536, 96, 1536, 96),
}


@pytest.fixture(scope="session")
def configs() -> Any:
    yaml = pytest.importorskip("ruamel.yaml")
    return yaml.YAML(typ="safe").load(dreamer_pypi.EMBEDDED / "configs.yaml")


@pytest.fixture(scope="session")
def home() -> Path:
    """The trainer in the place where `make test` has put it, installed if it is not there."""
    for package in ("jax", "elements", "gymnasium"):
        pytest.importorskip(package)
    return dreamer_pypi.install()


class Trainer:
    """One process of the real trainer; it acts at random unless it is told to learn."""

    def __init__(
        self, home: Path, run_dir: RunDir, *flags: str, configs: str = "gym", random_agent: bool = True
    ) -> None:
        self.run_dir = run_dir
        run_dir.path.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-u", str(home / "dreamerv3" / "start.py"), "--configs", configs]
        command += ["--logdir", str(run_dir.path), "--random_agent", str(random_agent), "--jax.platform", "cpu", *flags]
        with open(run_dir.stdout, "ab") as output:
            self.start = output.tell()
            self.process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

    @property
    def text(self) -> str:
        return self.run_dir.stdout.read_bytes()[self.start :].decode()

    def wait(self) -> int:
        return self.process.wait(timeout=120)

    def verdict(self) -> signatures.Verdict:
        return signatures.classify(self.wait(), None, self.text, "Start training loop" in self.text)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def start(home: Path, tmp_path: Path) -> Iterator[Any]:
    """Starts trainers and leaves none behind."""
    started: list[Trainer] = []

    def start(*flags: str, **options: Any) -> Trainer:
        started.append(Trainer(home, RunDir(tmp_path / "run"), *flags, **options))
        return started[-1]

    yield start
    for trainer in started:
        if trainer.process.poll() is None:
            trainer.kill()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def kill_when_logged(trainer: Trainer, *, past_step: int) -> None:
    """Kill a trainer once its scores and its checkpoint lie beyond a step."""
    deadline = time.monotonic() + 60
    (ckpt_dir,) = [path for path in trainer.run_dir.checkpoints if path.name == "checkpoint.pkl"]
    while time.monotonic() < deadline:
        saved = checkpoint.inspect(ckpt_dir).step or 0
        if saved > past_step and trainer.run_dir.scores.exists() and trainer.run_dir.scores.stat().st_size:
            trainer.kill()
            return
        assert trainer.process.poll() is None, trainer.text
        time.sleep(0.02)
    raise AssertionError(f"No checkpoint beyond step {past_step}: {trainer.text}")


# --- the configs


def test_config_blocks_are_there(configs: Any) -> None:
    """Every published suite and size has a block, besides ours for classic control."""
    suites = {"atari", "atari100k", "crafter", "dmc_proprio", "dmc_vision", "procgen", "dmlab", "minecraft"}

    assert suites | set(SIZES) | {"defaults", "debug", "gym", "cartpole_fast", "bsuite", "loconav"} == set(configs)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_the_published_ones(configs: Any, size: str) -> None:
    """Each size sets the five numbers of the paper's table."""
    deter, hidden, classes, units, depth = SIZES[size]

    assert configs[size] == {
        r".*\.rssm": {"deter": deter, "hidden": hidden, "classes": classes},
        r".*\.units": units,
        r".*\.depth": depth,
    }


def test_every_block_overrides_only_what_defaults_name(configs: Any) -> None:
    """A block with an option that nobody reads would be refused by the trainer when a run starts."""
    elements = pytest.importorskip("elements")
    defaults = elements.Config(configs["defaults"])
    for name, block in configs.items():
        if name != "defaults":
            assert defaults.update(block).flat.keys() == defaults.flat.keys(), name


def test_profiler_is_off(configs: Any) -> None:
    """With the profiler on, a checkpoint taken between updates 100 and 120 kills every later start."""
    assert configs["defaults"]["jax"]["profiler"] is False
    assert configs["defaults"]["logger"]["outputs"] == ["jsonl"]
    assert configs["defaults"]["run"]["debug"] is True


# --- the installation


@pytest.fixture
def fake_pip(tmp_path: Path) -> str:
    """An interpreter whose pip installs a package of two files, or says what it was told to say."""
    path = tmp_path / "python"
    path.write_text(
        "#!/bin/sh\n"
        f'if [ -e "{tmp_path}/say" ]; then cat "{tmp_path}/say"; exit 1; fi\n'
        'while [ "$1" != --target ]; do shift; done\n'
        'mkdir -p "$2/dreamerv3" "$2/embodied/core"\n'
        'echo main > "$2/dreamerv3/main.py"\n'
        'echo core > "$2/embodied/core/base.py"\n'
        f'echo x >> "{tmp_path}/calls"\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
    return str(path)


def calls(tmp_path: Path) -> int:
    return len((tmp_path / "calls").read_text().splitlines())


def test_install_looks_like_a_checkout(tmp_path: Path, fake_pip: str) -> None:
    """The package's files and ours come together in one folder, and nothing else is left beside it."""
    into = tmp_path / "trainers" / "t"

    assert dreamer_pypi.install(into, python=fake_pip) == into

    ours = {"dreamerv3/configs.yaml", "dreamerv3/start.py", "embodied/envs/from_gym.py", "embodied/envs/__init__.py"}
    found = {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()}
    assert ours | {"dreamerv3/main.py", "embodied/core/base.py", "dreamsweep.json"} <= found
    assert [path.name for path in into.parent.iterdir()] == ["t"]
    assert dreamer_pypi.is_installed(into)
    assert re.fullmatch(r"dreamer-3\.3\.0\+[0-9a-f]{8}", dreamer_pypi.revision(into))


def test_second_install_does_nothing(tmp_path: Path, fake_pip: str) -> None:
    """A whole installation of the same content is left alone; compiled Python does not count as a change."""
    into = tmp_path / "t"
    dreamer_pypi.install(into, python=fake_pip)
    (into / "dreamerv3" / "__pycache__").mkdir()
    (into / "dreamerv3" / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"x")

    dreamer_pypi.install(into, python=fake_pip)

    assert calls(tmp_path) == 1


@pytest.mark.parametrize("damage", ["deleted", "edited", "older"])
def test_damaged_or_older_install_is_replaced(tmp_path: Path, fake_pip: str, damage: str) -> None:
    """A missing file, a changed one and another version are each noticed and put right."""
    into = tmp_path / "t"
    dreamer_pypi.install(into, python=fake_pip)
    revision = dreamer_pypi.revision(into)
    if damage == "deleted":
        (into / "embodied" / "core" / "base.py").unlink()
    elif damage == "edited":
        (into / "dreamerv3" / "main.py").write_text("other")
    else:
        (into / dreamer_pypi.MARKER).write_text('{"version": "3.2.0", "embedded": "", "digest": ""}')
    assert not dreamer_pypi.is_installed(into)

    dreamer_pypi.install(into, python=fake_pip)

    assert calls(tmp_path) == 2
    assert dreamer_pypi.is_installed(into)
    assert dreamer_pypi.revision(into) == revision


def test_edited_install_has_another_revision(tmp_path: Path, fake_pip: str) -> None:
    """The revision is that of the code that would run, so that its runs are not mixed with others."""
    into = tmp_path / "t"
    dreamer_pypi.install(into, python=fake_pip)
    revision = dreamer_pypi.revision(into)
    (into / "dreamerv3" / "main.py").write_text("other")

    assert dreamer_pypi.revision(into) != revision


def test_foreign_folder_is_not_replaced(tmp_path: Path, fake_pip: str) -> None:
    """Somebody's own checkout is refused as a target and stays as it is."""
    into = tmp_path / "checkout"
    (into / "dreamerv3").mkdir(parents=True)
    (into / "dreamerv3" / "main.py").write_text("mine")

    with pytest.raises(TrainerError, match="did not install"):
        dreamer_pypi.install(into, python=fake_pip)

    assert (into / "dreamerv3" / "main.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("ERROR: Could not find a version that satisfies the requirement\n", "connection"),
        ("/usr/bin/python: No module named pip\n", "ensurepip"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n", "another file"),
    ],
)
def test_failure_of_pip_is_told(tmp_path: Path, fake_pip: str, said: str, advice: str) -> None:
    """pip's last lines and what to do are in the message; an installation that was there stays."""
    into = tmp_path / "t"
    dreamer_pypi.install(into, python=fake_pip)
    (into / dreamer_pypi.MARKER).write_text('{"version": "3.2.0"}')
    (tmp_path / "say").write_text(said)

    with pytest.raises(TrainerError, match=re.escape(said.strip())) as caught:
        dreamer_pypi.install(into, python=fake_pip)

    assert advice in str(caught.value)
    assert (into / "dreamerv3" / "main.py").exists()
    assert sorted(path.name for path in into.parent.iterdir()) == ["calls", "python", "say", "t"]


def test_target_that_cannot_be_written_is_told(tmp_path: Path, fake_pip: str) -> None:
    """A file in the place of a folder gives an error in words."""
    (tmp_path / "file").write_text("")

    with pytest.raises(TrainerError, match="cannot be installed into"):
        dreamer_pypi.install(tmp_path / "file" / "t", python=fake_pip)


def test_missing_trainer_is_told(tmp_path: Path) -> None:
    """Asking for the revision of what is not there says how to get it."""
    assert not dreamer_pypi.is_installed(tmp_path)
    with pytest.raises(TrainerError, match="dreamsweep trainer install"):
        dreamer_pypi.revision(tmp_path)


@pytest.mark.trainer
def test_parent_of_the_trainer_holds_no_package(home: Path) -> None:
    """main.py puts the parent on the import path, where a package would hide an installed one."""
    assert not [path for path in home.parent.iterdir() if path.name.isidentifier()]
    assert dreamer_pypi.is_installed(home)


# --- the real program


@pytest.mark.trainer
def test_trainer_runs_to_its_end(start: Any) -> None:
    """A run ends with exit code 0 and logs each finished episode once, with rising steps."""
    trainer = start("--run.steps", "2000", "--seed", "1")

    assert trainer.verdict() == signatures.Verdict("succeeded")
    scores = records(trainer.run_dir.scores)
    steps = [record["step"] for record in scores]
    assert all(record.keys() == {"step", "episode/score"} for record in scores)
    assert steps == sorted(set(steps))
    assert len(scores) > 50
    assert steps[-1] <= 2000
    assert {"step", "episode/score", "episode/length"} == records(trainer.run_dir.metrics)[0].keys()


@pytest.mark.trainer
def test_killed_trainer_resumes_from_its_checkpoint(start: Any) -> None:
    """After SIGKILL the step goes back to the checkpoint, and the run ends as if nothing had happened."""
    flags = ("--run.steps", "40000", "--run.log_every", "1", "--run.save_every", "1")
    first = start(*flags)
    kill_when_logged(first, past_step=0)
    lines = len(first.run_dir.scores.read_text().splitlines())

    # The kill may fall into the moment in which a checkpoint is pointed to, or the one before it removed.
    step, _ = checkpoint.repair(first.run_dir)
    assert checkpoint.repair(first.run_dir) == (step, ())
    second = start(*flags)

    assert step is not None and step > 0
    assert second.verdict().outcome == "succeeded"
    assert "Loaded checkpoint." in second.text
    steps = [record["step"] for record in records(second.run_dir.scores)]
    # The first episode after the resume ends at most one episode, 500 steps, beyond the checkpoint.
    assert step < steps[lines] <= step + 500
    assert steps[-1] > 39_000


@pytest.mark.trainer
def test_emptied_latest_is_repaired(start: Any) -> None:
    """A kill while `latest` is written leaves it empty: the trainer alone fails for ever, and goes on once repaired."""
    flags = ("--run.steps", "1000")
    first = start(*flags)
    assert first.wait() == 0
    run_dir = first.run_dir
    (run_dir.path / "checkpoint.pkl" / "latest").write_text("")

    assert start(*flags).verdict().outcome == "crashed"
    step, repairs = checkpoint.repair(run_dir)

    assert step == 0
    assert len(repairs) == 1
    assert start(*flags).verdict().outcome == "succeeded"


@pytest.mark.trainer
def test_unknown_task_is_misconfigured(start: Any) -> None:
    """A task that does not exist ends the run at once, in words."""
    verdict = start("--task", "gym_CartPoole-v1").verdict()

    assert verdict.outcome == "misconfigured"
    assert "CartPoole" in verdict.cause


@pytest.mark.trainer
@pytest.mark.parametrize(
    ("configs", "module", "extra"), [("atari", "ale_py", "atari"), ("crafter", "crafter", "crafter")]
)
def test_missing_environment_package_names_its_extra(
    start: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configs: str, module: str, extra: str
) -> None:
    """Without a suite's package, the run ends with the command that installs it."""
    # Hides the package in the trainer's process, whether it is installed or not.
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hide"))

    verdict = start(configs=configs).verdict()

    assert verdict.outcome == "misconfigured"
    assert f"pip install 'dreamsweep[{extra}]'" in verdict.cause


@pytest.mark.trainer
@pytest.mark.parametrize(
    ("module", "configs", "task", "steps", "repeat"),
    [
        ("dm_control", "dmc_proprio", "dmc_walker_walk", 1100, 1),
        ("dm_control", "dmc_proprio", "dmc_ball_in_cup_catch", 1100, 1),
        ("ale_py", "atari100k", "atari100k_breakout", 1500, 4),
        ("crafter", "crafter", "crafter_reward", 400, 1),
    ],
)
def test_suite_runs(start: Any, module: str, configs: str, task: str, steps: int, repeat: int) -> None:
    """Each environment of ours plays whole episodes in the official driver and logs environment frames."""
    pytest.importorskip(module)

    trainer = start("--task", task, "--run.envs", "1", "--run.steps", str(steps), configs=configs)

    assert trainer.verdict().outcome == "succeeded", trainer.text
    logged = [record["step"] for record in records(trainer.run_dir.scores)]
    assert logged
    assert all(step % repeat == 0 for step in logged)
    assert logged[-1] <= steps * repeat
    if module == "dm_control":
        assert logged == [1001]


@pytest.mark.trainer
def test_trainer_learns(start: Any) -> None:
    """The real agent compiles and updates with the installed JAX: its losses are logged and finite."""
    trainer = start(
        "--run.steps", "800", "--run.log_every", "1", "--jax.debug", "True", configs="cartpole_fast", random_agent=False
    )

    assert trainer.verdict() == signatures.Verdict("succeeded"), trainer.text
    losses = [record for record in records(trainer.run_dir.metrics) if "train/opt/loss" in record]
    assert losses
    assert all(math.isfinite(record["train/opt/loss"]) for record in losses)


# --- the parts that the real program uses


def in_trainer(home: Path, code: str) -> str:
    """What a snippet prints that imports the trainer's libraries."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.trainer
def test_gym_spaces_become_the_trainers(home: Path) -> None:
    """Nested, discrete and integer spaces survive the trainer's own checks, in both directions."""
    printed = in_trainer(
        home,
        """
        import elements, embodied, gymnasium as gym, numpy as np
        from embodied.envs.from_gym import FromGym
        spaces = gym.spaces

        class Odd(gym.Env):
            observation_space = spaces.Dict({
                "eye": spaces.Box(0, 255, (8, 8, 3), np.uint8),
                "body": spaces.Dict({"arm": spaces.Box(-1, 1, (2,), np.float64), "mode": spaces.Discrete(3, start=5)}),
                "flags": spaces.MultiBinary(4),
                "dice": spaces.MultiDiscrete([2, 6]),
                "level": spaces.Box(0, 9, (1,), np.int64),
            })
            action_space = spaces.Dict({"move": spaces.Box(-2, 2, (2,)), "key": spaces.Discrete(4, start=-1)})

            def reset(self, *, seed=None, options=None):
                super().reset(seed=seed)
                self.observation_space.seed(seed)
                self.count = 0
                return self.observation_space.sample(), {}

            def step(self, action):
                assert self.action_space.contains(action), action
                self.count += 1
                return self.observation_space.sample(), 1.0, self.count == 3, self.count == 7, {}

        env = FromGym(Odd(), repeat=2, seed=3)
        for name in ("move",):
            env = embodied.wrappers.NormalizeAction(env, name)
        env = embodied.wrappers.CheckSpaces(embodied.wrappers.UnifyDtypes(env))
        act = {k: v.sample() for k, v in env.act_space.items()}
        obs = [env.step({**act, "reset": np.array(i == 0)}) for i in range(4)]
        print(sorted(obs[0]))
        print([(float(o["reward"]), bool(o["is_first"]), bool(o["is_last"]), bool(o["is_terminal"])) for o in obs])
        """,
    )

    names, moments = printed.splitlines()[-2:]
    assert names == str(
        ["body/arm", "body/mode", "dice", "eye", "flags", "is_first", "is_last", "is_terminal", "level", "reward"]
    )
    # With a repeat of 2 the third frame ends the episode within the second step.
    assert moments == str(
        [(0.0, True, False, False), (2.0, False, False, False), (1.0, False, True, True), (0.0, True, False, False)]
    )


@pytest.mark.trainer
def test_time_limit_is_no_terminal_state(home: Path) -> None:
    """An episode that Gymnasium truncates ends without being called terminal."""
    printed = in_trainer(
        home,
        """
        import numpy as np
        from embodied.envs.from_gym import FromGym
        env = FromGym("Pendulum-v1", max_episode_steps=3)
        moments = [env.step({"action": np.zeros(1, np.float32), "reset": i == 0}) for i in range(4)]
        print(moments[-1]["is_last"], moments[-1]["is_terminal"])
        """,
    )

    assert printed == "True False"


@pytest.fixture
def start_script() -> dict[str, Any]:
    return runpy.run_path(str(dreamer_pypi.EMBEDDED / "start.py"), run_name="start")


def test_options_by_position_get_their_names(start_script: dict[str, Any]) -> None:
    """Options of jit that are given by position arrive by name, without those that are None."""

    def jit(fun: Any = None, /, **options: Any) -> Any:
        return fun, options

    wrapped = start_script["by_name"](jit)

    assert not start_script["takes_positions"](jit)
    assert wrapped("f") == ("f", {})
    assert wrapped("f", static_argnums=1) == ("f", {"static_argnums": 1})
    assert wrapped(donate_argnums=0) == (None, {"donate_argnums": 0})
    assert wrapped("f", "in", "out", (2,), None, [0]) == (
        "f",
        {"in_shardings": "in", "out_shardings": "out", "static_argnums": (2,), "donate_argnums": [0]},
    )


def test_older_jit_is_left_alone(start_script: dict[str, Any]) -> None:
    """A JAX that takes its options by position needs no wrapper."""

    def jit(fun: Any, in_shardings: Any = None, out_shardings: Any = None, *, inline: bool = False) -> None: ...

    assert start_script["takes_positions"](jit)
