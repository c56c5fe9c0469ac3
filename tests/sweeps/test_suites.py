"""Our suites and methods as data: against the trainer's own configs and the published score files."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from orchestrator.trainers import dreamer_pypi
from orchestrator.trainers.trainer_configs import TrainerConfigs
from sweeps.config import compose_sweep
from sweeps.config_tree import conf_dir
from sweeps.settings import SweepSettings, flat_options

_SHARED = Path(__file__).parents[2].parent / "shared" / "data"
_SUITES = sorted(path.stem for path in (conf_dir() / "suite").glob("*.yaml"))
_METHODS = sorted(path.stem for path in (conf_dir() / "method").glob("*.yaml"))

#: Tasks, budget in policy steps, action repeat, environments, train_ratio and model of the official configs. Where
#: those have no end (1e10), the budget is the published one for Minecraft.
_FACTS = {
    "atari100k": (26, 110_000, 4, 1, 256, "size200m"),
    "atari57": (57, 51_000_000, 4, 16, 32, "size200m"),
    "bsuite": (468, 10_000_000_000, 1, 1, 1024, "size200m"),
    "crafter": (1, 1_100_000, 1, 1, 512, "size200m"),
    "dmc_proprio": (18, 1_100_000, 1, 16, 1024, "size1m"),
    "dmc_vision": (20, 1_100_000, 1, 16, 256, "size200m"),
    "dmlab30": (30, 26_000_000, 4, 16, 32, "size200m"),
    "gym": (5, 10_000, 1, 1, 64, "size200m"),
    "loconav": (12, 10_000_000_000, 1, 16, 256, "size200m"),
    "minecraft_diamond": (1, 100_000_000, 1, 16, 32, "size200m"),
    "procgen": (16, 110_000_000, 1, 16, 64, "size200m"),
}

#: Evaluation windows in environment frames, with the normaliser and the headline (analysis of the published tables).
_PROTOCOLS = {
    "atari100k": ((390_000, 400_000), "atari57_gamer", ["mean", "median"]),
    "atari57": ((198_000_000, 200_000_000), "atari57_gamer", ["median", "mean"]),
    "procgen": ((49_000_000, 50_000_000), "procgen_hard", ["mean"]),
    "dmc_vision": ((960_000, 1_000_000), None, ["mean", "median"]),
    "dmc_proprio": ((470_000, 500_000), None, ["mean", "median"]),
    "dmlab30": ((98_000_000, 100_000_000), "dmlab30", ["capped_mean"]),
}


@pytest.fixture(scope="module")
def bases() -> dict[str, SweepSettings]:
    """Every suite and every method once, by name."""
    suites = compose_sweep([f"suite={','.join(_SUITES)}"]).products[0].bases
    methods = compose_sweep([f"method={','.join(_METHODS)}"]).products[0].bases
    return {base.suite.name: base for base in suites} | {base.method.name: base for base in methods}


@pytest.fixture(scope="module")
def configs() -> TrainerConfigs:
    """The embedded trainer's configs, whose values are the official ones."""
    return TrainerConfigs.read(dreamer_pypi.EMBEDDED / "configs.yaml")


def options(configs: TrainerConfigs, suite: SweepSettings, method: SweepSettings | None = None) -> dict[str, Any]:
    """Every option of the trainer for a suite, and a method."""
    blocks = [*suite.suite.configs, *(method.method.configs if method else [])]
    flags = {**flat_options(suite.suite.flags), **(flat_options(method.method.flags) if method else {})}
    return configs.resolve(blocks, flags)


def test_every_suite_has_the_official_numbers(bases: dict[str, SweepSettings]) -> None:
    """Tasks, budgets, action repeats, environments, ratios and models as the official configs have them."""
    ours = {
        name: (len(one.tasks), one.steps, one.action_repeat, one.envs, one.train_ratio, one.size)
        for name, one in ((name, bases[name].suite) for name in _SUITES)
    }

    assert ours == _FACTS


def test_every_suite_has_its_published_protocol(bases: dict[str, SweepSettings]) -> None:
    """Windows, normalisers and headlines, where something is published."""
    ours = {
        name: (tuple(one.window), one.normaliser, one.aggregate)
        for name in _SUITES
        if (one := bases[name].suite.evaluation) is not None and one.window is not None
    }

    assert ours == _PROTOCOLS


