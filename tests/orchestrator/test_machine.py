"""The machine, case by case: events go in, and the whole list of commands is compared. No clock, no Ray, no files."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sweep_states import GROUP, SweepUnderTest, key, launch

from orchestrator.commands import LaunchAttempt, StopAttempt, WakeAt
from orchestrator.events import (
    AttemptEnded,
    GroupReleased,
    NodeJoined,
    NodeLeft,
    RunCancelled,
    RunFoundDone,
    RunFoundUndone,
    RunPaused,
    RunPlanned,
    RunResumed,
    RunRetried,
    SpecLost,
    StopRequested,
    TrainingBegan,
    Woken,
)
from orchestrator.machine import apply, check_invariants
from orchestrator.outcomes import Outcome
from orchestrator.policy import Limits, retry_delay_s
from sweeps.contracts import Resources


@pytest.fixture
def sweep() -> Iterator[SweepUnderTest]:
    """An opened sweep; every invariant is checked after each event and at the end."""
    sweep = SweepUnderTest()
    sweep.opened()
    yield sweep
    check_invariants(sweep.state)


@pytest.fixture
def patient() -> Iterator[SweepUnderTest]:
    """A sweep whose crashed runs are tried twice more."""
    sweep = SweepUnderTest()
    sweep.opened(retries={"crashed": 2}, retry_delay_s=10.0, max_retry_delay_s=15.0)
    yield sweep
    check_invariants(sweep.state)


# --- launching


def test_nothing_is_launched_without_a_node(sweep: SweepUnderTest) -> None:
    """Runs wait until there is somewhere to execute them."""
    assert sweep.planned(0, 1) == []
    assert sweep.states() == {0: "waiting", 1: "waiting"}


def test_a_node_takes_what_fits(sweep: SweepUnderTest) -> None:
    """As many runs are launched as the node has CPUs for, and the next one when one of them ends."""
    sweep.planned(0, 1, 2)

    assert sweep.joined(cpus=2) == [launch(0), launch(1)]
    assert sweep.ended(1) == [launch(2)]
    assert sweep.states() == {0: "launching", 1: "done", 2: "launching"}


def test_an_attempt_is_running_once_it_has_started(sweep: SweepUnderTest) -> None:
    """`AttemptStarted` needs no command; it is news."""
    sweep.joined()
    sweep.planned(0)

    assert sweep.started(0) == []
    assert sweep.states() == {0: "running"}
    assert sweep.state.runs[key(0)].started_at == sweep.at


def test_the_queue_goes_by_priority_then_seed_then_plan(sweep: SweepUnderTest) -> None:
    """Every task gets its first seed before any gets its second, whatever the order of the plan."""
    sweep.planned(2, 0, 1)
    sweep.planned(9, priority=-1)

    launched = [*sweep.joined(), *sweep.ended(9), *sweep.ended(0), *sweep.ended(1)]

    assert launched == [launch(9), launch(0), launch(1), launch(2)]


def test_runs_of_one_seed_go_in_the_order_of_the_plan(sweep: SweepUnderTest) -> None:
    """Where priority and seed are equal, the plan decides."""
    plan = [key(task="gym_Pendulum-v1"), key(task="gym_Acrobot-v1")]
    for wanted in plan:
        sweep.feed(RunPlanned(at=sweep.now(), key=wanted, group="g"))

    commands = sweep.joined(cpus=2)

    assert [command.key for command in commands] == plan  # type: ignore[union-attr]


def test_no_more_than_max_concurrent_are_in_flight() -> None:
    """The limit holds however much room there is, and also for runs that have not started yet."""
    sweep = SweepUnderTest()
    sweep.opened(max_concurrent=2)
    sweep.planned(0, 1, 2, 3)

    assert sweep.joined(cpus=8) == [launch(0), launch(1)]
    assert sweep.joined("b", cpus=8) == []
    assert sweep.ended(0) == [launch(2)]


# --- packing


def test_fractions_share_a_gpu_until_it_is_full(sweep: SweepUnderTest) -> None:
    """Quarters of a GPU go onto the fullest one that still has room, as Ray packs them."""
    sweep.planned(*range(6), gpus=0.25)
    sweep.joined(cpus=8, gpus=2)

    gpus = {run.key.seed: run.room.gpus for run in sweep.state.runs.values() if run.room is not None}

    assert gpus == {0: (0,), 1: (0,), 2: (0,), 3: (0,), 4: (1,), 5: (1,)}


def test_fractions_that_cannot_share_take_a_gpu_each(sweep: SweepUnderTest) -> None:
    """Two times 0.6 is more than one GPU, although 1.2 of 2 GPUs would be free."""
    sweep.planned(0, 1, 2, gpus=0.6)

    assert sweep.joined(cpus=8, gpus=2) == [launch(0, gpus=0.6, on=(0,)), launch(1, gpus=0.6, on=(1,))]


def test_a_whole_gpu_needs_one_that_nobody_shares(sweep: SweepUnderTest) -> None:
    """Halves on two GPUs leave one GPU's worth of room, and no GPU; a whole one starts when a half ends alone."""
    sweep.planned(0, 1, gpus=0.6)
    sweep.planned(2, gpus=1)
    sweep.joined(cpus=8, gpus=2)

    assert sweep.states() == {0: "launching", 1: "launching", 2: "waiting"}
    assert sweep.ended(0) == [launch(2, gpus=1, on=(0,))]
    assert sweep.state.runs[key(2)].room.gpus == (0,)  # type: ignore[union-attr]


