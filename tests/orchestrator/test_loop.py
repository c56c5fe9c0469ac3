"""The loop around the machine: an orchestrator that dies anywhere is followed by one that carries on."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_cluster import FakeCluster
from fakes.fake_runs import fake_run
from sweep_states import GROUP

from orchestrator.attempts.worker import AttemptReport
from orchestrator.cluster import Cluster
from orchestrator.commands import LaunchAttempt, StopAttempt
from orchestrator.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    NodeJoined,
    RunPlanned,
    SweepOpened,
    TrainingBegan,
)
from orchestrator.journal import Journal, read_journal
from orchestrator.loop import Loop
from orchestrator.machine import check_invariants
from orchestrator.outcomes import Outcome
from orchestrator.policy import Limits
from orchestrator.status import replayed
from sweeps.contracts import RunKey, RunSpec
from sweeps.layout import SweepRoot

SPECS = {spec.key: spec for spec in (fake_run(seed=seed) for seed in range(4))}
LIMITS = Limits(retries={"crashed": 1}, retry_delay_s=0.0)
#: Crashes at its first attempt.
UNLUCKY = next(key for key in SPECS if key.seed == 1)


class OrchestratorDiedError(Exception):
    """Stands for kill -9: nothing after it happens."""


@dataclass
class Death:
    """Kills the orchestrator at one of the moments that it passes."""

    at_moment: int | None = None
    passed: int = 0

    def may_come(self) -> None:
        self.passed += 1
        if self.passed - 1 == self.at_moment:
            raise OrchestratorDiedError


@dataclass
class Attempt:
    """An attempt in the world, and how far it is."""

    outcome: Outcome
    has_ended: bool = False


@dataclass
class World:
    """Attempts that outlive their orchestrators, and what has become of them."""

    at: float = 1000.0
    attempts: dict[tuple[RunKey, int], Attempt] = field(default_factory=dict)
    launched: list[tuple[RunKey, int]] = field(default_factory=list)
    finished: Counter[RunKey] = field(default_factory=Counter)

    def now(self) -> float:
        self.at += 1.0
        return self.at


class LastingCluster:
    """A cluster as a new orchestrator finds it: with the attempts that an earlier one launched."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._watched: set[tuple[RunKey, int]] = set()
        #: Attempts whose start, or whose end, this orchestrator was told.
        self._started: set[tuple[RunKey, int]] = set()
        self._ended: set[tuple[RunKey, int]] = set()
        self._pending: list[Event] = []

    def open(self, root: SweepRoot, sweep_id: str, specs: Mapping[RunKey, RunSpec]) -> None:  # noqa: ARG002
        self._pending.append(NodeJoined(at=self._world.now(), node="n", cpus=2.0, memory_bytes=2**40))

    def adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None:
        for name in list(self._world.attempts):
            if name in attempts:
                self._watched.add(name)
            else:
                del self._world.attempts[name]
        for key, attempt in attempts:
            if (key, attempt) not in self._world.attempts:
                self._pending.append(
                    AttemptEnded(at=self._world.now(), key=key, attempt=attempt, outcome="worker_lost")
                )

    def execute(self, command: LaunchAttempt | StopAttempt) -> None:
        name = (command.key, command.attempt)
        if isinstance(command, StopAttempt):
            if not self._world.attempts[name].has_ended:
                self._world.attempts[name].outcome = "cancelled"
        elif name not in self._world.attempts:
            others = [other for other, attempt in self._world.attempts.items() if not attempt.has_ended]
            assert command.key not in {key for key, _ in others}, f"{name} joins an earlier attempt: {others}"
            outcome: Outcome = "crashed" if name == (UNLUCKY, 1) else "succeeded"
            self._world.attempts[name] = Attempt(outcome)
            self._world.launched.append(name)
            self._watched.add(name)

    def poll(self, timeout_s: float) -> list[Event]:  # noqa: ARG002
        for name in self._ended:
            del self._world.attempts[name]  # its orchestrator has taken note
        self._watched -= self._ended
        self._ended.clear()
        events, self._pending = self._pending, []
        for name in sorted(self._watched):
            attempt = self._world.attempts[name]
            key, number = name
            if name not in self._started:
                self._started.add(name)
                events.append(AttemptStarted(at=self._world.now(), key=key, attempt=number))
                events.append(TrainingBegan(at=self._world.now(), key=key, attempt=number))
            else:
                self._world.finished[key] += attempt.outcome == "succeeded" and not attempt.has_ended
                attempt.has_ended = True
                self._ended.add(name)
                at = self._world.now()
                events.append(AttemptEnded(at=at, key=key, attempt=number, outcome=attempt.outcome))
        return events

    def reports(self) -> Mapping[RunKey, AttemptReport]:
        return {}

    def close(self) -> None:
        pass


