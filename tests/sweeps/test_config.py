"""Composing a sweep from what a user types and writes."""

from pathlib import Path

import pytest

from sweeps.config import SweepConfig, compose_sweep
from sweeps.config_tree import read_yaml
from sweeps.errors import ConfigError, GridError, UnknownNameError


def axes(config: SweepConfig) -> dict[str, list[object]]:
    """The values of the main product's axes."""
    main = config.products[0]
    return {
        "suite": list(dict.fromkeys(base.suite.name for base in main.bases)),
        "task": list(main.tasks),
        "method": list(dict.fromkeys(base.method.name for base in main.bases)),
        "train_ratio": list(main.train_ratios),
        "seed": list(main.seeds),
    }


def user_file(folder: Path, name: str, text: str) -> Path:
    """A file of the user's own config directory."""
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


def test_defaults_are_one_suite_one_method_and_every_task() -> None:
    """Without a word, the smallest sweep there is."""
    assert axes(compose_sweep([])) == {
        "suite": ["gym"],
        "task": ["all"],
        "method": ["dreamerv3"],
        "train_ratio": ["default"],
        "seed": [0],
    }


def test_every_axis_takes_the_sweep_syntax() -> None:
    """Commas, ranges, lists, choices and quoted strings, as Hydra has them."""
    typed = [
        "suite=dmc_proprio,dmc_vision",
        "task=dmc_walker_walk,'dmc_cheetah_run'",
        "method=choice(dreamerv3,size12m)",
        "train_ratio=[32,x4,default]",
        "seed=range(0,3)",
    ]

    assert axes(compose_sweep(typed)) == {
        "suite": ["dmc_proprio", "dmc_vision"],
        "task": ["dmc_walker_walk", "dmc_cheetah_run"],
        "method": ["dreamerv3", "size12m"],
        "train_ratio": [32, "x4", "default"],
        "seed": [0, 1, 2],
    }


def test_wild_cards_expand_methods_and_suites() -> None:
    """A whole family in one word, in the order of their names."""
    assert axes(compose_sweep(["method=size1*m", "suite=dmc_*"])) | {"task": []} == {
        "suite": ["dmc_proprio", "dmc_vision"],
        "task": [],
        "method": ["size100m", "size12m", "size1m"],
        "train_ratio": ["default"],
        "seed": [0],
    }


def test_replay_ratio_is_another_name_of_train_ratio() -> None:
    """The paper's name, on the command line and in a config file."""
    assert axes(compose_sweep(["replay_ratio=32,64"]))["train_ratio"] == [32, 64]


def test_a_ratio_under_both_names_is_refused(tmp_path: Path) -> None:
    """One of them would be ignored."""
    with pytest.raises(GridError, match="'train_ratio' is given twice"):
        compose_sweep(["replay_ratio=32", "train_ratio=64"])
    mine = user_file(tmp_path, "experiment/mine", "# @package _global_\nreplay_ratio: [1, 2]\ntrain_ratio: 3\n")
    with pytest.raises(GridError, match="train_ratio is given twice, also as replay_ratio"):
        compose_sweep(["experiment=mine"], mine)


