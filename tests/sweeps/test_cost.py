"""What a plan says a sweep will cost."""

from typing import Any

import pytest
from grid_builders import grid, product, settings, suite

from sweeps.capacity import Capacity
from sweeps.cost import Cost, Measurement, cost
from sweeps.plan import groups
from sweeps.settings import ResourceSettings


def measured(train_ratio: float = 64.0, speed: float = 100.0, startup_s: float | None = 10.0) -> Measurement:
    """An earlier run of the suite and method that grids have here."""
    return Measurement(
        suite="ponds",
        method="plain",
        train_ratio=train_ratio,
        policy_steps_per_s=speed,
        startup_s=startup_s,
        root="/old",
    )


def costs(*measurements: Measurement, cpus: float | None = 4, max_concurrent: int | None = None, **axes: Any) -> Cost:
    """The cost of two tasks on one GPU each, 10,000 policy steps long."""
    base = settings(suite(steps=10_000), resources=ResourceSettings(gpus=0.5))
    return cost(groups(grid(product(base, **axes))), Capacity(cpus=cpus), max_concurrent, measurements)


def test_the_time_of_a_run_is_that_of_earlier_ones() -> None:
    """Start-up, and policy steps at the measured speed; hours of GPU in the share that a run holds."""
    one = costs(measured(), measured(speed=50.0), measured(speed=200.0))

    assert [(part.pace.seconds, part.pace.source) for part in one.parts if part.pace] == [
        (110.0, "measured by 3 earlier runs under /old")
    ]
    assert (one.run_seconds, one.gpu_hours) == (220.0, pytest.approx(110.0 / 3600))


@pytest.mark.parametrize(
    ("cpus", "limit", "wall"), [(4, None, 110.0), (1, None, 220.0), (4, 1, 220.0), (None, None, None)]
)
def test_wall_time_follows_the_runs_that_fit_side_by_side(cpus: float, limit: int | None, wall: float | None) -> None:
    """CPUs and max_concurrent bound it, and without either it is not known."""
    assert costs(measured(), cpus=cpus, max_concurrent=limit).wall_seconds == wall


def test_another_ratio_is_scaled_from_the_nearest_measured() -> None:
    """Upwards by the ratio, which is at most too slow; downwards not at all; and the source says so."""
    one = costs(measured(), measured(train_ratio=1000.0, speed=1.0), train_ratios=(128, 32))

    assert [(part.pace.seconds, part.pace.source) for part in one.parts if part.pace] == [
        (210.0, "measured by 1 earlier run under /old, scaled from train_ratio 64"),
        (110.0, "measured by 1 earlier run under /old"),
    ]


def test_what_was_never_measured_is_not_made_up() -> None:
    """No time, and the group named."""
    one = costs()

    assert ([group.spec.key.label for group in one.unknown], one.wall_seconds, one.run_seconds) == (["plain"], None, 0)
    assert one.to_json()["paces"] == [{"suite": "ponds", "label": "plain", "seconds": None, "source": "not known"}]


def test_a_run_without_an_end_tells_its_speed_only() -> None:
    """Its start-up is not known, and counts as none."""
    (part,) = costs(measured(startup_s=None)).parts

    assert part.pace is not None
    assert part.pace.seconds == 100.0
