"""What every Cluster must do, whatever it executes attempts with. Each backend's test file inherits these tests."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes.fake_runs import fake_run, is_alive, wait_until

from orchestrator.cluster import Cluster
from orchestrator.commands import LaunchAttempt, StopAttempt
from orchestrator.events import AttemptEnded, AttemptStarted, Event, NodeJoined
from orchestrator.outcomes import Outcome
from sweeps.contracts import RunKey, RunSpec
from sweeps.files import read_records
from sweeps.layout import RunDir, SweepRoot

_LIMIT_S = 60.0


@dataclass
class Bench:
    """An open cluster, the runs that were given to it, and everything that it has told."""

    cluster: Cluster
    root: SweepRoot
    #: Whether attempts are real processes with real files.
    is_real: bool = True
    specs: dict[RunKey, RunSpec] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def run(self, mode: str = "train", **options: Any) -> RunSpec:
        """A run that nobody has launched yet."""
        spec = fake_run(mode, seed=len(self.specs), **options)
        self.specs[spec.key] = spec
        return spec

    def launch(self, spec: RunSpec, attempt: int = 1) -> None:
        command = LaunchAttempt(key=spec.key, attempt=attempt, node=self.node, resources=spec.resources)
        self.cluster.execute(command)

    def stop(self, spec: RunSpec, attempt: int = 1) -> None:
        self.cluster.execute(StopAttempt(key=spec.key, attempt=attempt))

    @property
    def node(self) -> str:
        self.until(lambda: any(isinstance(event, NodeJoined) for event in self.events))
        return next(event.node for event in self.events if isinstance(event, NodeJoined))

    def until(self, is_true: Callable[[], object]) -> None:
        """Poll until something has been told."""
        deadline = time.monotonic() + _LIMIT_S
        while not is_true():
            assert time.monotonic() < deadline, self.events
            self.events += self.cluster.poll(0.5)

    def told(self, spec: RunSpec) -> list[AttemptStarted | AttemptEnded]:
        """What was told about a run."""
        kinds = (AttemptStarted, AttemptEnded)
        return [event for event in self.events if isinstance(event, kinds) and event.key == spec.key]

    def ended(self, spec: RunSpec, attempt: int = 1) -> AttemptEnded:
        """The end of an attempt, once it is told."""

        def ends() -> list[AttemptEnded]:
            return [event for event in self.told(spec) if isinstance(event, AttemptEnded) and event.attempt == attempt]

        self.until(ends)
        return ends()[0]

    def started(self, spec: RunSpec, attempt: int = 1) -> AttemptStarted:
        """The start of an attempt, once it is told."""

        def starts() -> list[AttemptStarted]:
            return [
                event for event in self.told(spec) if isinstance(event, AttemptStarted) and event.attempt == attempt
            ]

        self.until(starts)
        return starts()[0]

    def run_dir(self, spec: RunSpec) -> RunDir:
        return self.root.run_dir(spec.key)

    def starts(self, spec: RunSpec) -> int:
        """How often the trainer of a run was started."""
        return (self.run_dir(spec).path / "starts").read_text().count("\n")


class ClusterContract:
    """One conformance suite for the seam between deciding and doing."""

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
        """One open cluster for all tests of a class; each test brings runs of its own."""
        root = SweepRoot(tmp_path_factory.mktemp("root"))
        bench = Bench(cls.make_cluster(), root, is_real=cls.is_real)
        bench.cluster.open(root, bench_sweep_id(root), bench.specs)
        yield bench
        bench.cluster.close()

    is_real = True

    @classmethod
    def make_cluster(cls) -> Cluster:
        raise NotImplementedError

    def test_a_cluster_tells_its_nodes(self, bench: Bench) -> None:
        """Before anything can be launched, `poll` names the nodes and what they have."""
        assert bench.node
        (node,) = [event for event in bench.events if isinstance(event, NodeJoined)]
        assert node.cpus == 4.0
        assert node.memory_bytes > 0
        assert node.host

    def test_an_attempt_starts_and_ends(self, bench: Bench) -> None:
        """Exactly one start and one end, in that order, are told for it."""
        spec = bench.run()
        bench.launch(spec)
        end = bench.ended(spec)

        assert [type(event) for event in bench.told(spec)] == [AttemptStarted, AttemptEnded]
        assert (end.attempt, end.outcome, end.exit_code, end.cause) == (1, "succeeded", 0, "")
        assert bench.started(spec).pid > 0
        assert bench.run_dir(spec).done.exists() == bench.is_real

    @pytest.mark.parametrize(("mode", "outcome"), [("fail", "crashed"), ("full", "disk_full")])
    def test_a_bad_end_is_classified(self, bench: Bench, mode: str, outcome: Outcome) -> None:
        """The outcome, its cause and the exit code come with the end."""
        spec = bench.run(mode)
        bench.launch(spec)
        end = bench.ended(spec)

        assert (end.outcome, end.exit_code) == (outcome, 1)
        assert end.cause

    def test_repeated_commands_change_nothing(self, bench: Bench) -> None:
        """A crash of the orchestrator may have it say everything twice."""
        spec = bench.run(steps=3, step_s=0.1)
        bench.launch(spec)
        bench.launch(spec)
        bench.ended(spec)

        assert len(bench.told(spec)) == 2
        assert not bench.is_real or bench.starts(spec) == 1

    def test_several_attempts_at_once_are_told_apart(self, bench: Bench) -> None:
        """Each has an end of its own."""
        specs = [bench.run(mode) for mode in ("train", "fail", "train")]
        for spec in specs:
            bench.launch(spec)

        assert [bench.ended(spec).outcome for spec in specs] == ["succeeded", "crashed", "succeeded"]

    def test_a_run_goes_on_with_its_next_attempt(self, bench: Bench) -> None:
        """The same run directory serves, and the numbers keep the attempts apart."""
        spec = bench.run("fail")
        bench.launch(spec)
        bench.ended(spec)
        bench.specs[spec.key] = fake_run(seed=spec.key.seed)
        bench.launch(spec, attempt=2)

        assert bench.ended(spec, attempt=2).outcome == "succeeded"
        assert [event.attempt for event in bench.told(spec)] == [1, 1, 2, 2]

    def test_a_stopped_attempt_is_cancelled(self, bench: Bench) -> None:
        """Its end is told when no process of it is left; a second stop is nothing new."""
        spec = bench.run("hang")
        bench.launch(spec)
        pid = bench.started(spec).pid
        bench.stop(spec)
        bench.stop(spec)

        assert bench.ended(spec).outcome == "cancelled"
        assert not bench.is_real or not is_alive(pid)
        assert len(bench.told(spec)) == 2

    def test_the_end_is_told_when_nothing_is_left(self, bench: Bench) -> None:
        """Orphans of the trainer, deaf and in sessions of their own, are gone by then."""
        if not bench.is_real:
            pytest.skip("nothing real runs here")
        spec = bench.run("stray")
        bench.launch(spec)
        strays = bench.run_dir(spec).path / "strays"
        wait_until(lambda: strays.exists() and strays.read_text().endswith("\n"), limit_s=30)
        bench.stop(spec)
        bench.ended(spec)

        assert [pid for pid in map(int, strays.read_text().split()) if is_alive(pid)] == []

    def test_stopping_what_does_not_run_is_nothing(self, bench: Bench) -> None:
        """A stop may cross with the end of its attempt."""
        spec = bench.run()
        bench.stop(spec)
        bench.launch(spec)
        bench.ended(spec)
        bench.stop(spec)
        bench.stop(spec, attempt=7)

        assert bench.cluster.poll(0.3) == []
        assert bench.ended(spec).outcome == "succeeded"

    def test_a_poll_without_news_returns_in_time(self, bench: Bench) -> None:
        """It waits for something to happen, and no longer than it is told."""
        began = time.monotonic()

        assert bench.cluster.poll(0.3) == []
        assert time.monotonic() - began < 3.0

    def test_attempts_in_flight_report_their_progress(self, bench: Bench) -> None:
        """People see how far each run is."""
        spec = bench.run("hang" if not bench.is_real else "train", steps=2000, step_s=0.05)
        bench.launch(spec)

        def is_ahead() -> bool:
            report = bench.cluster.reports().get(spec.key)
            return report is not None and report.progress.step > 0

        bench.until(is_ahead)
        bench.stop(spec)
        bench.ended(spec)

        assert spec.key not in bench.cluster.reports()

    def test_what_nobody_runs_any_more_is_lost(self, bench: Bench) -> None:
        """An attempt that an earlier orchestrator launched, and that is nowhere, ends as lost."""
        spec = bench.run()
        bench.cluster.adopt([(spec.key, 3)])
        end = bench.ended(spec, attempt=3)

        assert end.outcome == "worker_lost"
        assert end.cause


def bench_sweep_id(root: SweepRoot) -> str:
    """A sweep's id that no other test has."""
    return f"test{abs(hash(str(root.path))):x}"[:16]


def logged_steps(run_dir: RunDir) -> list[int]:
    """The steps of every episode that a run has logged."""
    return [int(record["step"]) for record in read_records(run_dir.scores)]
