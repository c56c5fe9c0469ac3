"""A changed grid on a root that holds runs."""

import dataclasses
import json

from grid_builders import grid, product, settings

from sweeps.extension import Extension, PastRun, extension


def test_every_run_is_added_kept_changed_or_left_alone() -> None:
    """Seeds that are new, runs that are done or not, one with other options, and one that this grid does not name."""
    before = list(grid(product(tasks=("ponds_north",), seeds=(0, 1, 2, 9))))
    before[2] = dataclasses.replace(before[2], flags={"agent.horizon": 100})
    past = {spec.key: PastRun(spec, is_done=spec.key.seed == 0) for spec in before}
    now = grid(product(settings(flags={}), tasks=("ponds_north",), seeds=(0, 1, 2, 3)))
    key = {spec.key.seed: spec.key for spec in [*now, *before]}
    found = extension(now, past)

    assert found == Extension(
        added=[key[3]],
        done=[key[0]],
        unfinished=[key[1]],
        changed={key[2]: {"flags": ({"agent.horizon": 100}, {})}},
        elsewhere=[key[9]],
    )
    assert json.loads(json.dumps(found.to_json()))["changed"] == {
        "ponds/ponds_north/plain/2": {"flags": {"then": {"agent.horizon": 100}, "now": {}}}
    }


def test_what_does_not_change_results_is_the_same_run() -> None:
    """Other resources and environment variables keep a run what it is."""
    before = {
        spec.key: PastRun(dataclasses.replace(spec, environ={"A": "1"}), is_done=True) for spec in grid(product())
    }

    assert extension(grid(product()), before).changed == {}
