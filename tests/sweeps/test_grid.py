"""From axes to runs."""

import pytest
from grid_builders import grid, keys, labels, product, settings, suite
from hypothesis import given
from hypothesis import strategies as st

from sweeps.cell_rules import CellRules
from sweeps.errors import GridError, UnknownNameError
from sweeps.option_axes import short_names, value_text


def test_runs_come_by_suite_method_task_ratio_and_seed() -> None:
    """The order is that of the axes, each with its values as given."""
    one = product(settings(method="b"), settings(method="a"), train_ratios=(64, 16), seeds=(1, 0))

    assert keys(grid(one))[:9] == [
        "ponds/ponds_north/b_tr64/1",
        "ponds/ponds_north/b_tr64/0",
        "ponds/ponds_north/b_tr16/1",
        "ponds/ponds_north/b_tr16/0",
        "ponds/ponds_south/b_tr64/1",
        "ponds/ponds_south/b_tr64/0",
        "ponds/ponds_south/b_tr16/1",
        "ponds/ponds_south/b_tr16/0",
        "ponds/ponds_north/a_tr64/1",
    ]


def test_tasks_are_named_matched_or_all() -> None:
    """A wild card selects among the suite's tasks, in the suite's order."""
    assert keys(grid(product(tasks=("ponds_s*", "ponds_north")))) == [
        "ponds/ponds_south/plain/0",
        "ponds/ponds_north/plain/0",
    ]


def test_a_suite_takes_the_tasks_that_are_its_own() -> None:
    """With two suites a task belongs to the one that holds it."""
    two = suite("lakes", tasks=["lakes_deep"])

    assert keys(grid(product(settings(), settings(two), tasks=("lakes_deep", "ponds_north")))) == [
        "ponds/ponds_north/plain/0",
        "lakes/lakes_deep/plain/0",
    ]


def test_the_trainer_gets_the_name_that_it_knows() -> None:
    """The folder has the published name, the flag the trainer's."""
    one = suite(trainer_tasks={"ponds_north": "ponds_n"})

    assert [spec.trainer_task for spec in grid(product(settings(one)))] == ["ponds_n", "ponds_south"]


def test_an_unknown_task_is_refused_with_a_near_match() -> None:
    """The error lists the tasks and the nearest."""
    with pytest.raises(UnknownNameError, match=r"Unknown task 'ponds_nort' in suite ponds. Did you mean 'ponds_north'"):
        grid(product(tasks=("ponds_nort",)))


@pytest.mark.parametrize(
    "values",
    [
        {"seeds": (0, 0)},
        {"train_ratios": ("default", 64)},
        {"train_ratios": ("x1", 64)},
        {"tasks": ("all", "ponds_north")},
    ],
)
def test_a_cell_that_comes_twice_is_refused(values: dict[str, tuple[object, ...]]) -> None:
    """Also where the same cell is written in two ways."""
    with pytest.raises(GridError, match="is planned twice"):
        grid(product(**values))


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, 2**31])
def test_what_is_no_seed_is_refused(seed: object) -> None:
    """A seed is a whole number that the trainer's generators take."""
    with pytest.raises(GridError, match="is no seed"):
        grid(product(seeds=(seed,)))


def test_flags_of_suite_method_and_sweep_are_laid_over_each_other() -> None:
    """The more specific wins: sweep over method over suite."""
    base = settings(
        suite(flags={"a": 1, "b": 1, "c": 1}),
        trainer={"adapter": "dreamerv3"},
        method_values={"flags": {"b": {"x": 2}, "c": 2}},
        flags={"c": 3},
    )

    assert next(iter(grid(product(base)))).flags == {"a": 1, "b": 1, "b.x": 2, "c": 3}


def test_a_suites_flags_are_for_the_official_trainer() -> None:
    """Any other program is told only what the method and the sweep set."""
    base = settings(suite(flags={"a": 1}), trainer={"adapter": "command"}, flags={"c": 3})

    assert next(iter(grid(product(base)))).flags == {"c": 3}


def test_a_method_brings_its_environment_variables() -> None:
    """They are laid over those of the trainer, as text."""
    base = settings(
        trainer={"adapter": "command", "environ": {"A": 1, "B": 1}}, method_values={"environ": {"B": 2, "C": "x"}}
    )

    assert next(iter(grid(product(base)))).environ == {"A": "1", "B": "2", "C": "x"}


def test_further_axes_join_flags_and_label() -> None:
    """Every value of a trainer option is a cell of its own."""
    one = grid(product(tasks=("ponds_north",), options={"agent.horizon": (100, 333), "agent.opt.lr": (1e-05,)}))

    assert [(spec.key.label, dict(spec.flags)) for spec in one] == [
        ("plain_horizon100_lr1em05", {"agent.horizon": 100, "agent.opt.lr": 1e-05}),
        ("plain_horizon333_lr1em05", {"agent.horizon": 333, "agent.opt.lr": 1e-05}),
    ]


def test_an_axis_changes_what_the_trainer_makes_of_it() -> None:
    """The schedule follows an axis over the number of environments."""
    one = grid(product(tasks=("ponds_north",), options={"envs": (1, 16)}))

    assert [spec.schedule.envs for spec in one] == [1, 16]


def test_an_option_cannot_be_an_axis_and_set() -> None:
    """One of the two would be ignored."""
    with pytest.raises(GridError, match="is an axis and is also set by flags"):
        grid(product(settings(flags={"agent": {"horizon": 10}}), options={"agent.horizon": (100,)}))


