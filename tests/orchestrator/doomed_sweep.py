"""A sweep of the checkpointing trainer on a Ray cluster, for tests that kill parts of it; judges what is left of it.

Every run must be done, the dataset must equal the one of an undisturbed sweep row for row, no two trainers of one run
may ever have been alive together, and no process may be left over.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pandas as pd

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "fakes"))

from checkpointing_trainer import FRAMES_PER_EPISODE, score  # noqa: E402 - beside the other fakes

Storage = Literal["shared", "ship"]
LEASE_S = 5.0
_TASKS = ("gym_CartPole-v1", "gym_Acrobot-v1")


class DoomedSweep:
    """One sweep under a folder, and what it leaves behind there."""

    def __init__(
        self,
        folder: Path,
        address: str | None,
        *,
        seeds: int,
        episodes: int,
        entering: Sequence[str] = (),
        grace_s: int = 1,
        storage: Storage = "shared",
    ) -> None:
        """Describe it; nothing is started yet.

        Args:
            address: of its cluster; None for one of its own with two CPUs, which it starts here.
            entering: words that make an orchestrator run where it reaches the cluster.
            storage: whether workers see the root, or ship what they make to it; then `$NODE_DISK` is theirs.
        """
        self.root = folder / "root"
        self.trace = folder / "trace"
        self.trace.mkdir()
        self.address = address
        self._folder = folder
        self._seeds = seeds
        self._episodes = episodes
        self._entering = entering
        self._grace_s = grace_s
        self._storage = storage
        #: How many trainers there were; known once it was judged.
        self.attempts = 0
        self.rows = 0

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """Start an orchestrator, the first one or another; `more` are further overrides."""
        program = REPOSITORY / "tests" / "fakes" / "checkpointing_trainer.py"
        command = (
            f"{sys.executable} {program} --dir {{run_dir}} --trace {self.trace} --seed {{seed}} --task {{task}} "
            f"--episodes {self._episodes}"
        )
        overrides = [
            f"root={self.root}",
            *(["cluster=local", "cluster.cpus=2"] if self.address is None else ["cluster=ray"]),
            *([] if self.address is None else [f"cluster.address='{self.address}'"]),
            f"cluster.lease_s={LEASE_S}",
            "cluster.poll_every_s=1",
            "trainer=command",
            f"trainer.command='{command}'",
            f"trainer.grace_s={self._grace_s}",
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
        if self._storage == "ship":
            overrides += [
                "storage=ship",
                f"storage.checkpoints='file://{self._folder}/store'",
                "storage.interval_s=1",
                "storage.local_dir='$NODE_DISK'",
                "trainer.checkpoint=checkpoint.json",
            ]
        with (self._folder / "orchestrator.log").open("ab") as log:
            return subprocess.Popen(
                [*self._entering, sys.executable, "-m", "orchestrator.cli", "run", *overrides, *more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env=doomed_environ(self._folder),
                start_new_session=True,
            )

    def trainers(self) -> list[int]:
        """The processes of trainers that are alive now, their environment workers included."""
        return sorted(pid for pid, words in processes() if self._is_trainer(words))

    def workers(self) -> list[int]:
        """The processes in which Ray keeps the attempts."""
        return sorted(
            pid for pid, words in processes() if "ray::AttemptActor" in words and is_of(pid, str(self._folder))
        )

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the journal holds of one kind of event."""
        path = self.root / "journal.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def graces(self) -> list[int]:
        """The trainers that got SIGTERM, and were given the time to do something about it."""
        return [int(pid) for path in self.root.glob("runs/*/*/*/*/graces") for pid in path.read_text().split()]

    def last_words(self) -> str:
        return (self._folder / "orchestrator.log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def problems(self) -> list[str]:
        """What is wrong with what is left; empty if all is well."""
        return [*self._left_over(), *self._overlaps(), *self._wrong_rows()]

    def lives(self) -> dict[str, list[tuple[float, float, str]]]:
        """By run: from when to when its processes were seen alive, and the trainer that each belonged to."""
        lives: dict[str, list[tuple[float, float, str]]] = {}
        for path in self.trace.iterdir():
            # An environment worker belongs to the life of its trainer, but must not overlap the next one either.
            run = ".".join(path.name.split(".")[:2])
            moments = path.read_text(encoding="utf-8").split()
            if len(moments) == 2:
                lives.setdefault(run, []).append((float(moments[0]), float(moments[1]), _trainer_pid(path.name)))
        return {run: sorted(intervals) for run, intervals in lives.items()}

    def _is_trainer(self, words: str) -> bool:
        # The orchestrator has the same words in its overrides.
        return "checkpointing_trainer.py" in words and str(self.trace) in words and "orchestrator.cli" not in words

    def _left_over(self) -> list[str]:
        deadline = time.monotonic() + LEASE_S + 5
        while left := self.trainers():
            if time.monotonic() > deadline:
                return [f"processes are left over: {left}"]
            time.sleep(0.2)
        return []

    def _overlaps(self) -> list[str]:
        lives = self.lives()
        self.attempts = sum(len({pid for *_, pid in intervals}) for intervals in lives.values())
        return [
            f"two trainers of {run} were alive together for {end - start:.2f} s"
            for run, intervals in lives.items()
            for (_, end, pid), (start, _, other) in pairwise(intervals)
            if pid != other and start < end
        ]

    def _wrong_rows(self) -> list[str]:
        frame = pd.read_parquet(self.root / "scores", columns=["task", "seed", "step", "score"])
        found = Counter(frame.astype({"task": str}).itertuples(index=False, name=None))
        self.rows = len(frame)
        expected: Counter[Any] = Counter(
            (task, seed, episode * FRAMES_PER_EPISODE, score(seed, episode))
            for task in _TASKS
            for seed in range(self._seeds)
            for episode in range(1, self._episodes + 1)
        )
        if found == expected:
            return []
        missing, surplus = expected - found, found - expected
        return [
            f"the dataset differs: {missing.total()} rows missing (as {next(iter(missing), None)}), "
            f"{surplus.total()} too many (as {next(iter(surplus), None)})"
        ]


def _trainer_pid(name: str) -> str:
    parts = name.split(".")
    return parts[2].removeprefix("env") if parts[2].startswith("env") else parts[-1]


def processes() -> list[tuple[int, str]]:
    """Every process that is no zombie, with its command line."""
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


def is_of(pid: int, word: str) -> bool:
    """Whether a process has a word, such as a folder, in its environment."""
    try:
        return word.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def end(process: subprocess.Popen[Any], *, limit_s: float = 30.0) -> None:
    """Stop a process as Ctrl-C does, and in any case."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def doomed_environ(folder: Path, **more: str) -> dict[str, str]:
    """An environment in which Ray is guarded by a token of this test's own."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("0" * 32 + "c" * 32, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {
        **kept,
        "PYTHONPATH": str(REPOSITORY),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        **more,
    }


#: Ray takes a node that does not answer for dead after about 18 s, not after a minute.
QUICK_DEATHS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