def test_several_gpus_come_from_one_node(sweep: SweepUnderTest) -> None:
    """Two GPUs on two nodes are not two GPUs for one run."""
    sweep.planned(0, gpus=2)

    assert sweep.joined("a", cpus=4, gpus=1) == []
    assert sweep.joined("b", cpus=4, gpus=1) == []
    assert sweep.joined("c", cpus=4, gpus=2) == [launch(0, node="c", gpus=2, on=(0, 1))]


def test_fractions_of_cpus_do_not_add_up_to_more_than_there_is(sweep: SweepUnderTest) -> None:
    """Ten tenths fill one CPU: rounding neither leaves the last one out nor lets an eleventh in."""
    sweep.planned(*range(12), cpus=0.1)

    assert sweep.joined(cpus=1) == [launch(seed, cpus=0.1) for seed in range(10)]


def test_memory_and_custom_resources_bound_too(sweep: SweepUnderTest) -> None:
    """A run is launched only where all that it asks for is free."""
    sweep.planned(0, 1, memory_bytes=2**29)
    sweep.planned(2, memory_bytes=2**29)
    wanted = Resources(custom={"licence": 1})

    assert sweep.joined(cpus=8) == [launch(0, memory_bytes=2**29), launch(1, memory_bytes=2**29)]

    for seed in (10, 11):
        sweep.feed(RunPlanned(at=sweep.now(), key=key(seed), group="g", resources=wanted))
    commands = sweep.joined("b", cpus=8, licence=1)

    assert [(command.key.seed, command.node) for command in commands] == [(2, "b"), (10, "b")]  # type: ignore[union-attr]


def test_a_shape_that_does_not_fit_blocks_only_itself(sweep: SweepUnderTest) -> None:
    """Runs that fit are launched past one that waits for a larger node."""
    sweep.planned(0, cpus=4)
    sweep.planned(1, 2, cpus=1)

    assert sweep.joined(cpus=2) == [launch(1), launch(2)]
    assert sweep.joined("b", cpus=4) == [launch(0, node="b", cpus=4)]


def test_a_large_run_starts_when_enough_has_ended(sweep: SweepUnderTest) -> None:
    """A shape that was blocked is tried again on every node that something was given back to."""
    sweep.planned(0, 1, cpus=1)
    sweep.joined(cpus=2)
    sweep.planned(2, cpus=2)

    assert sweep.ended(0) == []
    assert sweep.ended(1) == [launch(2, cpus=2)]


# --- nodes


def test_a_node_that_left_takes_no_more(sweep: SweepUnderTest) -> None:
    """What was on it stays in flight until its own end is told; what comes next goes elsewhere."""
    sweep.planned(0, 1, 2)
    sweep.joined("a")

    assert sweep.feed(NodeLeft(at=sweep.now(), node="a")) == []
    assert sweep.states() == {0: "launching", 1: "waiting", 2: "waiting"}
    assert sweep.joined("b") == [launch(1, node="b")]
    assert sweep.ended(0, "worker_lost") == []
    assert sweep.ended(1) == [launch(0, node="b", attempt=2)]


