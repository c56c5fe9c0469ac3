"""Runs a sweep on several raylets while killing things at random, and judges what is left.

    python tests/orchestrator/chaos.py --kills 200 --seed 1      # `make chaos`

At the end every run must be done, the dataset must equal the one of an undisturbed sweep row for row, no two trainers
of one run may ever have been alive together, and no process may be left over.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

_REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(_REPOSITORY / "tests" / "fakes"))

from checkpointing_trainer import FRAMES_PER_EPISODE, score  # noqa: E402 - beside the other fakes

_TASKS = ("gym_CartPole-v1", "gym_Acrobot-v1")
_LEASE_S = 5.0
_NODES = 3
Storage = Literal["shared", "ship"]


@dataclass
class Outcome:
    """What a chaos sweep came to; `problems` is empty if all is well."""

    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    attempts: int = 0
    rows: int = 0
    problems: list[str] = field(default_factory=list)


class Chaos:
    """One sweep with its cluster, and what is done to them."""

    def __init__(
        self, folder: Path, *, seed: int, kills: int, seeds: int, episodes: int, storage: Storage = "shared"
    ) -> None:
        self.root = folder / "root"
        self.storage = storage
        #: With storage=ship, one folder for each node that there ever was, by number.
        self.disks = folder / "disks"
        self._next_disk = _NODES
        self._disk_of: dict[int, Path] = {}
        self.trace = folder / "trace"
        self.trace.mkdir()
        self._folder = folder
        self._random = random.Random(seed)
        self._most_kills = kills
        self._seeds = seeds
        self._episodes = episodes
        self._environ = _environ(folder)
        self.outcome = Outcome()

    def run(self, *, limit_s: float) -> Outcome:
        """Run the sweep to its end, at most `limit_s` seconds, and judge it."""
        started = time.monotonic()
        with (
            (self._folder / "nodes.log").open("wb") as nodes_log,
            subprocess.Popen(
                self._nodes_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=nodes_log,
                text=True,
                cwd=_REPOSITORY,
                env=self._environ,
                start_new_session=True,
            ) as nodes,
        ):
            try:
                assert nodes.stdout is not None
                hello = json.loads(nodes.stdout.readline())
                self._raylets: list[int] = hello["raylets"]
                self._disk_of = {pid: self.disks / str(number) for number, pid in enumerate(self._raylets)}
                self._nodes = nodes
                self._drive(hello["address"], deadline=started + limit_s)
                self._judge()
                self._judge_unseen(nodes.pid)
            finally:
                assert nodes.stdin is not None
                nodes.stdin.close()
                try:
                    nodes.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    nodes.kill()
        self.outcome.seconds = time.monotonic() - started
        return self.outcome

    def _drive(self, address: str, *, deadline: float) -> None:
        orchestrator = self._start(address)
        next_kill = time.monotonic() + 8.0
        while time.monotonic() < deadline:
            code = orchestrator.poll()
            if code is not None:
                if code != 0:
                    self.outcome.problems.append(f"the orchestrator ended with {code}: {self._last_words()}")
                return
            if time.monotonic() >= next_kill and self.outcome.kills.total() < self._most_kills:
                what = self._random.choices(
                    ("trainer", "worker", "freeze", "raylet", "orchestrator"), weights=(6, 4, 1, 1, 2)
                )[0]
                if what == "orchestrator":
                    orchestrator.kill()
                    orchestrator.wait()
                    time.sleep(self._random.uniform(0.0, 1.0))
                    orchestrator = self._start(address)
                    self.outcome.kills[what] += 1
                else:
                    self.outcome.kills[what] += getattr(self, f"_kill_{what}")()
                next_kill = time.monotonic() + self._random.uniform(0.2, 1.5)
            time.sleep(0.1)
        orchestrator.send_signal(signal.SIGINT)
        try:
            orchestrator.wait(timeout=30)
        except subprocess.TimeoutExpired:
            orchestrator.kill()
            orchestrator.wait()
        self.outcome.problems.append(f"the sweep had not ended in time: {self._last_words()}")

    def _nodes_command(self) -> list[str]:
        """Three nodes; with storage=ship, in a mount namespace in which something else lies where the root is."""
        command = [sys.executable, str(Path(__file__).with_name("ray_nodes.py")), "3", str(_NODES)]
        if self.storage == "shared":
            return command
        command.append(str(self.disks))
        self.root.mkdir()
        if not can_hide_folders():
            return command
        script = f"mount -t tmpfs none '{self.root}' && exec \"$@\""
        return ["unshare", "--mount", "sh", "-c", script, "sh", *command]

    def _start(self, address: str) -> subprocess.Popen[bytes]:
        program = _REPOSITORY / "tests" / "fakes" / "checkpointing_trainer.py"
        command = (
            f"{sys.executable} {program} --dir {{run_dir}} --trace {self.trace} --seed {{seed}} --task {{task}} "
            f"--episodes {self._episodes}"
        )
        overrides = [
            f"root={self.root}",
            "cluster=ray",
            f"cluster.address='{address}'",
            f"cluster.lease_s={_LEASE_S}",
            "cluster.poll_every_s=1",
            "trainer=command",
            f"trainer.command='{command}'",
            "trainer.grace_s=1",
            "suite=gym",
            f"task={','.join(_TASKS)}",
            f"seed=range(0,{self._seeds})",
            "retry.crashed=1000",
            "retry.out_of_memory=1000",
            "retry.delay_s=0.2",
            "retry.max_delay_s=1",
            "hold_after=null",
            "collect_every_s=2",
        ]
        if self.storage == "ship":
            overrides += [
                "storage=ship",
                f"storage.checkpoints='file://{self._folder}/store'",
                "storage.interval_s=1",
                "storage.local_dir='$NODE_DISK'",
                "trainer.checkpoint=checkpoint.json",
            ]
        with (self._folder / "orchestrator.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "orchestrator.cli", "run", *overrides],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_REPOSITORY,
                env=self._environ,
                start_new_session=True,
            )

    def _kill_trainer(self) -> int:
        return self._kill_one([pid for pid, words in _processes() if self._is_trainer(words)])

    def _kill_worker(self) -> int:
        return self._kill_one(
            [pid for pid, words in _processes() if "ray::AttemptActor" in words and self._is_mine(pid)]
        )

    def _kill_freeze(self) -> int:
        """Stop a worker for longer than its lease, as a cut network would: its calls neither end nor break."""
        workers = [pid for pid, words in _processes() if "ray::AttemptActor" in words]
        mine = sorted(pid for pid in workers if self._is_mine(pid))
        if not mine:
            return 0
        victim = self._random.choice(mine)
        os.kill(victim, signal.SIGSTOP)
        threading.Timer(3 * _LEASE_S, _thaw, [victim]).start()
        return 1

    def _kill_raylet(self) -> int:
        self.lose_node(self._random.choice(self._raylets))
        return 1

    def lose_node(self, victim: int) -> None:
        """Kill a raylet, and with storage=ship its disk; another node comes in its place."""
        self._raylets.remove(victim)
        os.kill(victim, signal.SIGKILL)
        # The node that comes back is another one: what was on its disk is lost.
        threading.Timer(1.0, shutil.rmtree, [self._disk_of[victim]], {"ignore_errors": True}).start()
        assert self._nodes.stdin is not None
        assert self._nodes.stdout is not None
        self._nodes.stdin.write("add\n")
        self._nodes.stdin.flush()
        self._raylets.append(json.loads(self._nodes.stdout.readline())["raylet"])
        self._disk_of[self._raylets[-1]] = self.disks / str(self._next_disk)
        self._next_disk += 1

    def _kill_one(self, pids: list[int]) -> int:
        if not pids:
            return 0
        try:
            os.kill(self._random.choice(sorted(pids)), signal.SIGKILL)
        except ProcessLookupError:
            return 0
        return 1

    def _is_trainer(self, words: str) -> bool:
        # The orchestrator has the same words in its overrides.
        return "checkpointing_trainer.py" in words and str(self.trace) in words and "orchestrator.cli" not in words

    def _is_mine(self, pid: int) -> bool:
        try:
            return str(self._folder).encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False

    def _last_words(self) -> str:
        return (self._folder / "orchestrator.log").read_text(encoding="utf-8", errors="replace")[-2000:]

    def _judge(self) -> None:
        self._judge_processes()
        self._judge_intervals()
        self._judge_rows()

    def _judge_unseen(self, nodes: int) -> None:
        """No worker may have written where the root is, which none of them sees."""
        if self.storage == "ship" and can_hide_folders():
            found = sorted(Path(f"/proc/{nodes}/root{self.root}").rglob("*"))
            if found:
                self.outcome.problems.append(f"workers wrote where the root is: {found[:3]}")

    def _judge_processes(self) -> None:
        deadline = time.monotonic() + _LEASE_S + 5
        while left := [pid for pid, words in _processes() if self._is_trainer(words)]:
            if time.monotonic() > deadline:
                self.outcome.problems.append(f"processes are left over: {left}")
                return
            time.sleep(0.2)

    def _judge_intervals(self) -> None:
        lives: dict[str, list[tuple[float, float, str]]] = {}
        for path in self.trace.iterdir():
            # An environment worker belongs to the life of its trainer, but must not overlap the next one either.
            run = ".".join(path.name.split(".")[:2])
            moments = path.read_text(encoding="utf-8").split()
            if len(moments) == 2:
                lives.setdefault(run, []).append((float(moments[0]), float(moments[1]), _trainer_pid(path.name)))
        for run, intervals in lives.items():
            intervals.sort()
            self.outcome.attempts += len({pid for *_, pid in intervals})
            for (_, end, pid), (start, _, other) in pairwise(intervals):
                if pid != other and start < end:
                    self.outcome.problems.append(f"two trainers of {run} were alive together for {end - start:.2f} s")

    def _judge_rows(self) -> None:
        frame = pd.read_parquet(self.root / "scores", columns=["task", "seed", "step", "score"])
        found = Counter(frame.astype({"task": str}).itertuples(index=False, name=None))
        self.outcome.rows = len(frame)
        expected: Counter[Any] = Counter(
            (task, seed, episode * FRAMES_PER_EPISODE, score(seed, episode))
            for task in _TASKS
            for seed in range(self._seeds)
            for episode in range(1, self._episodes + 1)
        )
        if found != expected:
            missing, surplus = expected - found, found - expected
            self.outcome.problems.append(
                f"the dataset differs: {missing.total()} rows missing (as {next(iter(missing), None)}), "
                f"{surplus.total()} too many (as {next(iter(surplus), None)})"
            )


def can_hide_folders() -> bool:
    """Whether this machine lets us have a mount namespace."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", tempfile.gettempdir()]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _thaw(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _trainer_pid(name: str) -> str:
    parts = name.split(".")
    return parts[2].removeprefix("env") if parts[2].startswith("env") else parts[-1]


def _processes() -> list[tuple[int, str]]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state = (folder / "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[0]
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except (OSError, IndexError):
                continue
            if state != "Z":
                found.append((int(folder.name), words))
    return found


def _environ(folder: Path) -> dict[str, str]:
    """An environment in which Ray is guarded by a token of this test's own."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("0" * 32 + "c" * 32, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **kept,
        "PYTHONPATH": str(_REPOSITORY),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "5000",
        "RAY_health_check_failure_threshold": "3",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=12, help="runs per task; there are two tasks")
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--limit-s", type=float, default=1800.0)
    parser.add_argument("--storage", choices=get_args(Storage), default="shared")
    parser.add_argument("--keep", type=Path, help="use this folder and leave it, to look into it")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if arguments.keep:
            arguments.keep.mkdir(parents=True)
            folder = str(arguments.keep)
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dreamsweep-chaos-"))
        chaos = Chaos(
            Path(folder),
            seed=arguments.seed,
            kills=arguments.kills,
            seeds=arguments.seeds,
            episodes=arguments.episodes,
            storage=arguments.storage,
        )
        outcome = chaos.run(limit_s=arguments.limit_s)
        log = (Path(folder) / "orchestrator.log").read_text(encoding="utf-8", errors="replace")
    kills = ", ".join(f"{count} {what}" for what, count in sorted(outcome.kills.items()))
    print(
        f"{outcome.kills.total()} kills ({kills}) in {outcome.seconds:.0f} s; {2 * arguments.seeds} runs took "
        f"{outcome.attempts} trainers; {outcome.rows:,} rows"
    )
    for problem in outcome.problems:
        print(f"PROBLEM: {problem}")
    if outcome.problems:
        print(log[-3000:])
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
