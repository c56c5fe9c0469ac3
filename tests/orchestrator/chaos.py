"""Runs a sweep on several raylets while killing things at random, and judges what is left.

    python tests/orchestrator/chaos.py --kills 200 --seed 1      # `make chaos`

What must hold at the end stands in doomed_sweep.py. Where the machine allows network namespaces, every node has a
network of its own and is cut off now and then, for longer than a lease (`--one-network` to do without).
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from doomed_sweep import LEASE_S, QUICK_DEATHS, DoomedSweep, Storage, end
from node_cluster import node_cluster
from several_nodes import can_hide_folders, why_no_networks

_NODES = 3
_CPUS = 3
_WEIGHTS = {"trainer": 6, "worker": 4, "freeze": 1, "raylet": 1, "orchestrator": 2, "cut": 1}


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
        self,
        folder: Path,
        *,
        seed: int,
        kills: int,
        seeds: int,
        episodes: int,
        has_networks: bool = False,
        storage: Storage = "shared",
    ) -> None:
        self.root = folder / "root"
        self._folder = folder
        self._storage = storage
        self._random = random.Random(seed)
        self._most_kills = kills
        self._seeds = seeds
        self._episodes = episodes
        self._has_networks = has_networks
        #: Nodes whose link is down, and when it is to come up again.
        self._cuts: dict[int, float] = {}
        self.outcome = Outcome()

    def run(self, *, limit_s: float) -> Outcome:
        """Run the sweep to its end, at most `limit_s` seconds, and judge it."""
        started = time.monotonic()
        is_shipped = self._storage == "ship"
        if is_shipped:
            self.root.mkdir()
        with node_cluster(
            self._folder,
            cpus=_CPUS,
            nodes=_NODES,
            has_networks=self._has_networks,
            has_disks=is_shipped,
            hidden=self.root if is_shipped and can_hide_folders() else None,
            **QUICK_DEATHS,
        ) as self._nodes:
            self._sweep = DoomedSweep(
                self._folder,
                self._nodes.address,
                seeds=self._seeds,
                episodes=self._episodes,
                entering=self._nodes.entering,
                storage=self._storage,
            )
            self._drive(deadline=started + limit_s)
            self.outcome.problems += self._sweep.problems()
            seen = self._nodes.in_hidden()
            self.outcome.problems += [f"workers wrote where the root is: {seen[:3]}"] if seen else []
        left = self._nodes.left_over()
        self.outcome.problems += [f"these still live in networks of their own: {left}"] if left else []
        self.outcome.attempts, self.outcome.rows = self._sweep.attempts, self._sweep.rows
        self.outcome.seconds = time.monotonic() - started
        return self.outcome

    def _drive(self, *, deadline: float) -> None:
        self._orchestrator = self._sweep.start()
        kinds = [kind for kind in _WEIGHTS if kind != "cut" or self._has_networks]
        weights = [_WEIGHTS[kind] for kind in kinds]
        next_kill = time.monotonic() + 8.0
        while time.monotonic() < deadline:
            code = self._orchestrator.poll()
            if code is not None:
                if code != 0:
                    self.outcome.problems.append(f"the orchestrator ended with {code}: {self._sweep.last_words()}")
                return
            for node in [node for node, until in self._cuts.items() if time.monotonic() >= until]:
                del self._cuts[node]
                self._nodes.heal(node)
            if time.monotonic() >= next_kill and self.outcome.kills.total() < self._most_kills:
                (what,) = self._random.choices(kinds, weights)
                self.outcome.kills[what] += getattr(self, f"_kill_{what}")()
                next_kill = time.monotonic() + self._random.uniform(0.2, 1.5)
            time.sleep(0.1)
        end(self._orchestrator)
        self.outcome.problems.append(f"the sweep had not ended in time: {self._sweep.last_words()}")

    def _kill_orchestrator(self) -> int:
        self._orchestrator.kill()
        self._orchestrator.wait()
        time.sleep(self._random.uniform(0.0, 1.0))
        self._orchestrator = self._sweep.start()
        return 1

    def _kill_trainer(self) -> int:
        return self._kill_one(self._sweep.trainers())

    def _kill_worker(self) -> int:
        return self._kill_one(self._sweep.workers())

    def _kill_freeze(self) -> int:
        """Stop a worker for longer than its lease: its calls neither end nor break."""
        workers = self._sweep.workers()
        if not workers:
            return 0
        victim = self._random.choice(workers)
        os.kill(victim, signal.SIGSTOP)
        threading.Timer(3 * LEASE_S, _thaw, [victim]).start()
        return 1

    def _kill_raylet(self) -> int:
        node = self._random.randrange(_NODES)
        return 0 if self._nodes.raylet(node) is None else self.lose_node(node)

    def lose_node(self, node: int) -> int:
        """Kill a raylet, and with storage=ship its disk as well; another node comes in its place."""
        raylet = self._nodes.raylet(node)
        assert raylet is not None
        disk = self._nodes.disk(node) if self._storage == "ship" else None
        os.kill(raylet, signal.SIGKILL)
        if disk is not None:
            threading.Timer(1.0, shutil.rmtree, [disk], {"ignore_errors": True}).start()
        return 1

    def _kill_cut(self) -> int:
        """Cut a node off for longer than a lease; sometimes for so long that Ray takes the node for dead as well."""
        if len(self._cuts) == _NODES - 1:
            return 0  # somebody shall go on
        node = self._random.choice([node for node in range(_NODES) if node not in self._cuts])
        self._nodes.cut(node)
        self._cuts[node] = time.monotonic() + self._random.choice([2, 5]) * LEASE_S
        return 1

    def _kill_one(self, pids: list[int]) -> int:
        if not pids:
            return 0
        try:
            os.kill(self._random.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return 0
        return 1


def _thaw(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=12, help="runs per task; there are two tasks")
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--limit-s", type=float, default=1800.0)
    parser.add_argument("--storage", choices=get_args(Storage), default="shared")
    parser.add_argument("--one-network", action="store_true", help="no namespaces, and no cuts")
    parser.add_argument("--keep", type=Path, help="use this folder and leave it, to look into it")
    arguments = parser.parse_args()
    reason = "as asked" if arguments.one_network else why_no_networks()
    if reason is not None:
        print(f"all nodes share one network, and none is cut off: {reason}")
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
            has_networks=reason is None,
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