def test_a_node_that_comes_back_still_holds_its_attempts(sweep: SweepUnderTest) -> None:
    """Room that an attempt holds is not given twice because its node was out of sight for a while."""
    sweep.planned(0, 1)
    sweep.joined("a")
    sweep.feed(NodeLeft(at=sweep.now(), node="a"))

    assert sweep.joined("a") == []
    assert sweep.ended(0) == [launch(1)]


def test_a_node_that_grows_takes_more(sweep: SweepUnderTest) -> None:
    """`NodeJoined` again replaces what is known of the node, and what it holds stays."""
    sweep.planned(0, 1, 2)
    sweep.joined(cpus=1)

    assert sweep.joined(cpus=2) == [launch(1)]


def test_a_node_that_shrinks_keeps_what_it_holds() -> None:
    """An orchestrator that comes back with fewer GPUs than its forerunner had can still read the journal.

    The room of an attempt names GPUs by position. Taking a position that the smaller node does not have once ended
    the orchestrator at each start, with no way out but a new root.
    """
    sweep = SweepUnderTest()
    sweep.opened()
    sweep.planned(0, 1, gpus=1)
    sweep.joined(cpus=2, gpus=2)
    events = [
        NodeJoined(at=2000.0, node="a", cpus=2, gpus=1),
        AttemptEnded(at=2001.0, key=key(1), attempt=1, outcome="worker_lost"),
        AttemptEnded(at=2002.0, key=key(0), attempt=1, outcome="succeeded"),
    ]

    commands = [apply(sweep.state, event) for event in events]

    assert commands == [[], [], [launch(1, attempt=2, gpus=1, on=(0,))]]
    check_invariants(sweep.state)


# --- stopping and continuing


def test_stop_ends_what_is_in_flight_and_starts_nothing(sweep: SweepUnderTest) -> None:
    """Every attempt in flight is stopped, in the order of keys; their ends make room that nobody takes."""
    sweep.planned(0, 1, 2)
    sweep.joined(cpus=2)
    sweep.started(0)

    stops = sweep.feed(StopRequested(at=sweep.now()))

    assert stops == [StopAttempt(key=key(0), attempt=1), StopAttempt(key=key(1), attempt=1)]
    assert not sweep.state.is_finished()
    assert [sweep.ended(0, "cancelled"), sweep.ended(1, "cancelled")] == [[], []]
    assert sweep.states() == {0: "waiting", 1: "waiting", 2: "waiting"}
    assert sweep.state.is_finished()


def test_a_run_that_finished_while_it_was_stopped_is_done(sweep: SweepUnderTest) -> None:
    """The end that is told decides, not the stop that was asked for."""
    sweep.planned(0)
    sweep.joined()
    sweep.feed(StopRequested(at=sweep.now()))

    assert sweep.ended(0) == []
    assert sweep.states() == {0: "done"}


def test_the_next_orchestrator_continues_with_the_next_attempt(sweep: SweepUnderTest) -> None:
    """After a stop, planning again launches the run under its next number."""
    sweep.planned(0)
    sweep.joined()
    sweep.feed(StopRequested(at=sweep.now()))
    sweep.ended(0, "cancelled")

    assert sweep.opened() == []
    assert sweep.planned(0) == []
    assert sweep.joined() == [launch(0, attempt=2)]


def test_attempts_in_flight_survive_the_orchestrator(sweep: SweepUnderTest) -> None:
    """A new orchestrator knows them as in flight, starts no second attempt, and keeps their room taken."""
    sweep.planned(0, 1)
    sweep.joined()
    sweep.started(0)

    assert sweep.opened() == []
    assert sweep.planned(0, 1) == []
    assert sweep.joined() == []
    assert sweep.ended(0) == [launch(1)]


def test_runs_of_an_earlier_launch_are_left_alone(sweep: SweepUnderTest) -> None:
    """What is not part of the present plan is idle, and does not keep the sweep from finishing."""
    sweep.planned(0, 1)
    sweep.opened()
    sweep.planned(1)

    assert sweep.joined(cpus=2) == [launch(1)]
    assert sweep.ended(1) == []
    assert sweep.states() == {0: "idle", 1: "done"}
    assert sweep.state.is_finished()


def test_a_failed_run_is_tried_again_by_the_next_launch(sweep: SweepUnderTest) -> None:
    """Planning a run again means that it shall be done."""
    sweep.planned(0)
    sweep.joined()
    sweep.ended(0, "crashed")
    sweep.opened()
    sweep.joined()

    assert sweep.planned(0) == [launch(0, attempt=2)]


