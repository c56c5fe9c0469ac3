"""The machine alone, with a clock of its own: many runs on many nodes that are preempted now and then.

Shows the CPU time of the whole, and that an event costs the same however many runs there are.

    python -m benchmarks scheduling --runs 100000 --nodes 1000
"""

import argparse
import heapq
import random
import time
from dataclasses import dataclass, field

from orchestrator.commands import LaunchAttempt, WakeAt
from orchestrator.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    NodeJoined,
    NodeLeft,
    RunPlanned,
    SweepOpened,
    TrainingBegan,
    Woken,
)
from orchestrator.machine import apply
from orchestrator.states import SweepState
from sweeps.contracts import Resources, RunKey

_GPUS_PER_NODE = 8
_MEAN_RUN_S = 4 * 3600.0
_MEAN_NODE_LIFE_S = 24 * 3600.0


@dataclass(order=True)
class _Due:
    at: float
    serial: int
    event: Event = field(compare=False)


class Simulation:
    """A cluster that answers every command with the events that would follow."""

    def __init__(self, *, runs: int, nodes: int, seed: int) -> None:
        self.state = SweepState()
        self.events = 0
        self.most_in_flight = 0
        self._random = random.Random(seed)
        self._due: list[_Due] = []
        self._serial = 0
        self._on_node: dict[str, set[tuple[RunKey, int]]] = {}
        self._push(SweepOpened(at=0.0, sweep_id="simulation", host="here", pid=1))
        shapes = [Resources(cpus=1, gpus=1), Resources(cpus=1, gpus=0.25), Resources(cpus=4, gpus=4)]
        for number in range(runs):
            task, seed_number = divmod(number, 5)
            shape = shapes[task % 3]
            key = RunKey(suite="suite", task=f"task{task}", label=f"m{task % 3}", seed=seed_number)
            self._push(RunPlanned(at=0.0, key=key, group=f"m{task % 3} × suite", resources=shape))
        for number in range(nodes):
            self._join(0.0, f"node{number}")

    def run(self) -> None:
        """Go on until every run is done."""
        while self._due:
            event = heapq.heappop(self._due).event
            if isinstance(event, NodeLeft):
                self._lose(event)
            elif isinstance(event, AttemptEnded):
                room = self.state.runs[event.key].room
                if room is not None:
                    self._on_node.get(room.node, set()).discard((event.key, event.attempt))
            commands = apply(self.state, event)
            self.events += 1
            self.most_in_flight = max(self.most_in_flight, len(self.state.in_flight))
            for command in commands:
                if isinstance(command, LaunchAttempt):
                    self._launch(event.at, command)
                elif isinstance(command, WakeAt):
                    self._push(Woken(at=command.at))
            if self.state.is_finished() and not self.state.in_flight and self.state.tally["done"]:
                return

    def _launch(self, at: float, command: LaunchAttempt) -> None:
        name = {"key": command.key, "attempt": command.attempt}
        self._on_node.setdefault(command.node, set()).add((command.key, command.attempt))
        self._push(AttemptStarted(at=at + 1, **name))
        self._push(TrainingBegan(at=at + 30, **name))
        length_s = self._random.expovariate(1 / _MEAN_RUN_S)
        outcome = "succeeded" if self._random.random() < 0.97 else "crashed"
        self._push(AttemptEnded(at=at + 31 + length_s, outcome=outcome, cause=f"cause {length_s}", **name))

    def _join(self, at: float, node: str) -> None:
        self._push(NodeJoined(at=at, node=node, cpus=64, gpus=_GPUS_PER_NODE))
        self._push(NodeLeft(at=at + self._random.expovariate(1 / _MEAN_NODE_LIFE_S), node=node))

    def _lose(self, event: NodeLeft) -> None:
        for key, attempt in sorted(self._on_node.pop(event.node, set())):
            self._push(AttemptEnded(at=event.at + 60, key=key, attempt=attempt, outcome="preempted"))
        self._join(event.at + 600, event.node)

    def _push(self, event: Event) -> None:
        self._serial += 1
        heapq.heappush(self._due, _Due(event.at, self._serial, event))


def main() -> None:
    """Print what the simulation took, at the size asked for and at a tenth of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for runs in (arguments.runs // 10, arguments.runs):
        simulation = Simulation(runs=runs, nodes=arguments.nodes, seed=arguments.seed)
        started = time.process_time()
        simulation.run()
        cpu_s = time.process_time() - started
        tally = {name: count for name, count in simulation.state.tally.items() if count}
        print(
            f"{runs:>9,} runs on {arguments.nodes:,} nodes: {simulation.events:,} events in {cpu_s:.1f} CPU seconds, "
            f"{1e6 * cpu_s / simulation.events:.0f} µs each; at most {simulation.most_in_flight:,} in flight; {tally}"
        )


if __name__ == "__main__":
    main()
