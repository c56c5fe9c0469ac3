"""Runs under way beside reference seeds: who is told from them, and what is said to be the cause."""

from dataclasses import replace

import numpy as np
import pytest

from aggregation.dataset.bins import RunBins, bins_of
from aggregation.verdicts.early_warning import Departure, Traits, departure, label_departure, likely_causes, window_mean
from sweeps.contracts import Schedule


def course(rise: float, *, until: int = 100_000, noise: float = 3.0, seed: int = 0) -> RunBins:
    """A run whose score rises with its steps to 100 at most, one episode every 500 frames."""
    steps = np.arange(500, until + 1, 500, dtype=np.int64)
    scores = np.minimum(100 * rise * steps / 100_000, 100) + np.random.default_rng(seed).normal(0, noise, len(steps))
    return bins_of(steps, scores)


REFERENCES = [course(rise, seed=place) for place, rise in enumerate((0.9, 1.0, 1.05, 0.95, 1.1))]


def test_a_run_that_learns_as_its_references_did_is_not_told_from_them() -> None:
    """At whatever step it is."""
    for until in (5_000, 20_000, 60_000, 100_000):
        assert departure(course(0.97, until=until, seed=9), REFERENCES) is None


def test_a_run_that_learns_slowly_is_told_long_before_its_end() -> None:
    """With where it is, and where it should be."""
    found = departure(course(0.3, until=50_000, seed=9), REFERENCES)

    assert found is not None
    assert (found.side, found.references) == ("below", 5)
    assert 49_000 < found.last < 51_000
    assert found.score == pytest.approx(14, abs=3)
    assert found.expected == pytest.approx(48, abs=3)
    assert found.score < found.low < found.expected < found.high


def test_a_run_that_learns_too_fast_is_told_too() -> None:
    """It may have been given what it should not have."""
    found = departure(course(3.0, until=30_000, seed=9), REFERENCES)

    assert found is not None
    assert found.side == "above"


def test_one_bad_stretch_is_not_enough() -> None:
    """The window before must lie outside as well."""
    steps = np.arange(500, 60_001, 500, dtype=np.int64)
    scores = np.where(steps > 55_000, 0.0, steps / 1000)

    assert departure(bins_of(steps, scores), REFERENCES) is None


def test_too_few_references_tell_nothing() -> None:
    """Three must have come as far; a run without an episode is not looked at."""
    slow = course(0.2, until=50_000)
    short = [replace(each, **_cut(each, 10_000)) for each in REFERENCES[2:]]

    assert departure(slow, REFERENCES[:2]) is None
    assert departure(slow, [*REFERENCES[:2], *short]) is None
    assert departure(bins_of(np.empty(0, np.int64), np.empty(0)), REFERENCES) is None


def _cut(bins: RunBins, until: int) -> dict[str, np.ndarray]:
    places = bins.steps <= until
    return {name: getattr(bins, name)[places] for name in ("count", "mean", "low", "high")}


def test_references_that_never_score_do_not_condemn_the_first_point() -> None:
    """Where all have 0 all along, any score at all would be outside."""
    nothing = [course(0.0, noise=0.0) for _ in range(5)]
    steps = np.arange(500, 50_001, 500, dtype=np.int64)

    assert departure(bins_of(steps, np.zeros(len(steps))), nothing) is None
    found = departure(bins_of(steps, np.full(len(steps), 5.0)), nothing)
    assert isinstance(found, Departure)


def test_a_label_is_told_where_none_of_its_runs_is() -> None:
    """Six tasks of two runs, each a little low; healthy ones are not."""
    source = np.random.default_rng(0)
    low = [([course(0.86, until=40_000, seed=50 + place + run) for run in (0, 20)], REFERENCES) for place in range(6)]
    healthy = [
        ([course(float(source.normal(1, 0.07)), until=40_000, seed=place) for _ in range(2)], REFERENCES)
        for place in range(6)
    ]
    found = label_departure(low, source)

    assert all(departure(run, references) is None for runs, references in low for run in runs)
    assert found is not None
    assert (found.side, found.tasks, found.runs) == ("below", 6, 12)
    assert found.improvement < 0.2
    assert label_departure(healthy, source) is None
    assert label_departure([], source) is None


def test_the_ratio_is_the_first_cause() -> None:
    """Before the method, the schedule, and what happened to the run."""
    reference = Traits(method="dreamerv3", train_ratio=512, schedule=Schedule(steps=100, envs=16))
    run = Traits(method="size1m", train_ratio=32, schedule=Schedule(steps=100, envs=8), attempts=3, faults=2)
    causes = likely_causes(run, reference)

    assert causes[0] == "its train_ratio is 32, that of the reference 512: 1/16 of the gradient updates per step"
    assert [cause.split(" is ")[0] for cause in causes[1:]] == [
        "its method",
        "its number of environments",
        "it",
        "its log has bad lines: 2",
    ]


def test_where_nothing_differs_it_says_so() -> None:
    """An unknown ratio is no difference."""
    reference = Traits(method="dreamerv3", train_ratio=None)

    assert likely_causes(Traits(method="dreamerv3", train_ratio=32), reference)[0].startswith(
        "nothing that is recorded"
    )


def test_a_window_weighs_bins_by_their_episodes() -> None:
    """And is NaN where it is empty."""
    bins = RunBins(10, np.array([1, 3, 0], np.int32), np.array([1.0, 5.0, np.nan]), *([np.empty(3)] * 2))

    assert window_mean(bins, 0, 20) == 4.0
    assert np.isnan(window_mean(bins, 20, 30))