def test_a_planned_run_that_changed_its_resources_is_launched_with_the_new_ones(sweep: SweepUnderTest) -> None:
    """A run that waited in an earlier launch does not go by what it asked for then."""
    sweep.planned(0, cpus=8)
    sweep.opened()
    sweep.planned(0, cpus=1)

    assert sweep.joined(cpus=2) == [launch(0, cpus=1)]


def test_a_done_run_is_never_launched_again(sweep: SweepUnderTest) -> None:
    """Neither by planning it again nor by asking for a retry."""
    sweep.planned(0)
    sweep.joined()
    sweep.ended(0)

    assert sweep.planned(0) == []
    assert sweep.feed(RunRetried(at=sweep.now(), key=key(0))) == []
    assert sweep.states() == {0: "done"}


# --- the disk is the truth


def test_a_run_found_done_is_not_launched(sweep: SweepUnderTest) -> None:
    """The marker on disk counts, also for a run that the journal has never seen end."""
    sweep.planned(0)

    assert sweep.feed(RunFoundDone(at=sweep.now(), key=key(0))) == []
    assert sweep.joined() == []
    assert sweep.states() == {0: "done"}


def test_an_attempt_in_flight_is_not_overruled_by_the_marker(sweep: SweepUnderTest) -> None:
    """Its own end comes, and only that gives its room back."""
    sweep.planned(0)
    sweep.joined()

    assert sweep.feed(RunFoundDone(at=sweep.now(), key=key(0))) == []
    assert sweep.states() == {0: "launching"}


def test_a_run_whose_results_were_removed_is_made_anew(sweep: SweepUnderTest) -> None:
    """Without its marker, a done run is planned like any other."""
    sweep.planned(0)
    sweep.joined()
    sweep.ended(0)

    assert sweep.feed(RunFoundUndone(at=sweep.now(), key=key(0))) == []
    assert sweep.states() == {0: "idle"}
    assert sweep.planned(0) == [launch(0, attempt=2)]


# --- echoes


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_the_end_of_another_attempt_changes_nothing(sweep: SweepUnderTest, attempt: int) -> None:
    """What a poll repeats about earlier attempts, or tells about ones that never were, is an echo."""
    sweep.planned(0)
    sweep.joined()
    sweep.ended(0, "worker_lost")

    assert sweep.ended(0, "succeeded", attempt=attempt) == []
    assert sweep.started(0, attempt=attempt) == []
    assert sweep.states() == {0: "launching"}


def test_events_about_unknown_runs_change_nothing(sweep: SweepUnderTest) -> None:
    """A cluster may know attempts of runs that the journal does not hold."""
    events = [
        RunFoundDone(at=1.0, key=key(9)),
        RunFoundUndone(at=1.0, key=key(9)),
        RunRetried(at=1.0, key=key(9)),
        NodeLeft(at=1.0, node="nowhere"),
    ]

    assert sweep.feed(*events) == sweep.started(9) == sweep.ended(9) == []
    assert sweep.states() == {}


def test_an_end_that_is_told_twice_counts_once(sweep: SweepUnderTest) -> None:
    """The room is given back once."""
    sweep.planned(0, 1, 2)
    sweep.joined()

    assert sweep.ended(0) == [launch(1)]
    assert sweep.ended(0) == []


# --- retries


@pytest.mark.parametrize("outcome", ["out_of_memory", "crashed", "stalled", "diverged", "misconfigured"])
def test_without_a_limit_a_bad_end_is_final(sweep: SweepUnderTest, outcome: Outcome) -> None:
    """An outcome that the policy does not name is not retried, and says why it failed."""
    sweep.planned(0)
    sweep.joined()

    assert sweep.ended(0, outcome, cause="it broke") == []
    run = sweep.state.runs[key(0)]
    assert (run.state, run.outcome, run.cause) == ("failed", outcome, "it broke")


@pytest.mark.parametrize("outcome", ["preempted", "worker_lost"])
def test_what_is_nobodys_fault_is_retried_for_ever(sweep: SweepUnderTest, outcome: Outcome) -> None:
    """The infrastructure may take a run away as often as it likes; only one loss after another makes it wait."""
    sweep.planned(0)
    sweep.joined()

    assert [sweep.ended(0, outcome, attempt=attempt) for attempt in (1, 2)] == [
        [launch(0, attempt=2)],
        [launch(0, attempt=3)],
    ]
    for attempt in range(3, 30):
        (wake,) = sweep.ended(0, outcome, attempt=attempt)
        assert isinstance(wake, WakeAt)
        assert wake.at <= sweep.at + 600.0
        assert sweep.feed(Woken(at=wake.at)) == [launch(0, attempt=attempt + 1)]
        sweep.at = wake.at


