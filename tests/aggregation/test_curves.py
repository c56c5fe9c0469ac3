"""Curves of runs."""

from pathlib import Path

import numpy as np
import pytest
from run_builders import BuiltSources, built

from aggregation.curves.curve_view import CurveView
from aggregation.curves.curves import CurveSet, curves
from aggregation.curves.smoothing import Smoothing
from aggregation.dataset.binning import binned, filled
from aggregation.dataset.score_files import read_score_file
from aggregation.evaluation.scales import Scale, scales
from aggregation.sources.sources import open_sources
from sweeps.contracts import Schedule

NAN = np.nan
PUBLISHED = Path(__file__).parents[3] / "shared/data/score_files/atari100k-dreamerv3.json.gz"


def curve_of(shown: CurveSet, label: str, task: str | None = "gym_CartPole-v1") -> object:
    return next(curve for panel in shown.panels if panel.task == task for curve in panel.curves if curve.label == label)


def test_band_is_over_the_seeds_that_have_data() -> None:
    """A run that ended early is not carried on, and a hole inside a run carries its last value."""
    long = built("m", 0, [10, 40], [1.0, 3.0])
    short = built("m", 1, [10, 20], [3.0, 5.0])
    shown = curves(BuiltSources([long, short]), CurveView(points=4))

    curve = curve_of(shown, "m")
    np.testing.assert_array_equal(curve.xs, [10, 20, 30, 40])
    np.testing.assert_array_equal(curve.centre, [NAN, 2.0, 3.0, 3.0])
    np.testing.assert_array_equal(curve.low, [NAN, 1.0, 1.0, 3.0])
    assert curve.count.tolist() == [0, 2, 2, 1]
    assert (curve.seeds, curve.planned) == (2, 2)


def test_points_from_fine_bins_are_those_of_every_episode() -> None:
    """A point's bounds lie on bounds of the cached bins, so that nothing falls on the wrong side."""
    generator = np.random.default_rng(0)
    steps = np.sort(generator.integers(0, 100_000, 3000))
    scores = generator.standard_normal(3000)
    shown = curves(BuiltSources([built("m", 0, steps, scores)]), CurveView(points=50, band="none"))

    curve = curve_of(shown, "m")
    exact = filled(binned(steps, scores, np.concatenate([[0], curve.xs])))
    assert 25 <= len(curve.xs) <= 50
    np.testing.assert_allclose(curve.centre, exact, rtol=1e-12)


def test_a_run_that_finished_reaches_its_budget() -> None:
    """Its last episode ended at 90 of 100 frames: up to the budget there was none, and the last value holds."""
    run = built("m", 0, [10, 90], [1.0, 2.0], state="finished", schedule=Schedule(steps=100))
    curve = curve_of(curves(BuiltSources([run]), CurveView(points=10)), "m")

    assert curve.xs[-1] == 100
    assert curve.centre[-1] == 2.0


def test_planned_runs_are_counted() -> None:
    """Three seeds were planned and one has data."""
    shown = curves(BuiltSources([built("m", 0, [1, 2], [1, 2]), built("m", 1), built("m", 2)]))

    curve = curve_of(shown, "m")
    assert (curve.seeds, curve.planned, curve.row_seeds) == (1, 3, (0,))


def test_labels_end_where_their_updates_end() -> None:
    """Over updates a ratio of 1 reaches 10 and a ratio of 4 reaches 40, each with as many points."""
    schedule = Schedule(steps=20, batch_size=2, batch_length=4)  # the first update at step 12
    runs = [built(f"m_tr{ratio}", 0, [5, 13, 20], [0, 1, 2], schedule=schedule) for ratio in (8, 32)]
    shown = curves(BuiltSources(runs), CurveView(axis="updates", points=3))

    low, high = curve_of(shown, "m_tr8"), curve_of(shown, "m_tr32")
    np.testing.assert_allclose(low.xs, [3, 6, 9])
    np.testing.assert_allclose(high.xs, [11, 22, 33])
    np.testing.assert_allclose(high.centre, [0.5, 0.5, 2.0])


def test_runs_without_a_place_on_the_axis_are_named() -> None:
    """A reference run has no hours; it is left out, and the picture says so."""
    runs = [built("m", 0, [10, 20], [1, 2], fps=1.0), built("published", 0, [10, 20], [1, 2])]
    shown = curves(BuiltSources(runs), CurveView(axis="wall_hours"))

    assert [curve.label for panel in shown.panels for curve in panel.curves] == ["m"]
    assert len(shown.notes) == 1
    assert "published" in shown.notes[0]


def test_smoothing_comes_before_the_seeds_are_put_together() -> None:
    """The median of smooth curves is not the smooth curve of medians."""
    runs = [built("m", seed, [5, 15, 25], scores) for seed, scores in enumerate([[0, 0, 9], [0, 9, 0], [9, 0, 0]])]
    view = CurveView(points=3, centre="median", smoothing=Smoothing("mean", 3))
    curve = curve_of(curves(BuiltSources(runs), view), "m")

    np.testing.assert_allclose(curve.centre, [4.5, 3.0, 4.5])


