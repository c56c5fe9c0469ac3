"""The choices of the orchestrator as plain functions: retries, groups that are held back, nodes that are set aside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_states import key

from orchestrator.outcomes import OUTCOMES, Outcome
from orchestrator.policy import FREE, Limits, hold_reason, is_node_suspect, retry_delay_s, trimmed_starts

LIMITS = Limits(retries={"crashed": 2, "stalled": 1}, retry_delay_s=10.0, max_retry_delay_s=25.0)
ENDINGS = st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=20)
#: Of the seeds 0 to 2 after a crash, written down: hashes of Python itself differ from process to process.
FIRST_WAITS = [9.621478, 6.856626, 5.473351]


def delay_s(*outcomes: Outcome, limits: Limits = LIMITS, seed: int = 0) -> float | None:
    """The wait after the last of these."""
    return retry_delay_s(limits, key(seed), outcomes[-1], outcomes)


# --- retries


@pytest.mark.parametrize("outcome", sorted(FREE))
def test_a_loss_is_retried_at_once_until_one_follows_another(outcome: Outcome) -> None:
    """From the third in a row the wait doubles: something takes workers away faster than they start."""
    assert [delay_s(*[outcome] * losses) for losses in range(1, 8)] == [0.0, 0.0, 5.0, 10.0, 20.0, 25.0, 25.0]


def test_losses_of_both_kinds_are_counted_together() -> None:
    """A worker that is lost on a node that was taken away may be called either."""
    assert delay_s("preempted", "worker_lost", "preempted") == 5.0


def test_a_failure_between_losses_breaks_the_row() -> None:
    """The run got as far as failing by itself."""
    assert delay_s("preempted", "preempted", "preempted", "crashed", "preempted") == 0.0


def test_losses_never_run_out_of_retries() -> None:
    """Nor do they use up those of failures."""
    losses: list[Outcome] = ["preempted"] * 1000

    assert delay_s(*losses) == 25.0
    first = delay_s(*losses, "crashed")
    assert first is not None
    assert 5.0 <= first < 10.0


@pytest.mark.parametrize("outcome", ["preempted", "crashed"])
def test_thousands_of_endings_in_a_row_wait_no_longer_than_the_limit(outcome: Outcome) -> None:
    """A doubled wait would soon be no number any more."""
    limits = Limits(retries={"crashed": 10_000}, max_retry_delay_s=600.0)
    delay_s = retry_delay_s(limits, key(), outcome, [outcome] * 5_000)

    assert delay_s is not None
    assert 300.0 <= delay_s <= 600.0


def test_each_outcome_has_retries_of_its_own() -> None:
    """One that is not listed gets none."""
    assert delay_s("crashed", "crashed") is not None
    assert delay_s("crashed", "crashed", "stalled") is not None
    assert delay_s("crashed", "stalled", "crashed", "crashed") is None
    assert delay_s("stalled", "crashed", "stalled") is None
    for outcome in ("diverged", "misconfigured", "out_of_memory"):
        assert delay_s(outcome) is None


@given(outcomes=ENDINGS, seed=st.integers(0, 99))
def test_no_wait_is_longer_than_its_limit(outcomes: list[Outcome], seed: int) -> None:
    """Nor negative; and a failure that is retried always waits a little."""
    wait_s = delay_s(*outcomes, seed=seed)

    assert wait_s is None or 0.0 <= wait_s <= LIMITS.max_retry_delay_s
    assert wait_s is None or outcomes[-1] in FREE or wait_s >= LIMITS.retry_delay_s / 2


def test_waits_are_spread_and_the_same_in_every_process() -> None:
    """Runs that failed together do not come back together, and a replay decides as the first time did."""
    waits = [delay_s("crashed", seed=seed) for seed in range(100)]

    assert len(set(waits)) == 100
    assert waits == [delay_s("crashed", seed=seed) for seed in range(100)]
    assert [round(wait, 6) for wait in waits[:3] if wait is not None] == FIRST_WAITS
    assert delay_s("crashed", "crashed") != 2 * (waits[0] or 0.0)


# --- what holds a group back


def reason(*recent: tuple[Outcome, str], hold_after: int | None = 3) -> str | None:
    return hold_reason(Limits(hold_after=hold_after), recent)


def test_nothing_holds_a_fresh_group_back() -> None:
    """Nor one in which all goes well."""
    assert reason() is None
    assert reason(*[("succeeded", "")] * 10) is None


@pytest.mark.parametrize("hold_after", [3, None])
def test_one_misconfigured_run_holds_its_group_back(hold_after: int | None) -> None:
    """Also where no rule counts failures: the others would end alike."""
    assert reason(("succeeded", ""), ("misconfigured", "no such task"), hold_after=hold_after) == (
        "misconfigured: no such task"
    )


def test_failures_of_one_cause_hold_their_group_back() -> None:
    """With how many of how many starts ended so."""
    alike: tuple[Outcome, str] = ("crashed", "it broke")

    assert reason(alike, alike) is None
    assert reason(alike, ("succeeded", ""), alike, alike) == "3 of 4 starts ended alike (crashed): it broke"
    assert reason(alike, alike, alike, hold_after=None) is None


def test_failures_of_several_causes_do_not() -> None:
    """Neither another cause nor another outcome is the same failure."""
    assert reason(("crashed", "a"), ("crashed", "a"), ("crashed", "b"), ("stalled", "a"), ("crashed", "b")) is None


@pytest.mark.parametrize("outcome", ["succeeded", "preempted", "worker_lost", "cancelled"])
def test_what_is_no_failure_never_holds_a_group_back(outcome: Outcome) -> None:
    """However often."""
    assert reason(*[(outcome, "alike")] * 10) is None


def test_only_the_latest_ten_starts_count() -> None:
    """Old failures are forgiven by what went well since."""
    old: list[tuple[Outcome, str]] = [("crashed", "it broke")] * 2
    since: list[tuple[Outcome, str]] = [("succeeded", "")] * 8

    assert reason(*old, *since, ("crashed", "it broke")) is None
    assert reason(*old, *since[:7], ("crashed", "it broke")) == "3 of 10 starts ended alike (crashed): it broke"


@given(recent=st.lists(st.tuples(st.sampled_from(OUTCOMES), st.sampled_from("ab")), max_size=30))
def test_what_is_forgotten_would_not_have_counted(recent: list[tuple[Outcome, str]]) -> None:
    """The machine keeps only `trimmed_starts`, one ending after another, and decides as if it kept them all."""
    kept: list[tuple[Outcome, str]] = []
    for ending in recent:
        kept = trimmed_starts([*kept, ending])

    assert kept == recent[-10:]
    failures = [ending for ending in recent if ending[0] != "misconfigured"]
    assert hold_reason(Limits(), trimmed_starts(failures)) == hold_reason(Limits(), failures)


# --- nodes


def test_a_node_is_suspect_after_three_different_runs() -> None:
    """One broken run, or two, may be at fault themselves."""
    assert [is_node_suspect(failed_runs) for failed_runs in range(5)] == [False, False, False, True, True]