def test_a_crash_is_retried_after_a_wait(patient: SweepUnderTest) -> None:
    """The machine asks to be woken, and launches the next attempt at that moment, not before."""
    patient.planned(0)
    patient.joined()

    (wake,) = patient.ended(0, "crashed")

    assert isinstance(wake, WakeAt)
    assert patient.at + 5.0 <= wake.at < patient.at + 10.0
    assert patient.states() == {0: "backing_off"}
    assert patient.feed(Woken(at=wake.at - 0.001)) == []
    assert patient.feed(Woken(at=wake.at)) == [launch(0, attempt=2)]


def test_any_later_event_wakes_what_is_due(patient: SweepUnderTest) -> None:
    """Time is what events carry: none is special."""
    patient.planned(0)
    patient.joined()
    (wake,) = patient.ended(0, "crashed")
    assert isinstance(wake, WakeAt)

    assert patient.feed(NodeLeft(at=wake.at + 1, node="nowhere")) == [launch(0, attempt=2)]


def test_retries_run_out(patient: SweepUnderTest) -> None:
    """Two retries mean three attempts."""
    patient.planned(0)
    patient.joined()
    for attempt in (1, 2):
        (wake,) = patient.ended(0, "crashed", attempt=attempt)
        assert isinstance(wake, WakeAt)
        patient.feed(Woken(at=wake.at))

    assert patient.ended(0, "crashed", attempt=3) == []
    assert patient.states() == {0: "failed"}


def test_a_lost_worker_costs_no_retry(patient: SweepUnderTest) -> None:
    """Only ends of the same class count against a class's limit."""
    patient.planned(0)
    patient.joined()
    patient.ended(0, "worker_lost", attempt=1)
    patient.ended(0, "worker_lost", attempt=2)

    (wake,) = patient.ended(0, "crashed", attempt=3)

    assert isinstance(wake, WakeAt)
    assert wake.at < patient.at + 10.0


def test_a_retry_on_request_does_not_wait_and_counts_anew(patient: SweepUnderTest) -> None:
    """Somebody who asks for a retry gets it now, with all retries again."""
    patient.planned(0)
    patient.joined()
    (wake,) = patient.ended(0, "crashed")
    assert isinstance(wake, WakeAt)

    assert patient.feed(RunRetried(at=patient.now(), key=key(0))) == [launch(0, attempt=2)]
    assert patient.feed(Woken(at=wake.at)) == []
    again = patient.ended(0, "crashed", attempt=2)
    assert len(again) == 1
    assert len(patient.state.runs[key(0)].outcomes) == 1


def test_a_failed_run_is_retried_on_request(sweep: SweepUnderTest) -> None:
    """`RunRetried` brings back what failed for good or was cancelled."""
    sweep.planned(0)
    sweep.joined()
    sweep.ended(0, "diverged")

    assert sweep.feed(RunRetried(at=sweep.now(), key=key(0))) == [launch(0, attempt=2)]


def test_a_fresh_start_is_asked_of_every_later_attempt(sweep: SweepUnderTest) -> None:
    """The first of them may be lost before it got as far as putting anything aside: each sees for itself."""
    sweep.planned(0)
    sweep.joined()
    sweep.ended(0, "diverged")

    first = sweep.feed(RunRetried(at=sweep.now(), key=key(0), fresh=True))
    second = sweep.ended(0, "worker_lost", attempt=2)

    assert first == [replace(launch(0, attempt=2), fresh_from=2)]
    assert second == [replace(launch(0, attempt=3), fresh_from=2)]


def test_a_run_that_waits_can_be_asked_to_start_afresh(sweep: SweepUnderTest) -> None:
    """A launch plans failed runs anew before it takes the requests; one in flight is left alone."""
    sweep.planned(0, 1)
    sweep.feed(RunRetried(at=sweep.now(), key=key(0), fresh=True))
    sweep.joined(cpus=1.0)
    sweep.feed(RunRetried(at=sweep.now(), key=key(0), fresh=True))

    assert [sweep.state.runs[key(seed)].fresh_from for seed in (0, 1)] == [1, 0]
    assert sweep.state.runs[key(0)].state == "launching"


