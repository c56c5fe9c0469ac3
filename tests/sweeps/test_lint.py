"""What a plan warns of, and what it lets pass."""

from typing import Any

import pytest
from grid_builders import grid, product, settings, suite

from sweeps.capacity import Capacity
from sweeps.config_tree import conf_dir
from sweeps.contracts import Schedule, TrainerSource
from sweeps.errors import LintError
from sweeps.footprint import footprint
from sweeps.grid import Product, Program, grid_of
from sweeps.lint import Caution, lint, refuse
from sweeps.lint_rules import RULES
from sweeps.power import power, seeds_needed
from sweeps.settings import ResourceSettings, SweepSettings

_GIB = 2**30

#: The options of the official trainer that warnings look at, with 16 environments and the largest default model.
_OPTIONS: dict[str, Any] = {
    "batch_size": 16,
    "batch_length": 64,
    "report_length": 32,
    "replay_context": 1,
    "replay.size": 5e6,
    "run.debug": True,
    "jax.compute_dtype": "bfloat16",
    "agent.dyn.rssm.deter": 8192,
    "agent.dyn.rssm.stoch": 32,
    "agent.dyn.rssm.classes": 64,
    "env.ponds.size": [64, 64],
}


def official(settings_: SweepSettings) -> Program:
    """What the official trainer would make of the settings."""
    schedule = Schedule(
        steps=settings_.steps or settings_.suite.steps,
        action_repeat=settings_.suite.action_repeat,
        envs=settings_.suite.envs,
    )
    source = TrainerSource(adapter=str(settings_.trainer["adapter"]))
    return Program(schedule, source, {**_OPTIONS, **settings_.flags})


def gpu(suite_: Any = None, method: str = "plain", **values: Any) -> SweepSettings:
    """Settings on a GPU with the official trainer."""
    defaults = {"trainer": {"adapter": "dreamerv3"}, "resources": ResourceSettings(cpus=4, gpus=1)}
    return settings(suite_ or suite(steps=100_000), method, **{**defaults, **values})


def cautions(*products: Product, **capacity: Any) -> dict[str, Caution]:
    """The warnings about a grid of the official trainer, by code."""
    return {caution.code: caution for caution in lint(grid_of(products, official), Capacity(**capacity))}


def test_a_plain_sweep_has_no_warning() -> None:
    """What is as the official configs have it passes without a word."""
    assert cautions(product(gpu()), memory_bytes=64 * _GIB, disk_bytes=64 * _GIB, gpu_memory_bytes=24 * _GIB) == {}


def test_walker_walk_at_32_is_warned_about() -> None:
    """The mistake of danijar/dreamerv3 issue 140, with the ratio to take instead."""
    dmc = suite(train_ratio=1024, steps=1_100_000, ratio_source="issue 140")
    found = cautions(product(gpu(dmc), tasks=("ponds_north",), train_ratios=(32,)))

    assert found == {
        "far_ratio": Caution(
            code="far_ratio",
            where="ponds × plain_tr32",
            runs=1,
            reason="train_ratio 32 is 1/32 of this suite's 1024: 32 times fewer gradient updates.",
            source="issue 140",
            advice="Leave train_ratio out for 1024; write train_ratio=default,32 to compare the two, or "
            "train_ratio=x0.03125 if it is meant.",
        )
    }


def test_atari_200m_at_128_is_warned_about() -> None:
    """The question of danijar/dreamerv3 issue 154: 128 is four times the published compute."""
    found = cautions(product(gpu(suite(train_ratio=32, steps=100_000)), train_ratios=(128,)))

    assert found["far_ratio"].reason == ("train_ratio 128 is 4 times this suite's 32, and so are the gradient updates.")


@pytest.mark.parametrize("ratios", [("default", 8), (64, 4), ("x0.1", "x10"), (32, 128), (0.0,)])
def test_a_ratio_that_is_plainly_meant_passes(ratios: tuple[Any, ...]) -> None:
    """An ablation around the suite's own, a multiple of it, a near one, and no training at all."""
    assert "far_ratio" not in cautions(product(gpu(), train_ratios=ratios))


def test_a_budget_below_the_evaluation_window_is_warned_about() -> None:
    """With the steps that reach it."""
    one = suite(steps=100_000, action_repeat=4, evaluation={"frames": 400_000, "window": [390_000, 400_000]})
    found = cautions(product(gpu(one, steps=50_000)))["short_budget"]

    assert found.reason == (
        "the runs end at 200,000 environment frames, before the window of 390,000 to 400,000: no score in it."
    )
    assert found.advice.startswith("Set steps=100000 ")


