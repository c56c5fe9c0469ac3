"""Finding runs in sweep roots and in DreamerV3's own log folders."""

import random
from pathlib import Path

import pytest
from log_builders import LOG, line, write_foreign, write_launched

from aggregation.dataset.collect import collect
from aggregation.logs.discover import discover
from sweeps.errors import LogError


def keys(*paths: Path, suite: str | None = None) -> list[str]:
    return [str(run.card.key) for run in discover(paths, suite=suite).runs]


def stamped(top: Path, name: str) -> Path:
    folder = top / name
    folder.mkdir(parents=True)
    (folder / LOG).write_bytes(line(1))
    return folder


def test_both_layouts_of_plot_py_are_found_anywhere_below(tmp_path: Path) -> None:
    """A tree of task/method/seed and folders of time-task-method-seed are the same to a reader."""
    write_foreign(tmp_path / "deep" / "down", line(1), task="atari_pong", seed=3)
    stamped(tmp_path, "20250102T030405F678901-dmc_walker_walk-dreamerv3-7")
    stamped(tmp_path, "20250102T030405-gym_CartPole-v1-size12m_tr64-0")

    assert keys(tmp_path) == [
        "atari/atari_pong/dreamerv3/3",
        "dmc/dmc_walker_walk/dreamerv3/7",
        "gym/gym_CartPole-v1/size12m_tr64/0",
    ]


def test_train_ratio_is_read_from_the_label_or_the_config(tmp_path: Path) -> None:
    """A label with a ratio says it; else the trainer's own config.yaml does; else it is unknown."""
    write_foreign(tmp_path, line(1), label="size12m_tr0.5")
    log = write_foreign(tmp_path, line(1), label="dreamerv3")
    (log.parent / "config.yaml").write_text("run:\n  steps: 1e6\n  train_ratio: 256.0\n")
    write_foreign(tmp_path, line(1), label="other")

    cards = {run.card.key.label: run.card for run in discover([tmp_path]).runs}
    assert {label: (card.method, card.train_ratio) for label, card in cards.items()} == {
        "size12m_tr0.5": ("size12m", 0.5),
        "dreamerv3": ("dreamerv3", 256.0),
        "other": ("other", None),
    }


def test_suite_comes_from_the_option_the_config_or_the_prefix(tmp_path: Path) -> None:
    """Two suites share the prefix dmc; the trainer's config tells them apart, and an option overrides all."""
    log = write_foreign(tmp_path, line(1))
    assert keys(tmp_path) == ["dmc/dmc_walker_walk/dreamerv3/0"]

    (log.parent / "config.yaml").write_text("env:\n  dmc: {size: [64, 64], repeat: 1, image: False}\n")
    assert keys(tmp_path) == ["dmc_proprio/dmc_walker_walk/dreamerv3/0"]

    (log.parent / "config.yaml").write_text("env:\n  dmc:\n    repeat: 1\n    proprio: false\n  atari: {}\n")
    assert keys(tmp_path) == ["dmc_vision/dmc_walker_walk/dreamerv3/0"]
    assert keys(tmp_path, suite="mine") == ["mine/dmc_walker_walk/dreamerv3/0"]


@pytest.mark.parametrize(
    ("name", "config", "want"),
    [
        ("size12m/20250101T000000F000001", "task: dmc_walker_walk\nseed: 3\n", "dmc/dmc_walker_walk/size12m/3"),
        ("mine/trial", "logdir: x\nseed: 0\ntask: 'atari_pong'\nenv: {seed: 7}\n", "atari/atari_pong/mine/0"),
        ("mine/dmc_walker_walk/2", "task: dmc_walker_walk\nseed: 9\n", "dmc/dmc_walker_walk/mine/2"),
        ("dmc_walker_walk/mine/2", "task: dmc_walker_walk\nseed: 9\n", "dmc/dmc_walker_walk/mine/2"),
        ("walker/mine/2", "task: dmc_walker_walk\n", "walker/walker/mine/2"),
    ],
)
def test_the_config_tells_what_the_folder_does_not(tmp_path: Path, name: str, config: str, want: str) -> None:
    """The trainer's own folders are named by the time alone, and some people put the method before the task."""
    (stamped(tmp_path, name) / "config.yaml").write_text(config)

    assert keys(tmp_path) == [want]


def test_runs_of_a_sweep_root_keep_their_identity(tmp_path: Path) -> None:
    """A run directory says who it is, logged yet or not; the trainer's folders are not searched."""
    write_launched(tmp_path, None, label="dreamerv3_tr512", is_done=True)
    log = write_launched(tmp_path, line(1), seed=1)
    (log.parent / "replay").mkdir()
    (log.parent / "replay" / LOG).write_bytes(line(1))

    runs = discover([tmp_path]).runs
    assert [(str(run.card.key), run.log, run.is_done, run.card.train_ratio) for run in runs] == [
        ("dmc_proprio/dmc_walker_walk/dreamerv3/1", LOG, False, None),
        ("dmc_proprio/dmc_walker_walk/dreamerv3_tr512/0", None, True, 512.0),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "dmc_" + "界" * 60 + "/method/0",
        "dmc_walker_walk/" + "界" * 60 + "/0",
        "dmc_walker_walk/" + "m" * 250 + "/0",
        "dmc_\udcff/method/0",
        "dmc_walker_walk/__HIVE_DEFAULT_PARTITION__/0",
    ],
    ids=["long task", "long label", "long ascii label", "no text", "null"],
)
def test_a_name_that_no_dataset_can_have_is_told_and_does_not_stop_the_others(tmp_path: Path, name: str) -> None:
    """A folder of the dataset has more bytes in its name than the folder of the log."""
    stamped(tmp_path / "logs", name)
    write_foreign(tmp_path / "logs", line(1))
    summary = collect([tmp_path / "logs"], tmp_path)

    assert (summary.runs, len(summary.unusable)) == (1, 1)