# --- groups


def test_one_run_of_a_group_goes_first(sweep: SweepUnderTest) -> None:
    """A canary shows that task, options and environment are sound, before a hundred runs meet the same mistake."""
    sweep.opened(canary=True)
    sweep.planned(0, 1, 2)

    assert sweep.joined(cpus=8) == [launch(0)]
    assert sweep.started(0) == []
    assert sweep.feed(TrainingBegan(at=sweep.now(), key=key(0), attempt=1)) == [launch(1), launch(2)]


def test_a_lost_canary_is_followed_by_another(sweep: SweepUnderTest) -> None:
    """Only one at a time, until one has trained or succeeded."""
    sweep.opened(canary=True)
    sweep.planned(0, 1)
    sweep.joined(cpus=8)

    assert sweep.ended(0, "crashed") == [launch(1)]
    assert sweep.ended(1) == []
    assert sweep.states() == {0: "failed", 1: "done"}


def test_each_group_has_its_own_canary(sweep: SweepUnderTest) -> None:
    """A mistake in one method does not hold up another."""
    sweep.opened(canary=True)
    sweep.planned(0, 1)
    other = key(0, label="size12m")
    sweep.feed(RunPlanned(at=sweep.now(), key=other, group="size12m × gym"))

    commands = sweep.joined(cpus=8)

    assert [command.key for command in commands] == [key(0), other]  # type: ignore[union-attr]


def test_a_misconfigured_run_holds_its_group_back(sweep: SweepUnderTest) -> None:
    """The others would fail alike; somebody who has mended it releases them, a canary first."""
    sweep.opened(canary=True)
    sweep.planned(0, 1, 2)
    sweep.joined(cpus=1)

    assert sweep.ended(0, "misconfigured", cause="no such task") == []
    assert sweep.state.groups[GROUP].held == "misconfigured: no such task"
    assert sweep.state.is_finished()
    assert sweep.states() == {0: "failed", 1: "waiting", 2: "waiting"}
    assert sweep.feed(GroupReleased(at=sweep.now(), group=GROUP)) == [launch(1)]


def test_equal_failures_hold_a_group_back(sweep: SweepUnderTest) -> None:
    """Three runs that ended alike are enough, where three is the limit; different causes are not."""
    sweep.opened(hold_after=3)
    sweep.planned(*range(6))
    sweep.joined()
    commands = [sweep.ended(seed, "crashed", cause=cause) for seed, cause in enumerate("aabba")]

    assert commands == [[launch(1)], [launch(2)], [launch(3)], [launch(4)], []]
    assert sweep.state.groups[GROUP].held == "3 of 5 starts ended alike (crashed): a"


# --- what people ask for


def test_a_cancelled_run_is_stopped_and_given_up(sweep: SweepUnderTest) -> None:
    """Neither its end nor another launch brings it back; a retry does."""
    sweep.planned(0, 1)
    sweep.joined()

    assert sweep.feed(RunCancelled(at=sweep.now(), key=key(0))) == [StopAttempt(key=key(0), attempt=1)]
    assert sweep.ended(0, "cancelled") == [launch(1)]
    assert sweep.feed(RunCancelled(at=sweep.now(), key=key(0))) == sweep.planned(0) == []
    assert sweep.states() == {0: "cancelled", 1: "launching"}
    sweep.ended(1)
    assert sweep.feed(RunRetried(at=sweep.now(), key=key(0))) == [launch(0, attempt=2)]


def test_what_is_asked_while_a_run_stops_counts_as_if_it_had_stopped(sweep: SweepUnderTest) -> None:
    """A cancelled run is not paused by a later request; a retry brings it back, from nothing where that was asked."""
    sweep.planned(0)
    sweep.joined()
    sweep.feed(RunCancelled(at=sweep.now(), key=key(0)))

    assert sweep.feed(RunPaused(at=sweep.now(), key=key(0))) == []
    assert sweep.state.runs[key(0)].after_stop == "cancelled"
    assert sweep.feed(RunRetried(at=sweep.now(), key=key(0), fresh=True)) == []
    assert sweep.ended(0, "cancelled") == [replace(launch(0, attempt=2), fresh_from=2)]


