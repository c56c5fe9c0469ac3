"""The numbers of a plan."""

import json
import time
import tracemalloc

from grid_builders import grid, product, settings, suite

from sweeps.plan import Figures, figures, groups, plan_json, total


def test_the_figures_of_atari_200m_are_the_published_ones() -> None:
    """51 million policy steps of 16 environments at ratio 32: 204 million frames and 1.59 million updates."""
    atari = suite(steps=51_000_000, action_repeat=4, envs=16, train_ratio=32)
    spec = next(iter(grid(product(settings(atari)))))

    assert figures(spec) == Figures(frames=204_000_000, policy_steps=51_000_000, updates=1_593_687)


def test_a_random_agent_makes_no_updates() -> None:
    """Whatever its ratio."""
    one = grid(product(settings(suite(steps=100_000), flags={"random_agent": True})))

    assert figures(next(iter(one))).updates == 0


def test_groups_are_suites_and_labels_and_add_up() -> None:
    """What is grouped is what single runs add up to."""
    one = grid(product(settings(suite(steps=10_000)), train_ratios=(16, 64), seeds=(0, 2, 1)))
    parts = groups(one)

    assert [(group.spec.key.label, group.tasks, group.seeds, group.runs) for group in parts] == [
        ("plain_tr16", ["ponds_north", "ponds_south"], [0, 1, 2], 6),
        ("plain_tr64", ["ponds_north", "ponds_south"], [0, 1, 2], 6),
    ]
    assert total(parts) == sum((figures(spec) for spec in one), Figures(0, 0, 0))


def test_the_json_lists_every_cell() -> None:
    """One object, whole, with a run for each cell in the grid's order."""
    one = grid(product(train_ratios=(16, "default"), seeds=(0, 1)))
    read = json.loads("".join(plan_json(one, {"warnings": []})))

    assert [run["run"] for run in read["runs"]] == [str(spec.key) for spec in one]
    assert read["runs"][-1] == {
        "run": "ponds/ponds_south/plain/1",
        "suite": "ponds",
        "task": "ponds_south",
        "method": "plain",
        "train_ratio": 64,
        "seed": 1,
        "label": "plain",
        "flags": {},
        "frames": 1000,
        "policy_steps": 1000,
        "updates": 0,
    }
    assert (read["total"]["runs"], read["warnings"]) == (8, [])


def test_a_million_cells_are_planned_in_seconds_and_little_memory() -> None:
    """Cells that differ in their seed alone are never made one by one."""
    many = suite(tasks=[f"ponds_{number}" for number in range(57)])
    tracemalloc.start()
    start = time.perf_counter()
    one = grid(product(settings(many), train_ratios=(8, 16, 32, 64), seeds=tuple(range(4_400))))
    runs, updates = len(one), total(groups(one)).updates
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (runs, updates) == (1_003_200, 0)
    assert seconds < 10
    assert peak < 200_000_000


def test_a_million_cells_of_which_no_two_share_all_but_the_seed() -> None:
    """17,544 ratios on 57 tasks: what a label's cells have in common is kept once."""
    many = settings(suite(tasks=[f"ponds_{number}" for number in range(57)]))
    start = time.process_time()
    one = grid(product(many, train_ratios=tuple(range(1, 17_545))))
    parts = groups(one)
    total(parts)
    seconds = time.process_time() - start
    del one, parts
    tracemalloc.start()  # which takes its time: a tenth of the cells tells enough
    tenth = grid(product(many, train_ratios=tuple(range(1, 1_755))))
    cells, (_, peak) = len(tenth), tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (cells, len(groups(tenth))) == (99_978, 1_754)
    assert seconds < 10
    assert peak < 30_000_000
