"""What holds of the machine whatever happens, in whatever order."""

import json
from collections.abc import Callable, Mapping

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from sweep_states import GROUP, SweepUnderTest, key

from orchestrator.commands import Command, LaunchAttempt, StopAttempt, WakeAt
from orchestrator.events import (
    AttemptEnded,
    Event,
    GroupReleased,
    NodeLeft,
    RunCancelled,
    RunFoundDone,
    RunFoundUndone,
    RunPaused,
    RunResumed,
    RunRetried,
    SpecLost,
    StopRequested,
    TrainingBegan,
    Woken,
    event_from_json,
    event_to_json,
)
from orchestrator.machine import apply
from orchestrator.outcomes import OUTCOMES, Outcome
from orchestrator.policy import Limits
from orchestrator.states import Run, SweepState

LIMITS = Limits(retries={"crashed": 2, "stalled": 1}, retry_delay_s=4.0, hold_after=3)
SEEDS = st.integers(0, 7)
TOLD = (RunFoundDone, RunFoundUndone, RunRetried, RunCancelled, RunPaused, RunResumed)
#: What whoever asks for it is told that it will do.
ASKED: Mapping[type[Event], Callable[[Run], bool]] = {
    RunRetried: lambda run: run.may_be_retried,
    RunCancelled: lambda run: run.may_be_cancelled,
    RunPaused: lambda run: run.may_be_paused,
    RunResumed: lambda run: run.may_be_resumed,
}
SHAPES = st.sampled_from(
    [{"cpus": 1.0}, {"cpus": 2.0}, {"cpus": 0.3}, {"gpus": 1.0}, {"gpus": 0.4}, {"gpus": 2.0, "cpus": 1.0}]
)
#: A node keeps its size: what an attempt may hold on a node that shrank is a case of its own.
NODES = {"a": {"cpus": 1.0, "gpus": 1.0}, "b": {"cpus": 3.0, "gpus": 2.0}, "c": {"cpus": 2.0, "gpus": 0.0}}