def test_a_link_that_leads_nowhere_stops_nothing(tmp_path: Path) -> None:
    """One in a circle is told; one to nothing is no folder."""
    write_foreign(tmp_path / "logs", line(1))
    (tmp_path / "logs" / "latest").symlink_to("latest")
    (tmp_path / "logs" / "gone").symlink_to("nowhere")
    found = discover([tmp_path / "logs"])

    assert len(found.runs) == 1
    assert [each.folder for each in found.unreadable] == [str(tmp_path / "logs" / "latest")]


@pytest.mark.parametrize("name", ["a/b/c-d/0", "a/b/method/zero", "20250101T000000-task-method-x", "a/ta sk/method/0"])
def test_folder_that_names_no_run_is_told_and_does_not_stop_the_others(tmp_path: Path, name: str) -> None:
    """An unusable name is a sentence with the folder in it."""
    stamped(tmp_path, name)
    write_foreign(tmp_path, line(1))
    found = discover([tmp_path])

    assert len(found.runs) == 1
    assert [each.folder for each in found.unusable] == [str(tmp_path / name)]
    assert str(tmp_path / name) in found.unusable[0].reason


def test_copied_run_directory_is_told(tmp_path: Path) -> None:
    """A copy under another seed would count one run twice."""
    log = write_launched(tmp_path, line(1))
    copy = log.parent.parent / "1"
    copy.mkdir()
    for name in ("run.json", LOG):
        (copy / name).write_bytes((log.parent / name).read_bytes())
    found = discover([tmp_path])

    assert [run.folder for run in found.runs] == [str(log.parent)]
    assert [each.folder for each in found.unusable] == [str(copy)]


def test_two_folders_of_one_run_are_an_error_naming_both(tmp_path: Path) -> None:
    """Which of the two counts is not ours to guess."""
    write_foreign(tmp_path / "a", line(1))
    write_foreign(tmp_path / "b", line(1))

    with pytest.raises(LogError) as error:
        discover([tmp_path / "b", tmp_path / "a"])
    assert all(str(tmp_path / name / "dmc_walker_walk") in str(error.value) for name in "ab")


def test_folders_that_say_the_same_seed_count_as_further_seeds_where_that_is_asked(tmp_path: Path) -> None:
    """The trainer's seed is 0 unless one is given; the first by path keeps it, and so does who is alone with one."""
    for name, seed in (("20250103", 0), ("20250101", 0), ("20250102", 1), ("20250104", 0)):
        (stamped(tmp_path, f"mine/{name}T000000") / "config.yaml").write_text(f"task: atari_pong\nseed: {seed}\n")
    with pytest.raises(LogError, match="--number-repeats"):
        discover([tmp_path])

    found = discover([tmp_path, tmp_path / "mine"], numbers_repeats=True)

    assert [(run.card.run, Path(run.folder).name[:8]) for run in found.runs] == [
        ("atari/atari_pong/mine/0", "20250101"),
        ("atari/atari_pong/mine/1", "20250102"),
        ("atari/atari_pong/mine/2", "20250103"),
        ("atari/atari_pong/mine/3", "20250104"),
    ]
    assert [(Path(each.folder).name[:8], each.stated_seed, each.run[-1]) for each in found.repeats] == [
        ("20250103", 0, "2"),
        ("20250104", 0, "3"),
    ]


def test_a_copy_of_what_dreamsweep_launched_is_no_further_seed(tmp_path: Path) -> None:
    """Its run.json says who it is; two of them are one run, copied."""
    for name in "ab":
        write_launched(tmp_path / name, line(1))

    with pytest.raises(LogError, match="Two folders"):
        discover([tmp_path], numbers_repeats=True)


def test_the_same_folder_given_twice_or_through_a_link_counts_once(tmp_path: Path) -> None:
    """A link to a folder above is no endless tree."""
    write_foreign(tmp_path / "logs", line(1))
    (tmp_path / "logs" / "again").symlink_to(tmp_path / "logs")

    assert keys(tmp_path / "logs", tmp_path / "logs") == ["dmc/dmc_walker_walk/dreamerv3/0"]


def test_order_of_the_paths_does_not_matter(tmp_path: Path) -> None:
    """Runs come in the order of their keys."""
    paths = []
    for number in range(6):
        paths.append(tmp_path / str(number))
        write_foreign(paths[-1], line(1), seed=number)
    want = keys(*paths)
    random.Random(0).shuffle(paths)

    assert keys(*paths) == want


@pytest.mark.parametrize("name", ["missing", "file"])
def test_path_that_is_no_folder_is_an_error(tmp_path: Path, name: str) -> None:
    """The message names the path."""
    (tmp_path / "file").touch()

    with pytest.raises(LogError, match=name):
        discover([tmp_path / name])