def test_an_experiment_gives_lists_and_sweep_syntax(tmp_path: Path) -> None:
    """What can be typed can be written into a file, with every key that the grid knows."""
    mine = user_file(
        tmp_path,
        "experiment/mine",
        "# @package _global_\n"
        "defaults: [{override /suite: dmc_proprio}]\n"
        "task: [dmc_walker_walk, dmc_cheetah_run]\n"
        "train_ratio: x0.25,x1\n"
        "seed: range(0,2)\n"
        "axes: {agent.horizon: [100, 333]}\n"
        "zip: [[task, replay_ratio]]\n"
        "exclude: [{task: dmc_walker_walk, seed: 1}]\n"
        "extra: [{method: random, seed: '0,1', train_ratio: default}]\n",
    )
    config = compose_sweep(["experiment=mine"], mine)

    assert axes(config) == {
        "suite": ["dmc_proprio"],
        "task": ["dmc_walker_walk", "dmc_cheetah_run"],
        "method": ["dreamerv3"],
        "train_ratio": ["x0.25", "x1"],
        "seed": [0, 1],
    }
    assert config.products[0].options == {"agent.horizon": (100, 333)}
    assert config.zipped == (("task", "train_ratio"),)
    assert config.exclude == ({"task": ("dmc_walker_walk",), "seed": (1,)},)
    extra = config.products[1]
    assert ([base.method.name for base in extra.bases], extra.seeds, extra.train_ratios, extra.options) == (
        ["random"],
        (0, 1),
        ("default",),
        {"agent.horizon": (100, 333)},
    )


def test_the_experiment_in_the_docs_composes(tmp_path: Path) -> None:
    """Word by word, comments and all: Hydra reads its package from the first line alone."""
    text = (Path(__file__).parents[2] / "docs/grids.md").read_text(encoding="utf-8")
    (block,) = (part for part in text.split("```yaml\n") if "conf/experiment/mine.yaml" in part[:200])
    mine = user_file(tmp_path, "experiment/mine", block.partition("```")[0])
    config = compose_sweep(["experiment=mine"], mine)

    assert axes(config)["method"] == ["dreamerv3", "size200m"]
    assert config.zipped == (("task", "train_ratio"),)


def test_the_sweeper_params_of_an_experiment_are_axes(tmp_path: Path) -> None:
    """Files written for Hydra's own multirun keep their meaning."""
    mine = user_file(
        tmp_path,
        "experiment/mine",
        "# @package _global_\nhydra: {sweeper: {params: {suite: 'dmc_proprio,crafter', seed: 'range(0,3)'}}}\n",
    )

    assert axes(compose_sweep(["experiment=mine", "seed=7"], mine)) | {"task": []} == {
        "suite": ["dmc_proprio", "crafter"],
        "task": [],
        "method": ["dreamerv3"],
        "train_ratio": ["default"],
        "seed": [7],
    }


@pytest.mark.parametrize("text", ["axes.agent.horizon=100,333", "axes.agent.horizon=[100,333]"])
def test_further_axes_are_typed_by_option(text: str) -> None:
    """An option of the trainer becomes an axis on the command line."""
    assert compose_sweep([text]).products[0].options == {"agent.horizon": (100, 333)}


def test_rules_are_typed_as_lists_of_mappings() -> None:
    """What an experiment can exclude, the command line can."""
    config = compose_sweep(["exclude=[{task:gym_Acrobot-v1,seed:[1,2]}]", "only=[{method:dreamer*}]", "seed=0,1,2"])

    assert (config.exclude, config.only) == (
        ({"task": ("gym_Acrobot-v1",), "seed": (1, 2)},),
        ({"method": ("dreamer*",)},),
    )


def test_a_user_adds_a_suite_and_a_method_with_one_file_each(tmp_path: Path) -> None:
    """The user's directory is searched beside ours."""
    user_file(tmp_path, "suite/ponds", "name: ponds\ntasks: ['ponds_{1..3}']\nsteps: 1e4\ntrain_ratio: 8\n")
    user_file(tmp_path, "method/mine", "name: mine\nflags: {agent: {horizon: 100}}\n")
    base = compose_sweep(["suite=ponds", "method=mine,dreamerv3"], tmp_path).products[0].bases[0]

    assert (base.suite.tasks, base.suite.steps, base.method.name) == (["ponds_1", "ponds_2", "ponds_3"], 10_000, "mine")


