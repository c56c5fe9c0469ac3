"""The records that the packages hand to each other."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.contracts import RunKey, RunSpec, Schedule, TrainerSource, check_name, check_task, label_of, ratio_text
from sweeps.errors import GridError

_LETTERS = st.characters(codec="utf-8", categories=("L", "N"), include_characters="_.+=")
_NAMES = st.text(_LETTERS, min_size=1).filter(lambda text: ".." not in text and not text.startswith("."))
_TASKS = (
    st.lists(_NAMES.map(lambda name: name.replace("+", "-")), min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda text: ".." not in text and not text.startswith("."))
)
_KEYS = st.builds(RunKey, suite=_NAMES, task=_TASKS, label=_NAMES, seed=st.integers(0, 2**31 - 1))


@given(_KEYS)
def test_parse_reads_what_a_key_writes(key: RunKey) -> None:
    """A run's folder names its key exactly, also where the task itself holds a slash."""
    assert RunKey.parse(str(key)) == key


@given(_KEYS)
def test_a_key_is_four_steps_of_a_path(key: RunKey) -> None:
    """However a task is called, the run directory lies four levels below runs/."""
    assert str(key).count("/") == 3


@pytest.mark.parametrize("name", ["", "a-b", "a/b", "a:b", "a b", "a\tb", "..", "a..b", ".hidden", "a\x00b", "a\\b"])
def test_names_that_break_a_path_or_a_file_name_are_refused(name: str) -> None:
    """A suite or label that readers would split, or that leaves the folder, is refused with a better one."""
    with pytest.raises(GridError, match="cannot name a folder and a score file"):
        check_name("label", name)


@pytest.mark.parametrize("task", ["", "/a", "a/", "../a", "a b", "a:b", ".a", "a\nb"])
def test_tasks_that_break_a_path_are_refused(task: str) -> None:
    """Tasks may hold a dash or a slash within, and nothing that leaves the folder."""
    with pytest.raises(GridError, match="cannot name a folder"):
        check_task(task)


@pytest.mark.parametrize("task", ["gym_CartPole-v1", "bsuite_mnist/0", "dmc_walker_walk"])
def test_published_tasks_are_allowed(task: str) -> None:
    """Names with a dash or a slash are real."""
    assert check_task(task) == task


@pytest.mark.parametrize("text", ["a/b/c", "a/b/c/d", "a/b/c/1/2", "a//c/1", "a/b/c-d/1", "a/b/c/-1"])
def test_what_names_no_run_is_refused(text: str) -> None:
    """A folder that is not suite/task/label/seed is no run."""
    with pytest.raises(GridError):
        RunKey.parse(text)


def test_a_label_names_what_the_sweep_sets() -> None:
    """The ratio joins the label where the sweep sets it, and so do the values of further axes."""
    assert [label_of("dreamerv3", None), label_of("dreamerv3", 512.0), label_of("dreamerv3", 0.5, "_horizon100")] == [
        "dreamerv3",
        "dreamerv3_tr512",
        "dreamerv3_tr0.5_horizon100",
    ]


@given(st.floats(min_value=0, max_value=1e15, allow_subnormal=False))
def test_the_text_of_a_ratio_is_read_back_as_the_same_number(value: float) -> None:
    """Two ratios never share a label."""
    assert float(ratio_text(value)) == value


def _spec() -> RunSpec:
    return RunSpec(
        key=RunKey(suite="gym", task="gym_CartPole-v1", label="plain", seed=1),
        method="plain",
        train_ratio=64.0,
        trainer_task="gym_CartPole-v1",
        schedule=Schedule(steps=1000),
        source=TrainerSource(adapter="command"),
        flags={"agent.horizon": 100, "agent.enc.simple.mults": [1, 2]},
    )


def test_a_spec_survives_run_json() -> None:
    """What stands in run.json is the whole spec."""
    assert RunSpec.from_json(json.loads(json.dumps(_spec().to_json()))) == _spec()


def test_only_what_changes_the_result_is_part_of_the_identity() -> None:
    """Another environment variable is the same run; another flag is not."""
    spec = _spec()
    moved = dataclasses.replace(spec, environ={"MUJOCO_GL": "egl"}, trainer={"python": "elsewhere"})
    changed = dataclasses.replace(spec, flags={"agent.horizon": 333})

    assert (moved.digest() == spec.digest(), changed.digest() == spec.digest()) == (True, False)


@pytest.mark.parametrize(("adapter", "is_same"), [("command", False), ("dreamerv3", True)])
def test_the_words_of_any_program_are_part_of_the_identity(adapter: str, *, is_same: bool) -> None:
    """Where a checkout lies does not matter, since its revision tells what it is."""
    spec, other = (
        dataclasses.replace(_spec(), source=TrainerSource(adapter=adapter, location=where, revision="abc"))
        for where in ("train --gain 1", "train --gain 3")
    )

    assert (spec.digest() == other.digest()) == is_same