def test_a_budget_that_never_trains_is_warned_about() -> None:
    """Before replay holds a batch there is no update."""
    assert cautions(product(gpu(steps=1000)))["no_update"].reason == (
        "no gradient update ever happens: the first comes at policy step 1,088, and the runs end at 1,000."
    )


@pytest.mark.parametrize("flags", [{"replay.size": 1000}, {"report_length": 100}])
def test_settings_that_the_trainer_refuses_are_told_before_it_starts(flags: dict[str, Any]) -> None:
    """Both end in a bare AssertionError after the compilation."""
    assert "AssertionError" in cautions(product(gpu(flags=flags)))["batch_beyond_replay"].reason


def test_a_million_steps_of_images_need_58_gb() -> None:
    """The published sum: 53 KB a step for the 200m model with a 64 × 64 image, 58 GB for 1.1 million steps."""
    vision = suite(image=[64, 64, 3], steps=1_100_000)
    need = footprint(grid_of([product(gpu(vision))], official).blocks[0])
    assert need is not None

    assert (round(need.replay_step_bytes, -3), round((need.memory_bytes - 2 * _GIB) / 1e9)) == (53_000, 59)


def test_a_program_without_known_options_has_no_footprint() -> None:
    """Nothing is made up about a command."""
    assert footprint(grid(product()).blocks[0]) is None


def test_replay_beyond_memory_is_warned_about() -> None:
    """Against what a run asks for, or else against the machine; side by side they wait for each other."""
    big = gpu(suite(steps=1_100_000), resources=ResourceSettings(cpus=4, gpus=1, memory_gb=16))
    free = gpu(suite(steps=1_100_000))

    assert "does not fit resources.memory_gb=16" in cautions(product(big))["memory"].reason
    assert "does not fit this machine's 32.0 GiB" in cautions(product(free), memory_bytes=32 * _GIB)["memory"].reason
    assert "memory" not in cautions(product(free), memory_bytes=64 * _GIB, cpus=8)


def test_runs_that_fill_the_memory_do_not_run_side_by_side() -> None:
    """The disk holds the replay of one run at a time then."""
    free = product(gpu(suite(steps=1_100_000)))

    assert "disk" not in cautions(free, disk_bytes=50 * _GIB, memory_bytes=64 * _GIB, cpus=8)
    assert "with 2 runs at once" in cautions(free, disk_bytes=50 * _GIB, memory_bytes=128 * _GIB, cpus=8)["disk"].reason


def test_replay_beyond_the_disk_is_warned_about() -> None:
    """Replay is on disk while a run lasts, a checkpoint for good."""
    found = cautions(product(gpu(suite(steps=1_100_000))), disk_bytes=10 * _GIB, cpus=4)

    assert "the root's disk has 10.0 GiB free" in found["disk"].reason


def test_a_model_beyond_its_share_of_a_gpu_is_warned_about() -> None:
    """Weights, moments and gradients of 200 million parameters do not fit a tenth of 24 GiB."""
    shared = gpu(resources=ResourceSettings(gpus=0.1))

    assert "resources.gpus=0.1 of a GPU with 24.0 GiB is 2.4 GiB" in (
        cautions(product(shared), gpu_memory_bytes=24 * _GIB)["gpu_memory"].reason
    )


def test_a_cpu_is_no_place_for_a_large_model_or_bfloat16() -> None:
    """One warning: the size where that is the matter, else the float type."""
    cpu = {"resources": ResourceSettings()}
    small = {"agent.dyn.rssm.deter": 512}

    assert "200 million parameters" in cautions(product(gpu(**cpu)))["slow_on_cpu"].reason
    assert "bfloat16 on a CPU" in cautions(product(gpu(flags=small, **cpu)))["slow_on_cpu"].reason
    assert "slow_on_cpu" not in cautions(product(gpu(flags={**small, "jax.compute_dtype": "float32"}, **cpu)))


def test_an_old_gpu_lacks_bfloat16() -> None:
    """GPUs before compute capability 8.0 do not compute the official default type."""
    assert "float_type_of_gpu" in cautions(product(gpu()), gpu_compute_capability=7.5)
    assert "float_type_of_gpu" not in cautions(product(gpu()), gpu_compute_capability=8.0)
    in_float32 = gpu(flags={"jax.compute_dtype": "float32"})
    assert "float_type_of_gpu" not in cautions(product(in_float32), gpu_compute_capability=7.5)


def test_a_gpu_that_nobody_holds_is_warned_about() -> None:
    """Ray hides GPUs from attempts that did not ask for one."""
    lost = gpu(trainer={"adapter": "dreamerv3", "platform": "cuda"}, resources=ResourceSettings())

    assert "no_gpu_held" in cautions(product(lost))