def test_a_method_brings_its_own_trainer_and_resources(tmp_path: Path) -> None:
    """A fork and the original stand side by side: another adapter comes with its own defaults."""
    text = "name: fork\ntrainer: {adapter: dreamerv3, repo: /fork}\nresources: {gpus: 1}\nenviron: {A: 1}\n"
    mine = user_file(tmp_path, "method/fork", text)
    plain, fork = compose_sweep(["method=dreamerv3,fork", "trainer.log_every_s=3"], mine).products[0].bases

    assert (plain.trainer["adapter"], plain.trainer["log_every_s"], plain.resources.gpus) == ("dreamer_pypi", 3, 0)
    assert (fork.trainer["adapter"], fork.trainer["repo"], fork.trainer["log_every_s"]) == ("dreamerv3", "/fork", 20)
    assert (fork.resources.cpus, fork.resources.gpus) == (1, 1)


def test_a_method_changes_single_options_of_the_same_trainer(tmp_path: Path) -> None:
    """Without another adapter, what it does not name stays as the sweep has it."""
    mine = user_file(tmp_path, "method/careful", "name: careful\ntrainer: {save_every_s: 9}\n")
    (base,) = compose_sweep(["method=careful", "trainer.log_every_s=3"], mine).products[0].bases

    assert (base.trainer["save_every_s"], base.trainer["log_every_s"]) == (9, 3)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("sede=1", r"Unknown key 'sede'\. Did you mean 'seed'\?"),
        ("cluster.adress=auto", r"Unknown key 'adress' in cluster\. Did you mean 'address'\?"),
        ("suite=dmc_propio", r"Unknown suite 'dmc_propio'\. Did you mean 'dmc_proprio'\?"),
        ("method=size12", r"Unknown method 'size12'\. Did you mean 'size12m'\?"),
        ("trainer=dreamer", r"Unknown trainer 'dreamer'\. Did you mean 'dreamerv3'\?"),
        ("experiment=quick", r"Unknown experiment 'quick'\. Did you mean 'quickstart'\?"),
        ("suite=gym,atari75", r"Unknown suite 'atari75'\. Did you mean 'atari57'\?"),
        ("method_seeds={size1m:[0]}", r"Unknown method 'size1m' in method_seeds"),
        ("extra=[{sed:1}]", r"Unknown axis 'sed' in extra\. Did you mean 'seed'\?"),
    ],
)
def test_an_unknown_name_is_refused_with_a_near_match(typed: str, message: str) -> None:
    """The error says what is allowed and what was probably meant."""
    with pytest.raises(UnknownNameError, match=message):
        compose_sweep([typed])


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("seed=", "holds an empty value"),
        ("seed=[]", "is empty"),
        ("axes.agent.horizon=[]", "is empty"),
        ("seed={a:1}", "expected plain values"),
        ("seed=interval(0,1)", "is no list of values"),
        ("task=glob(dmc_*)", "write wild cards plainly"),
        ("steps=1,2", "which is no axis"),
        ("flags.agent.horizon=1,2", r"write axes.agent.horizon=a,b"),
        ("exclude=[{}]", "holds an empty entry"),
    ],
)
def test_what_is_no_axis_is_refused(typed: str, message: str) -> None:
    """The error says what to write instead."""
    with pytest.raises(GridError, match=message):
        compose_sweep([typed])


def test_an_axis_twice_is_refused() -> None:
    """The later one would silently win."""
    with pytest.raises(GridError, match="'seed' is given twice"):
        compose_sweep(["seed=1", "seed=2"])


def test_what_hydra_cannot_read_is_told_in_words() -> None:
    """A stray bracket is no traceback."""
    with pytest.raises(ConfigError, match="Cannot read the override 'seed=\\[1'"):
        compose_sweep(["seed=[1"])