class AnyOrder(RuleBasedStateMachine):
    """Feeds events in any order, sensible or not, and keeps count of what the cluster was told to do."""

    seeds = Bundle("seeds")

    def __init__(self) -> None:
        super().__init__()
        self.sweep = SweepUnderTest()
        self.sweep.opened(LIMITS)
        self.commands: list[Command] = []
        #: Attempts that were launched and not ended, as a cluster would know them.
        self.alive: set[tuple[int, int]] = set()
        self.launched: set[tuple[int, int]] = set()

    def obey(self, commands: list[Command]) -> None:
        self.commands += commands
        for command in commands:
            if isinstance(command, LaunchAttempt):
                attempt = (command.key.seed, command.attempt)
                assert attempt not in self.launched, f"{attempt} was launched twice"
                assert command.key.seed not in {seed for seed, _ in self.alive}, f"{attempt} joins an earlier attempt"
                assert command.node in self.sweep.state.nodes, f"{command.node} is not there"
                self.launched.add(attempt)
                self.alive.add(attempt)
            elif isinstance(command, StopAttempt):
                assert (command.key.seed, command.attempt) in self.alive, "stops what does not run"
            elif isinstance(command, WakeAt):
                assert command.at > self.sweep.at, "wakes in the past"

    @rule(target=seeds, seed=SEEDS, shape=SHAPES, priority=st.sampled_from([0, 0, -1]))
    def plan(self, seed: int, shape: dict[str, float], priority: int) -> int:
        self.obey(self.sweep.planned(seed, priority=priority, **shape))
        return seed

    @rule(limit=st.sampled_from([None, None, 1, 3]), canary=st.booleans(), hours=st.sampled_from([None, None, 0.02]))
    def open_again(self, limit: int | None, canary: bool, hours: float | None) -> None:
        """Another orchestrator takes over; one with a lower limit lets what is in flight end."""
        if limit is None or limit >= len(self.alive):
            self.obey(self.sweep.opened(LIMITS, max_concurrent=limit, canary=canary, max_gpu_hours=hours))

    @rule(node=st.sampled_from(sorted(NODES)))
    def join(self, node: str) -> None:
        self.obey(self.sweep.joined(node, **NODES[node]))

    @rule(node=st.sampled_from(sorted(NODES)))
    def leave(self, node: str) -> None:
        self.obey(self.sweep.feed(NodeLeft(at=self.sweep.now(), node=node)))

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        if self.alive:
            seed, attempt = data.draw(st.sampled_from(sorted(self.alive)))
            is_stopping = self.sweep.states()[seed] == "stopping"
            commands = self.sweep.started(seed, attempt=attempt)
            self.obey(commands)
            # Whoever asked for that may have died before the attempt was told.
            assert (StopAttempt(key=key(seed), attempt=attempt) in commands) == is_stopping

    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        if self.alive:
            seed, attempt = data.draw(st.sampled_from(sorted(self.alive)))
            self.obey(self.sweep.feed(TrainingBegan(at=self.sweep.now(), key=key(seed), attempt=attempt)))

    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES), is_suspect=st.booleans())
    def end(self, data: st.DataObject, outcome: Outcome, is_suspect: bool) -> None:
        if self.alive:
            seed, attempt = data.draw(st.sampled_from(sorted(self.alive)))
            self.alive.remove((seed, attempt))
            end = AttemptEnded(
                at=self.sweep.now(), key=key(seed), attempt=attempt, outcome=outcome, is_node_suspect=is_suspect
            )
            self.obey(self.sweep.feed(end))

    @rule(data=st.data())
    def lose_the_spec(self, data: st.DataObject) -> None:
        if self.alive:
            seed, attempt = data.draw(st.sampled_from(sorted(self.alive)))
            self.alive.remove((seed, attempt))
            self.obey(self.sweep.feed(SpecLost(at=self.sweep.now(), key=key(seed), attempt=attempt)))

    @rule(seed=SEEDS, attempt=st.integers(0, 4), outcome=st.sampled_from(OUTCOMES))
    def echo(self, seed: int, attempt: int, outcome: str) -> None:
        """Ends and starts of attempts that are over, or never were."""
        if (seed, attempt) not in self.alive:
            before = self.sweep.states()
            self.obey(self.sweep.started(seed, attempt=attempt))
            self.obey(self.sweep.ended(seed, outcome, attempt=attempt))  # type: ignore[arg-type]
            woken = {seed for seed, state in before.items() if state == "backing_off"}
            changed = {seed for seed, state in self.sweep.states().items() if before[seed] != state}
            # Time went on with these events, and may have brought retries; nothing else.
            assert not changed or woken, (before, self.sweep.states())

    @rule(seed=seeds, kind=st.sampled_from(TOLD))
    def told(self, seed: int, kind: Callable[..., Event]) -> None:
        run = self.sweep.state.runs[key(seed)]
        before = (run.state, run.after_stop)
        is_change = kind in ASKED and ASKED[kind](run)
        self.obey(self.sweep.feed(kind(at=self.sweep.now(), key=key(seed))))
        # Time alone may have changed a run that waited for something.
        if kind in ASKED and (is_change or before[0] not in ("waiting", "backing_off")):
            assert ((run.state, run.after_stop) != before) == is_change, (kind, before, run)

    @rule()
    def release(self) -> None:
        self.obey(self.sweep.feed(GroupReleased(at=self.sweep.now(), group=GROUP)))

    @rule()
    def stop(self) -> None:
        self.obey(self.sweep.feed(StopRequested(at=self.sweep.now())))

    @rule(seconds=st.sampled_from([0.5, 3.0, 60.0]))
    def wake(self, seconds: float) -> None:
        self.sweep.at += seconds
        self.obey(self.sweep.feed(Woken(at=self.sweep.at)))

    @invariant()
    def the_machine_and_the_cluster_agree_on_what_is_in_flight(self) -> None:
        in_flight = {
            (run.key.seed, run.attempt) for run in map(self.sweep.state.runs.get, self.sweep.state.in_flight) if run
        }
        assert in_flight == self.alive

    def teardown(self) -> None:
        self.check_replay()
        self.check_every_run_ends()

    def check_replay(self) -> None:
        """The journal of these events adds up to the same state, and would give the same commands."""
        lines = [json.dumps(event_to_json(event)) for event in self.sweep.fed]
        events: list[Event] = [event_from_json(json.loads(line)) for line in lines]
        replayed = SweepState()
        commands = [command for event in events for command in apply(replayed, event)]

        assert events == self.sweep.fed
        assert replayed == self.sweep.state
        assert commands == self.commands

    def check_every_run_ends(self) -> None:
        """With room for every shape, and a cluster that ends what it was told to begin, nothing stays behind."""
        for seed in self.sweep.states():
            self.obey(self.sweep.feed(RunResumed(at=self.sweep.now(), key=key(seed))))
        self.obey(self.sweep.opened(LIMITS, hold_after=None))
        for seed in self.sweep.states():
            self.obey(self.sweep.planned(seed))
        for node, size in NODES.items():
            self.obey(self.sweep.joined(node, **size))
        for _ in range(200):
            if self.sweep.is_at_rest():
                break
            for seed, attempt in sorted(self.alive):
                self.alive.remove((seed, attempt))
                self.obey(self.sweep.ended(seed, "crashed", attempt=attempt))
            self.sweep.at += 60.0
            self.obey(self.sweep.feed(Woken(at=self.sweep.at)))

        assert self.sweep.is_at_rest(), self.sweep.states()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=300, stateful_step_count=80, deadline=None)