def test_options_are_named_by_what_tells_them_apart() -> None:
    """The last part of the name, and more of it where two options share that."""
    assert short_names(["agent.imag_loss.lam", "agent.repl_loss.lam", "agent.horizon"]) == {
        "agent.imag_loss.lam": "imag_loss_lam",
        "agent.repl_loss.lam": "repl_loss_lam",
        "agent.horizon": "horizon",
    }


def test_values_that_look_alike_in_a_label_are_refused() -> None:
    """Two different cells never share a folder."""
    with pytest.raises(GridError, match="would both have the label 'plain_modea_b'"):
        grid(product(options={"mode": ("a b", "a/b")}))


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(min_size=1)))
def test_the_text_of_a_value_can_stand_in_a_label(value: bool | int | float | str) -> None:
    """Whatever the value, no dash, slash or white space gets into a label."""
    assert not set(value_text(value)) & set("-/: \t\n\\")


def test_zipped_axes_advance_together() -> None:
    """The first value of one goes with the first of the other, and so on."""
    one = product(settings(method="a"), settings(method="b"), tasks=("ponds_north",), train_ratios=(16, 64))

    assert labels(grid(one, rules=CellRules(zipped=[["method", "train_ratio"]]))) == ["a_tr16", "b_tr64"]


def test_seeds_zip_with_another_axis() -> None:
    """Also the innermost axis takes part."""
    one = product(tasks=("ponds_north", "ponds_south"), seeds=(5, 6))

    assert keys(grid(one, rules=CellRules(zipped=[["task", "seed"]]))) == [
        "ponds/ponds_north/plain/5",
        "ponds/ponds_south/plain/6",
    ]


def test_zipped_axes_must_be_equally_long() -> None:
    """The error says how long each is."""
    with pytest.raises(GridError, match="train_ratio has 3, seed has 1"):
        grid(product(train_ratios=(1, 2, 3)), rules=CellRules(zipped=[["train_ratio", "seed"]]))


def test_exclude_takes_cells_out_of_the_product() -> None:
    """A rule speaks of the axes that it names, with wild cards; one about seeds takes only those."""
    rules = CellRules(exclude=[{"task": ("*_south",), "train_ratio": ("x1",)}, {"train_ratio": (16,), "seed": (1,)}])

    assert keys(grid(product(train_ratios=(16, 64), seeds=(0, 1)), rules=rules)) == [
        "ponds/ponds_north/plain_tr16/0",
        "ponds/ponds_north/plain_tr64/0",
        "ponds/ponds_north/plain_tr64/1",
        "ponds/ponds_south/plain_tr16/0",
    ]


def test_only_keeps_what_some_rule_names() -> None:
    """Several rules add up."""
    rules = CellRules(only=[{"task": ("ponds_north",), "seed": (1,)}, {"label": ("plain_tr16",), "seed": (0,)}])

    assert keys(grid(product(train_ratios=(16, 64), seeds=(0, 1)), rules=rules)) == [
        "ponds/ponds_north/plain_tr16/0",
        "ponds/ponds_north/plain_tr16/1",
        "ponds/ponds_north/plain_tr64/1",
        "ponds/ponds_south/plain_tr16/0",
    ]


@pytest.mark.parametrize("rules", [CellRules(exclude=[{"train_ratio": (17,)}]), CellRules(only=[{"seed": (9,)}])])
def test_a_rule_without_effect_is_refused(rules: CellRules) -> None:
    """A rule that matches no cell is most likely misspelt."""
    with pytest.raises(GridError, match="matches no cell of the grid"):
        grid(product(train_ratios=(16, 64)), rules=rules)


def test_a_rule_about_an_unknown_axis_is_refused() -> None:
    """The error lists the axes, further ones included."""
    with pytest.raises(UnknownNameError, match=r"Unknown axis 'tasks' in exclude. Did you mean 'task'"):
        grid(product(), rules=CellRules(exclude=[{"tasks": ("ponds_north",)}]))


def test_extra_cells_come_last_and_no_rule_takes_them_out() -> None:
    """What is asked for by name is there."""
    extra = product(settings(method="random"), tasks=("ponds_north",))

    assert keys(grid(product(), extra, rules=CellRules(only=[{"task": ("ponds_south",)}]))) == [
        "ponds/ponds_south/plain/0",
        "ponds/ponds_north/random/0",
    ]


def test_an_extra_cell_that_is_there_already_is_refused() -> None:
    """The same cell twice is a mistake, wherever it comes from."""
    with pytest.raises(GridError, match="is planned twice"):
        grid(product(), product(tasks=("ponds_north",)))


def test_a_method_may_have_seeds_of_its_own() -> None:
    """The cheap baseline needs fewer, the noisy method more."""
    one = product(
        settings(method="a"), settings(method="b"), tasks=("ponds_north",), seeds=(0, 1), method_seeds={"b": (7,)}
    )

    assert keys(grid(one)) == ["ponds/ponds_north/a/0", "ponds/ponds_north/a/1", "ponds/ponds_north/b/7"]


def test_an_empty_grid_is_refused() -> None:
    """Nothing to do is never what was meant."""
    with pytest.raises(GridError, match="The grid is empty"):
        grid(product(), rules=CellRules(exclude=[{"seed": (0,)}]))


def test_blocks_hold_every_run_once() -> None:
    """The grid's length, its blocks and its runs agree."""
    one = grid(product(train_ratios=(16, 64), seeds=tuple(range(7))))

    assert (len(one), len(list(one)), len(one.blocks), len({spec.key for spec in one})) == (28, 28, 4, 28)