class DyingJournal:
    """A journal whose writer may die before and after each write."""

    def __init__(self, journal: Journal, death: Death) -> None:
        self._journal = journal
        self._death = death

    def append(self, events: Sequence[Event]) -> None:
        self._death.may_come()
        self._journal.append(events)
        self._death.may_come()


class DyingCaller:
    """A cluster whose caller may die before and after each command."""

    def __init__(self, cluster: Cluster, death: Death) -> None:
        self._cluster = cluster
        self._death = death

    def execute(self, command: LaunchAttempt | StopAttempt) -> None:
        self._death.may_come()
        self._cluster.execute(command)
        self._death.may_come()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)


def drive(root: SweepRoot, cluster: Cluster, death: Death, at: float, *, rounds: int | None = None) -> bool:
    """One orchestrator, as a launch drives it; whether it lived to the end."""
    state = replayed(root)
    left = itertools.count() if rounds is None else iter(range(rounds))
    with Journal(root.journal) as journal:
        caller: Any = DyingCaller(cluster, death)
        writer: Any = DyingJournal(journal, death)
        loop = Loop(state, writer, caller)
        opened = SweepOpened(at=at, sweep_id="s", host="head", pid=1, limits=LIMITS)
        planned = [RunPlanned(at=at, key=key, group=GROUP, resources=spec.resources) for key, spec in SPECS.items()]
        try:
            loop.handle([opened, *planned])
            if not state.is_finished():
                cluster.open(root, "s", SPECS)
                cluster.adopt([(key, state.runs[key].attempt) for key in sorted(state.in_flight)])
                loop.run(should_stop=lambda: next(left, None) is None, each_round=lambda: check_invariants(state))
        except OrchestratorDiedError:
            return False
    assert replayed(root) == state
    return True


def succeeded(root: SweepRoot) -> Counter[RunKey]:
    """How often each run succeeded, as the journal tells."""
    ends = [event for event in read_journal(root.journal) if isinstance(event, AttemptEnded)]
    return Counter(end.key for end in ends if end.outcome == "succeeded")


ONCE_EACH = Counter(list(SPECS))


def moments(root: SweepRoot) -> int:
    """How many moments an orchestrator passes that lives to the end."""
    death = Death()
    assert drive(root, LastingCluster(World()), death, 0.0)
    return death.passed


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[Iterator[SweepRoot]]:
    """As many fresh roots as a test wants."""

    def fresh() -> Iterator[SweepRoot]:
        for number in itertools.count():
            folder = tmp_path / str(number)
            folder.mkdir()
            yield SweepRoot(folder)

    yield fresh()


def test_a_sweep_survives_its_orchestrator_wherever_it_dies(roots: Iterator[SweepRoot]) -> None:
    """Before and after every write and every command: the next one finds the attempts, and none is made twice."""
    for moment in range(moments(next(roots))):
        root, world = next(roots), World()

        assert not drive(root, LastingCluster(world), Death(moment), world.now())
        assert drive(root, LastingCluster(world), Death(), world.now())
        assert {run.state for run in replayed(root).runs.values()} == {"done"}
        assert succeeded(root) == world.finished == ONCE_EACH, moment
        assert len(set(world.launched)) == len(world.launched)