def test_environment_processes_need_cpus() -> None:
    """Only where they are processes: by default they take turns in the trainer's own."""
    many = suite(envs=16, steps=100_000)

    assert cautions(product(gpu(many, flags={"run.debug": False})))["environments"].advice.startswith(
        "Set resources.cpus=17"
    )
    assert "environments" not in cautions(product(gpu(many)))


def test_environment_processes_hang_in_the_embedded_trainer() -> None:
    """They never start there, and nothing says so."""
    embedded = gpu(trainer={"adapter": "dreamer_pypi"}, flags={"run.debug": False})

    assert "hangs for ever" in cautions(product(embedded))["environments"].reason


def test_a_comparison_with_few_seeds_is_warned_about() -> None:
    """With the power that it has, and the seeds that it takes."""
    published = suite(steps=100_000, evaluation={"frames": 100_000})
    two = product(gpu(published, "a"), gpu(published, "b"), tasks=("ponds_north",), seeds=(0, 1))

    assert cautions(two)["few_seeds"].reason == (
        "with 2 seeds on 1 task, a difference of one standard deviation between seeds shows in 17% of comparisons."
    )
    assert cautions(two)["few_seeds"].advice.startswith("Take 16 seeds")


def test_one_method_alone_is_no_comparison() -> None:
    """Nothing is compared with one label, and nothing is published about a suite for trying things out."""
    published = suite(steps=100_000, evaluation={"frames": 100_000})

    assert "few_seeds" not in cautions(product(gpu(published)))
    assert "few_seeds" not in cautions(product(gpu(method="a"), gpu(method="b")))


@pytest.mark.parametrize(
    ("seeds", "tasks", "seen"), [(1, 3, (0.10, 0.24)), (3, 8, (0.90, 0.96)), (1, 24, (0.90, 0.98))]
)
def test_power_agrees_with_simulations_of_real_scores(seeds: int, tasks: int, seen: tuple[float, float]) -> None:
    """Simulated from the seed spread of the published Atari100k scores: 10 to 17, 93, and 96 to 98 in 100."""
    assert seen[0] <= power(seeds, tasks) <= seen[1]


def test_the_seeds_that_are_needed_reach_the_power() -> None:
    """And one fewer does not."""
    for tasks in (1, 3, 8):
        needed = seeds_needed(tasks)
        assert power(needed, tasks) >= 0.8 > power(needed - 1, tasks)


def test_a_random_agent_at_several_ratios_is_warned_about() -> None:
    """It never trains: its runs would all be the same."""
    lazy = gpu(flags={"random_agent": True})

    assert "repeated_random" in cautions(product(lazy, train_ratios=("x1", "x2")))


@pytest.mark.parametrize(
    ("command", "lost"),
    [
        ("run --seed {seed} --ratio {train_ratio}", "the options agent.horizon"),
        ("run --seed {seed} {flags}", "train_ratio"),
        ("run --ratio {train_ratio} {flags}", "the seed"),
    ],
)
def test_a_command_that_never_hears_of_an_axis_is_warned_about(command: str, lost: str) -> None:
    """All cells of the axis would be the same run."""
    one = settings(trainer={"adapter": "command", "command": command}, flags={"agent.horizon": 3})
    found = lint(grid(product(one, train_ratios=(32,), seeds=(0, 1))), Capacity())

    assert [caution.reason for caution in found if caution.code == "unused_by_command"] == [
        f"the program never hears of {lost}: its cells would be the same run."
    ]


def test_a_suites_own_caveat_is_shown() -> None:
    """What its file says one should know, in `plan` and in `run`."""
    assert cautions(product(gpu(suite(steps=100_000, caveat="Mind the gap."))))["caveat"].reason == "Mind the gap."


def test_the_same_warning_about_several_labels_is_one() -> None:
    """A plan of many labels stays readable."""
    found = cautions(product(gpu(method="a"), gpu(method="b"), tasks=("ponds_north",), train_ratios=(1,), seeds=(0, 1)))

    assert (found["far_ratio"].where, found["far_ratio"].runs) == ("ponds × a_tr1, b_tr1", 4)


def test_strict_makes_errors_of_warnings() -> None:
    """All of them are told at once; without one nothing happens."""
    refuse([])
    with pytest.raises(LintError, match="the plan has 1 warning:\n  - ponds × plain_tr1: train_ratio 1 is 1/64"):
        refuse(list(cautions(product(gpu(), train_ratios=(1,))).values()))


def test_the_documentation_names_every_warning_and_every_ablation() -> None:
    """docs/grids.md lists what there is."""
    text = (conf_dir().parent / "docs" / "grids.md").read_text(encoding="utf-8")
    ablations = [path.stem for path in (conf_dir() / "method").glob("no_*.yaml")]

    assert [name for name in [*ablations, *(rule.__name__ for rule in RULES)] if f"| `{name}` |" not in text] == []
