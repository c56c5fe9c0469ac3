"""Whatever the runs are like, something sensible is drawn of them: no crash, no warning, the same bytes."""

import io
import json

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_builders import BuiltRun, BuiltSources, built

from aggregation.curves.curve_view import CurveView
from aggregation.curves.curves import curves
from aggregation.curves.fans import fans
from aggregation.curves.smoothing import Smoothing
from aggregation.pictures import curve_panels, fan_panels, ratio_study_plot
from aggregation.pictures.picture_frame import styled
from aggregation.ratio_study.ratio_study import ratio_study
from sweeps.contracts import Schedule

SCHEDULES = (None, Schedule(steps=50, batch_size=2, batch_length=4), Schedule(steps=10**6, action_repeat=4))


@st.composite
def runs(draw: st.DrawFn) -> list[BuiltRun]:
    """Runs of a few cells: long, short, of one episode, without a finite score, only planned, without any fact."""
    found = {}
    for _ in range(draw(st.integers(1, 12))):
        label = draw(st.sampled_from(["m_tr8", "m_tr16", "m_tr1024", "other"]))
        task, seed = draw(st.sampled_from(["gym_a", "gym_b"])), draw(st.integers(0, 2))
        steps = sorted(draw(st.lists(st.integers(0, draw(st.sampled_from([3, 100, 10**7]))), max_size=30)))
        scores = draw(
            st.lists(
                st.one_of(st.floats(-1e6, 1e6, width=32), st.just(np.nan)), min_size=len(steps), max_size=len(steps)
            )
        )
        found[label, task, seed] = built(
            label,
            seed,
            steps,
            scores,
            lengths=steps if draw(st.booleans()) else None,
            task=task,
            state=draw(st.sampled_from(["finished", "running", "crashed", "unknown", "reference"])),
            fps=draw(st.sampled_from([None, 10.0])),
            gpu_hours=draw(st.sampled_from([None, 0.0, 2.0])),
            schedule=draw(st.sampled_from(SCHEDULES)),
        )
    return list(found.values())


views = st.builds(
    CurveView,
    axis=st.sampled_from(["frames", "policy_steps", "updates", "gpu_hours", "wall_hours"]),
    points=st.sampled_from([None, 1, 7]),
    centre=st.sampled_from(["mean", "median", "iqm"]),
    band=st.sampled_from(["std", "sem", "quantiles", "range", "bootstrap", "none"]),
    aggregate_band=st.sampled_from(["std", "sem", "quantiles", "range", "bootstrap", "none"]),
    smoothing=st.sampled_from([Smoothing(), Smoothing("mean", 3), Smoothing("ema", 0.9)]),
    reps=st.just(20),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs(), views)
def test_any_runs_make_curves_and_fans(some: list[BuiltRun], view: CurveView) -> None:
    """With every axis, centre, band and smoothing; what has no place on the axis is left out and told."""
    sources = BuiltSources(some)
    shown = curves(sources, view, with_aggregates=True, with_lengths=True)
    json.dumps(shown.to_json(), allow_nan=False)
    for panel in shown.panels:
        for curve in panel.curves:
            assert (np.diff(curve.xs) > 0).all()
            there = np.isfinite(curve.centre)
            assert (curve.count[there] > 0).all()
            assert curve.seeds <= curve.planned
    if shown.panels:
        rendered(curve_panels.draw(shown))
    spread = fans(sources, view)
    if spread.fans:
        json.dumps([fan.to_json() for fan in spread.fans], allow_nan=False)
        rendered(fan_panels.draw(spread))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_any_runs_make_a_study(some: list[BuiltRun]) -> None:
    """Of every method whose ratio varies, whatever is missing."""
    for study in ratio_study(BuiltSources(some), reps=20):
        json.dumps(study.to_json(), allow_nan=False)
        for task in study.tasks:
            for budget in task.budgets:
                assert budget.value > 0
                assert all(len(each.present) <= each.planned for each in budget.ratios)
        if study.tasks:
            rendered(ratio_study_plot.draw(study))


def rendered(figure: object) -> bytes:
    target = io.BytesIO()
    with styled():
        figure.savefig(target, format="svg", metadata={"Date": None})  # type: ignore[attr-defined]
    return target.getvalue()