def test_lengths_are_drawn_where_they_were_logged() -> None:
    """Only the label that has any."""
    runs = [
        built("long", 0, [10, 20], [1, 2], lengths=[100, 200]),
        built("unknown", 0, [10, 20], [1, 2]),
    ]
    (panel,) = curves(BuiltSources(runs), CurveView(points=2), with_lengths=True).panels

    assert [curve.label for curve in panel.lengths] == ["long"]
    np.testing.assert_allclose(panel.lengths[0].centre, [NAN, 150.0])


def two_tasks(label: str, scale: float, tasks: str = "ab") -> list[object]:
    return [
        built(
            label,
            seed,
            [5, 15, 25],
            [scale, 2 * scale, (3 + seed) * scale * (1 + 9 * (task == "b"))],
            task=f"gym_{task}",
        )
        for task in tasks
        for seed in (0, 1)
    ]


def test_an_aggregate_is_over_scaled_scores() -> None:
    """Task b has scores ten times as high, and its scale takes that back."""
    scale = Scale("share of the best", {"gym_a": (0.0, 1.0), "gym_b": (0.0, 10.0)})
    shown = curves(
        BuiltSources(two_tasks("m", 1.0)),
        CurveView(points=3),
        with_tasks=False,
        with_aggregates=True,
        scale_of=lambda _suite: scale,
    )

    (panel,) = shown.panels
    assert (panel.task, panel.unit) == (None, "share of the best")
    (curve,) = panel.curves
    np.testing.assert_allclose(curve.centre, [0.55, 1.1, 3.5])
    assert (curve.tasks, curve.seeds, curve.planned) == (2, 4, 4)
    assert curve.row_seeds == (0, 1, 0, 1)


def test_labels_are_compared_over_the_tasks_that_all_have() -> None:
    """A label that lacks a task takes it from the others' aggregate too, and that is told."""
    runs = [*two_tasks("m", 1.0, "abc"), *two_tasks("other", 2.0, "ab")]
    shown = curves(BuiltSources(runs), with_aggregates=True, with_tasks=False)

    assert [(curve.label, curve.tasks) for curve in shown.panels[0].curves] == [("m", 2), ("other", 2)]
    assert "2 of 3 tasks" in shown.notes[0]


def test_no_task_in_common_makes_no_aggregate() -> None:
    """Two labels on different tasks cannot be compared, and the reason is told."""
    shown = curves(
        BuiltSources([*two_tasks("m", 1.0, "ab"), *two_tasks("other", 2.0, "cd")]),
        with_aggregates=True,
        with_tasks=False,
    )

    assert shown.panels == ()
    assert "0 tasks in common" in shown.notes[0]


@pytest.mark.parametrize("axis", ["frames", "updates"])
def test_the_order_of_discovery_does_not_matter(axis: str) -> None:
    """The same runs in another order give the same numbers."""
    schedule = Schedule(steps=400, batch_size=2, batch_length=4)
    runs = [
        built(f"m_tr{ratio}", seed, np.arange(5, 400, 7 + seed), np.arange(5, 400, 7 + seed) * ratio, schedule=schedule)
        for ratio in (8, 16)
        for seed in (0, 1)
    ]
    one = curves(BuiltSources(runs), CurveView(axis=axis)).to_json()

    assert one == curves(BuiltSources(runs[::-1]), CurveView(axis=axis)).to_json()


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs the published score files")
def test_published_curves_are_those_of_plain_arithmetic() -> None:
    """Atari100k of DreamerV3: every task's mean at every point, and an aggregate near that of a human."""
    with open_sources([PUBLISHED]) as sources:
        shown = curves(sources, CurveView(points=40), with_aggregates=True, scale_of=scales())
    records = read_score_file(PUBLISHED)
    *tasks, aggregate = shown.panels
    assert len(tasks) == aggregate.curves[0].tasks == 26
    for panel in tasks:
        (curve,) = panel.curves
        own = [record for record in records if record.task == panel.task]
        end = max(record.xs[-1] for record in own)
        edges = np.concatenate([[0], curve.xs])
        rows = []
        for record in own:
            scores = np.array([NAN if y is None else y for y in record.ys])
            means = filled(binned(np.array(record.xs), scores, edges))
            means[np.digitize(record.xs[-1], edges[:-1]) :] = NAN
            rows.append(means)
        assert curve.xs[-1] == end
        some = np.isfinite(rows).any(axis=0)
        np.testing.assert_allclose(curve.centre[some], np.nanmean(np.array(rows)[:, some], axis=0), rtol=1e-9)
        assert np.isnan(curve.centre[~some]).all()
    whole = np.isfinite(aggregate.curves[0].centre)
    assert whole[5:35].all()
    assert 0.9 < aggregate.curves[0].centre[whole][-1] < 1.5