def test_a_sweep_survives_orchestrators_that_die_one_after_another(roots: Iterator[SweepRoot]) -> None:
    """Each of them a little later in its life than the one before, until one lives to the end."""
    for step in range(1, 6):
        root, world = next(roots), World()
        deaths = 0
        while not drive(root, LastingCluster(world), Death(deaths * step), world.now()):
            deaths += 1
            assert deaths < 200

        assert deaths > 2
        assert {run.state for run in replayed(root).runs.values()} == {"done"}
        assert succeeded(root) == world.finished == ONCE_EACH, step
        assert len(set(world.launched)) == len(world.launched)


def test_attempts_that_die_with_their_orchestrator_are_made_again(roots: Iterator[SweepRoot]) -> None:
    """On a cluster that keeps nothing; every run still succeeds exactly once, as the next attempt of its number."""
    for moment in range(moments(next(roots))):
        root = next(roots)
        first, second = FakeCluster(cpus=2.0), FakeCluster(cpus=2.0)
        lived = drive(root, first, Death(moment), 0.0)

        assert lived or drive(root, second, Death(), 1.0)
        assert {run.state for run in replayed(root).runs.values()} == {"done"}
        assert succeeded(root) == ONCE_EACH, moment
        launched = [(command.key, command.attempt) for command in (*first.commands, *second.commands)]
        assert len(set(launched)) == len(launched)


def test_a_sweep_that_is_stopped_is_continued_wherever_its_orchestrator_dies(roots: Iterator[SweepRoot]) -> None:
    """Also while it stops: what was cancelled for its sake is taken up again."""
    for moment in itertools.count():
        root, world = next(roots), World()
        lived = drive(root, LastingCluster(world), Death(moment), world.now(), rounds=2)
        open_runs = [run for run in replayed(root).runs.values() if run.state != "done"]
        assert open_runs or not root.journal.stat().st_size

        assert drive(root, LastingCluster(world), Death(), world.now())
        assert {run.state for run in replayed(root).runs.values()} == {"done"}
        assert succeeded(root) == ONCE_EACH, moment
        if lived:
            break
        assert moment < 200


def test_nothing_happens_that_is_not_in_the_journal(roots: Iterator[SweepRoot]) -> None:
    """A journal that cannot be written ends the orchestrator before it has acted."""
    root = next(roots)
    cluster = FakeCluster()
    for moment in (0, 1):
        assert not drive(root, cluster, Death(moment), 0.0)
        assert cluster.commands == []
    assert len(list(read_journal(root.journal))) == 1 + len(SPECS)


def test_a_run_that_backs_off_is_woken(roots: Iterator[SweepRoot]) -> None:
    """By an alarm of the loop, although the cluster has nothing to tell."""
    root = next(roots)
    spec = fake_run("fail")
    cluster = FakeCluster()
    limits = Limits(retries={"crashed": 1}, retry_delay_s=0.2, canary=False)
    with Journal(root.journal) as journal:
        state = replayed(root)
        loop = Loop(state, journal, cluster)
        cluster.open(root, "s", {spec.key: spec})
        loop.handle(
            [
                SweepOpened(at=0.0, sweep_id="s", host="head", pid=1, limits=limits),
                RunPlanned(at=0.0, key=spec.key, group=GROUP, resources=spec.resources),
            ]
        )
        loop.run(should_stop=lambda: False, each_round=lambda: None)

    kinds = [type(event).__name__ for event in read_journal(root.journal)][2:]
    assert kinds == ["NodeJoined", "AttemptStarted", "AttemptEnded", "Woken", "AttemptStarted", "AttemptEnded"]
    assert state.runs[spec.key].state == "failed"