@pytest.mark.parametrize("name", _SUITES)
def test_a_suite_agrees_with_the_trainers_own_block(
    name: str, bases: dict[str, SweepSettings], configs: TrainerConfigs
) -> None:
    """What our file says is what the trainer will do: environments, ratio, repeat, batches, model and image."""
    suite, trainer = bases[name].suite, options(configs, bases[name])
    sized = configs.resolve([suite.size], {})
    prefix = suite.trainer_tasks.get(suite.tasks[0], suite.tasks[0]).split("_")[0]
    has_image = trainer.get(f"env.{prefix}.image", f"env.{prefix}.size" in trainer)

    assert {
        "envs": trainer["run.envs"],
        "ratio": suite.train_ratio if name in ("gym", "minecraft_diamond") else trainer["run.train_ratio"],
        "steps": suite.steps if name in ("gym", "minecraft_diamond") else trainer["run.steps"],
        "repeat": trainer.get(f"env.{prefix}.repeat", 1),
        "batch": (trainer["batch_size"], trainer["batch_length"], trainer["replay_context"]),
        "deter": trainer["agent.dyn.rssm.deter"],
        "image": list(trainer[f"env.{prefix}.size"]) if has_image else None,
    } == {
        "envs": suite.envs,
        "ratio": suite.train_ratio,
        "steps": suite.steps,
        "repeat": suite.action_repeat,
        "batch": (suite.batch_size, suite.batch_length, suite.replay_context),
        "deter": sized["agent.dyn.rssm.deter"],
        "image": list(suite.image[:2]) if suite.image else None,
    }


@pytest.mark.parametrize("method", _METHODS)
def test_every_method_fits_every_suite(method: str, bases: dict[str, SweepSettings], configs: TrainerConfigs) -> None:
    """Each block and flag of a method is one that the trainer has, whatever the suite."""
    for suite in _SUITES:
        assert options(configs, bases[suite], bases[method])


@pytest.mark.parametrize("method", _METHODS)
def test_a_method_changes_something_and_says_what(
    method: str, bases: dict[str, SweepSettings], configs: TrainerConfigs
) -> None:
    """An ablation that changes nothing would be a result about nothing."""
    one = bases[method].method
    before = options(configs, bases["atari57"])
    changed = {
        name for name, value in options(configs, bases["atari57"], bases[method]).items() if value != before[name]
    }

    assert one.name == method
    assert one.about
    assert "\n" not in one.about
    assert bool(changed) == (method not in ("dreamerv3", "size200m"))


def test_tasks_are_unique_and_the_trainer_knows_their_suite(bases: dict[str, SweepSettings]) -> None:
    """The prefix before the first underscore is what the trainer looks its environment up by."""
    known = {"atari", "atari100k", "dmc", "dmlab", "procgen", "minecraft", "crafter", "bsuite", "loconav", "gym"}
    for name in _SUITES:
        suite = bases[name].suite
        assert max(Counter(suite.tasks).values()) == 1
        assert {suite.trainer_tasks.get(task, task).split("_")[0] for task in suite.tasks} <= known
        assert set(suite.trainer_tasks) <= set(suite.tasks)


def test_names_that_differ_are_mapped(bases: dict[str, SweepSettings]) -> None:
    """The published names and the trainer's flags, where they are not the same."""
    assert {
        **bases["dmc_proprio"].suite.trainer_tasks,
        "atari_pong": bases["atari100k"].suite.trainer_tasks["atari_pong"],
    } == {"dmc_ball_in_cup_catch": "dmc_cup_catch", "atari_pong": "atari100k_pong"}
    assert len(bases["atari100k"].suite.trainer_tasks) == 26


@pytest.mark.parametrize("suite", ["atari100k", "dmc_proprio", "dmc_vision"])
def test_tasks_equal_those_of_the_published_score_files(suite: str, bases: dict[str, SweepSettings]) -> None:
    """The published files name every task of ours and no other."""
    path = _SHARED / "score_files" / f"{suite}-dreamerv3.json.gz"
    if not path.exists():
        pytest.skip("the published score files are not here")
    published = {record["task"] for record in json.loads(gzip.decompress(path.read_bytes()))}

    assert set(bases[suite].suite.tasks) == published


def test_normalisers_hold_every_task_of_their_suites(bases: dict[str, SweepSettings]) -> None:
    """A suite's normaliser has a low and a high score for each of its tasks."""
    path = _SHARED / "normalisers.csv"
    if not path.exists():
        pytest.skip("the published normalisers are not here")
    rows = [line.split(",")[:2] for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    for name in _SUITES:
        evaluation = bases[name].suite.evaluation
        if evaluation is not None and evaluation.normaliser is not None:
            held = {task for normaliser, task in rows if normaliser == evaluation.normaliser}
            assert set(bases[name].suite.tasks) <= held