def test_a_paused_run_waits_until_it_is_resumed(sweep: SweepUnderTest) -> None:
    """Its room goes to others meanwhile, and the sweep does not end without it."""
    sweep.planned(0)
    sweep.joined()

    assert sweep.feed(RunPaused(at=sweep.now(), key=key(0))) == [StopAttempt(key=key(0), attempt=1)]
    assert sweep.ended(0, "cancelled") == []
    assert (sweep.states(), sweep.state.is_finished()) == ({0: "paused"}, False)
    assert sweep.feed(RunResumed(at=sweep.now(), key=key(0))) == [launch(0, attempt=2)]


def test_a_run_that_is_resumed_while_it_stops_goes_on(sweep: SweepUnderTest) -> None:
    """The stop is under way; the run starts again behind it."""
    sweep.planned(0)
    sweep.joined()
    sweep.feed(RunPaused(at=sweep.now(), key=key(0)))

    assert sweep.feed(RunResumed(at=sweep.now(), key=key(0))) == []
    assert sweep.ended(0, "cancelled") == [launch(0, attempt=2)]


# --- what stops everything


def test_a_full_disk_halts_the_sweep(sweep: SweepUnderTest) -> None:
    """Every run would meet it; nothing starts until somebody has made room and launches again."""
    sweep.planned(0, 1, 2)
    sweep.joined(cpus=2)

    assert sweep.ended(0, "disk_full", cause="no space left") == []
    assert (sweep.state.halted, sweep.state.is_finished()) == ("no space left", False)
    assert sweep.ended(1) == []
    assert sweep.state.is_finished()
    sweep.opened()
    sweep.planned(0, 1, 2)
    assert sweep.joined(cpus=2) == [launch(0, attempt=2), launch(2)]


def test_gpu_hours_run_out(sweep: SweepUnderTest) -> None:
    """What is in flight goes on to its end; nothing else starts."""
    sweep.opened(max_gpu_hours=2.0)
    sweep.planned(0, 1, 2, gpus=1)
    sweep.joined(cpus=4, gpus=2)
    sweep.at += 3600.0

    assert sweep.ended(0) == []
    assert sweep.state.halted == "max_gpu_hours=2 are used up"
    assert sweep.states() == {0: "done", 1: "launching", 2: "waiting"}


@pytest.mark.parametrize("ended_after_s", [60.0, None])
def test_time_without_an_orchestrator_costs_no_gpu_hours_of_what_had_ended(
    sweep: SweepUnderTest, ended_after_s: float | None
) -> None:
    """Killed a minute after a launch and back after three days: all of it counts only where nobody knows the end."""
    sweep.opened(max_gpu_hours=10.0)
    sweep.planned(0, 1, gpus=1)
    sweep.joined(cpus=4, gpus=1)
    launched_at = sweep.at
    sweep.at += 60.0
    sweep.feed(Woken(at=sweep.at))  # the last sign of life of its orchestrator
    sweep.at += 3 * 24 * 3600.0
    sweep.opened(max_gpu_hours=10.0)
    sweep.planned(0, 1, gpus=1)
    sweep.joined(cpus=4, gpus=1)
    end = None if ended_after_s is None else launched_at + ended_after_s
    sweep.feed(AttemptEnded(at=sweep.now(), key=key(0), attempt=1, outcome="worker_lost", ended_at=end))

    if ended_after_s is None:
        assert sweep.state.halted == "max_gpu_hours=10 are used up"
    else:
        assert (sweep.state.halted, sweep.state.gpu_seconds) == (None, ended_after_s)
        assert sweep.states() == {0: "launching", 1: "waiting"}


def test_a_host_whose_clock_is_behind_gives_no_gpu_hours_back(sweep: SweepUnderTest) -> None:
    """Its attempt says that it ended before it began; the orchestrator was there all the time."""
    sweep.opened(max_gpu_hours=10.0)
    sweep.planned(0, gpus=1)
    sweep.joined(cpus=4, gpus=1)
    sweep.at += 3600.0
    sweep.feed(AttemptEnded(at=sweep.now(), key=key(0), attempt=1, outcome="succeeded", ended_at=5.0))

    assert sweep.state.gpu_seconds == 3601.0


