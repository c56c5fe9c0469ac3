"""The short runs that measure a sweep."""

from grid_builders import grid, product, settings, suite

from sweeps.plan import figures
from sweeps.probe import probe_runs


def test_one_short_run_measures_each_method_at_the_suites_own_ratio() -> None:
    """Long enough for some hundred updates, whatever the sweep's budget, and with the speed logged often."""
    base = suite(steps=51_000_000, envs=16, train_ratio=32)
    trainer = {"adapter": "dreamerv3", "log_every_s": 120}
    one = product(
        settings(base, "a", trainer=trainer),
        settings(base, "b", trainer=trainer),
        train_ratios=(8, 32, 128),
        seeds=(3, 4),
    )
    probes = list(probe_runs(grid(one)))

    assert [(str(spec.key), spec.trainer["log_every_s"], figures(spec).updates) for spec in probes] == [
        ("ponds/ponds_north/a_tr32/3", 2, 401),
        ("ponds/ponds_north/b_tr32/3", 2, 401),
    ]


def test_a_probe_is_never_longer_than_its_run() -> None:
    """A sweep of short runs is probed with one of them."""
    (probe,) = probe_runs(grid(product(tasks=("ponds_north",))))

    assert probe.schedule.steps == 1000


def test_an_agent_that_never_trains_is_probed_by_steps() -> None:
    """There are no updates to count."""
    (probe,) = probe_runs(grid(product(settings(suite(steps=10**6), flags={"random_agent": True}))))

    assert probe.schedule.steps == 20_000