@pytest.mark.parametrize(
    "value",
    [
        "~/sweeps/größe",
        "/data/my (old) runs",
        "/data/a=b,c;d&e#f!",
        "/data/{a}'s",
        '/data/"b"',
        "/data/\\",
        "2024",
        "1e5",
        "true",
        "glob(*)",
    ],
)
def test_a_path_is_taken_as_it_is_typed(value: str) -> None:
    """Hydra reads some of these as numbers or sweeps, and refuses the others: shells leave `~` behind a `=` alone."""
    config = compose_sweep([f"root={value}"])

    assert (config.first.root, read_yaml(config.text)["root"]) == (value, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("repo", "~/dreamerv3"),
        ("revision", "12345e7"),
        ("command", "python /my/train.py --task {task} --seeds 1,2 --logdir={run_dir}"),
        ("environ.XLA_FLAGS", "--xla_gpu_autotune_level=0"),
    ],
)
def test_the_texts_of_a_trainer_are_taken_as_they_are_typed(key: str, value: str) -> None:
    """A shell takes the quotes of `trainer.command='…'` away before Hydra could see them."""
    adapter = "command" if key == "command" else "dreamerv3"
    trainer = compose_sweep([f"trainer={adapter}", f"trainer.{key}={value}"]).first.trainer
    node, _, name = key.partition(".")

    assert (trainer[node][name] if name else trainer[node]) == value


def test_a_text_may_be_quoted_or_null_all_the_same() -> None:
    """As Hydra has it."""
    quoted = compose_sweep(["root='/data/a, b'", "trainer=command", "trainer.command=null"]).first

    assert (quoted.root, quoted.trainer["command"]) == ("/data/a, b", None)


def test_a_value_of_the_wrong_kind_is_refused() -> None:
    """With its key and its value."""
    with pytest.raises(ConfigError, match="max_concurrent is 'many'"):
        compose_sweep(["max_concurrent=many"])


def test_an_empty_root_is_refused() -> None:
    """A variable that is not set would make the current folder a sweep root."""
    with pytest.raises(ConfigError, match="root is ''"):
        compose_sweep(["root="])


def test_a_config_dir_that_is_none_is_refused(tmp_path: Path) -> None:
    """A misspelt path is not searched in vain."""
    with pytest.raises(ConfigError, match="is not a folder"):
        compose_sweep([], tmp_path / "nowhere")


def test_an_unknown_key_in_a_users_suite_is_refused(tmp_path: Path) -> None:
    """Misspelt keys of a file are found as those that are typed."""
    mine = user_file(tmp_path, "suite/ponds", "name: ponds\ntasks: [ponds_a]\nsteps: 10\nevaluation: {frame: 10}\n")
    with pytest.raises(UnknownNameError, match=r"Unknown key 'frame' in suite.evaluation. Did you mean 'frames'"):
        compose_sweep(["suite=ponds"], mine)


def test_the_shown_config_composes_to_the_same_sweep() -> None:
    """What sweep.yaml keeps holds the values of every axis."""
    shown = read_yaml(compose_sweep(["suite=gym,crafter", "train_ratio=8,16", "axes.agent.horizon=1,2"]).text)

    assert [shown["train_ratio"], shown["axes"], [suite["name"] for suite in shown["suite"]]] == [
        [8, 16],
        {"agent.horizon": [1, 2]},
        ["gym", "crafter"],
    ]


def test_a_pair_is_composed_as_if_it_were_alone(tmp_path: Path) -> None:
    """Also where a method reaches beyond its own key, or speaks of the suite."""
    user_file(tmp_path, "method/wide", "# @package _global_\nmethod: {name: wide}\nresources: {cpus: 3}\n")
    user_file(tmp_path, "method/looking", "name: looking\nflags: {seen: '${suite.name}'}\n")
    names = ["dreamerv3", "random", "wide", "looking"]
    together = compose_sweep([f"method={','.join(names)}", "suite=gym,crafter,procgen"], tmp_path).products[0].bases
    alone = [
        compose_sweep([f"method={method}", f"suite={suite}"], tmp_path).products[0].bases[0]
        for suite in ("gym", "crafter", "procgen")
        for method in names
    ]

    assert list(together) == alone