def test_a_run_whose_spec_is_gone_is_left_to_a_launch_that_plans_it(sweep: SweepUnderTest) -> None:
    """Its room is free again, and it is as if this launch had never known it."""
    sweep.planned(0, 1)
    sweep.joined()

    assert sweep.feed(SpecLost(at=sweep.now(), key=key(0), attempt=1)) == [launch(1)]
    assert sweep.states() == {0: "idle", 1: "launching"}
    assert sweep.feed(SpecLost(at=sweep.now(), key=key(0), attempt=1)) == []  # an echo
    sweep.ended(1)
    assert sweep.planned(0) == [launch(0, attempt=2)]


def test_a_relaunch_goes_by_its_own_priorities(sweep: SweepUnderTest) -> None:
    """What waited with another rank is queued anew."""
    sweep.planned(0, 1)
    sweep.opened(max_concurrent=1)
    sweep.planned(0, priority=5)
    sweep.planned(1, priority=1)

    assert sweep.joined(cpus=2) == [launch(1)]


def test_runs_that_fit_only_on_nodes_set_aside_halt_the_sweep(sweep: SweepUnderTest) -> None:
    """A healthy node without a GPU is no help to them; what it can hold ends first."""
    sweep.planned(0, 1, 2, 3, gpus=1)
    sweep.planned(4)
    sweep.joined("bad", cpus=1, gpus=1)
    sweep.joined("plain", cpus=1)
    for seed in (0, 1, 2):
        sweep.feed(
            AttemptEnded(
                at=sweep.now(), key=key(seed), attempt=1, outcome="crashed", cause="Xid 79", is_node_suspect=True
            )
        )
    assert sweep.states()[4] == "launching"
    assert (sweep.state.halted, sweep.state.is_finished()) == (None, False)
    sweep.ended(4)

    assert sweep.state.halted == (
        "every node that can hold what is left is set aside: 3 runs in a row failed on bad: Xid 79"
    )
    assert sweep.state.is_finished()


def test_a_node_that_fails_run_after_run_is_set_aside(sweep: SweepUnderTest) -> None:
    """Three different runs that fail by the node's fault; the others go elsewhere."""
    sweep.planned(*range(5))
    sweep.joined("bad")
    sweep.joined("good")
    for seed in (0, 2, 3):
        sweep.feed(
            AttemptEnded(
                at=sweep.now(), key=key(seed), attempt=1, outcome="crashed", cause="Xid 79", is_node_suspect=True
            )
        )

    assert sweep.state.nodes["bad"].set_aside == "3 runs in a row failed on bad: Xid 79"
    assert sweep.states() == {0: "failed", 1: "launching", 2: "failed", 3: "failed", 4: "waiting"}
    sweep.feed(NodeLeft(at=sweep.now(), node="bad"))
    assert sweep.joined("bad") == []  # it was out of reach for a moment, and is no better
    assert sweep.ended(1) == [launch(4, node="good")]


def test_a_large_run_does_not_starve_among_small_ones(sweep: SweepUnderTest) -> None:
    """After a number of launches past it, a node is kept free until it fits."""
    sweep.planned(1, 2)
    sweep.joined(cpus=2)
    sweep.planned(0, cpus=2)
    sweep.planned(*range(3, 40))
    in_flight, launched = [1, 2], 2
    while in_flight:
        for command in sweep.ended(in_flight.pop(0)):
            assert isinstance(command, LaunchAttempt)
            launched += 1
            in_flight.append(command.key.seed)
            if command.key == key(0):
                assert launched < 15
                return

    raise AssertionError("the large run never started")


# --- the policy


def test_waits_double_up_to_a_limit() -> None:
    """Each wait lies between half and the whole of its step."""
    limits = Limits(retries={"crashed": 5}, retry_delay_s=10.0, max_retry_delay_s=60.0)

    waits = [retry_delay_s(limits, key(), "crashed", ["crashed"] * count) for count in range(1, 7)]

    assert waits[5] is None
    for wait, step in zip(waits, [10.0, 20.0, 40.0, 60.0, 60.0], strict=False):
        assert wait is not None
        assert step / 2 <= wait <= step


def test_the_spread_of_waits_is_the_same_in_every_replay() -> None:
    """Chance would make a replayed journal disagree with the life that wrote it; runs still differ from each other."""
    limits = Limits(retries={"crashed": 5})
    waits = [retry_delay_s(limits, key(seed), "crashed", ["crashed"]) for seed in range(20)]

    assert waits == [retry_delay_s(limits, key(seed), "crashed", ["crashed"]) for seed in range(20)]
    assert len(set(waits)) == 20
