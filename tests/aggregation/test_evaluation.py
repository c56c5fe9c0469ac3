"""From curves to numbers, hand-computed and against the published tables."""

import json
from pathlib import Path

import numpy as np
import pytest
from log_builders import log_text, write_launched
from test_sources import plan, write_score_file

from aggregation.dataset.collect import collect
from aggregation.dataset.reference_runs import import_files
from aggregation.evaluation.cells import Missing, mean_interval
from aggregation.evaluation.evaluation import Evaluation, evaluate
from aggregation.sources.sources import open_sources
from aggregation.statistics import Interval
from sweeps.errors import ConfigError, LogError, UnknownNameError
from sweeps.protocols import read_protocol
from sweeps.settings import Protocol

_SCORE_FILES = Path(__file__).parents[2].parent / "shared" / "data" / "score_files"
WINDOW = Protocol(name="mine", window=(10, 20), scores=(0, 10), aggregate=["mean", "median"])


def run(
    task: str, seed: int, ys: list[float | None], *, method: str = "m", xs: list[int] | None = None
) -> dict[str, object]:
    """One run of a score file; by default its steps are 10, 11, …"""
    return {
        "task": task,
        "method": method,
        "seed": seed,
        "xs": xs or [10 + place for place in range(len(ys))],
        "ys": ys,
    }


def evaluated(folder: Path, *runs: dict[str, object], protocol: Protocol = WINDOW) -> Evaluation:
    with open_sources([write_score_file(folder / "ponds-scores.json.gz", list(runs))]) as sources:
        return evaluate(sources, protocol)


def test_seeds_are_averaged_in_the_window_and_then_over_those_with_data(tmp_path: Path) -> None:
    """Episodes weigh the same within a seed, and seeds within a task."""
    found = evaluated(
        tmp_path,
        run("a", 0, [99.0, 1.0, 2.0, 3.0, 99.0], xs=[9, 10, 15, 20, 21]),
        run("a", 1, [4.0], xs=[20]),
        run("a", 2, [5.0], xs=[9]),
        run("b", 0, [None, 8.0]),
    )

    np.testing.assert_array_equal(found.cell("a", "m"), [2.0, 4.0, np.nan])
    np.testing.assert_array_equal(found.normalised("a", "m"), [0.2, 0.4, np.nan])
    assert found.cells["a", "m"].mean is not None
    assert found.cells["a", "m"].mean.point == 3.0
    assert found.cells["a", "m"].missing == (Missing(seed=2, state="reference", last_step=9),)
    assert [headline.value.point for headline in found.headlines] == pytest.approx([(0.3 + 0.8) / 2] * 2)


def test_a_seed_of_other_tasks_is_expected_of_every_task(tmp_path: Path) -> None:
    """Where nothing tells what was planned, a task with fewer seeds than the others is incomplete."""
    found = evaluated(tmp_path, run("a", 0, [1.0]), run("a", 3, [1.0]), run("b", 0, [1.0]))

    assert found.cells["b", "m"].seeds == (0, 3)
    assert found.cells["b", "m"].missing == (Missing(seed=3, state="absent", last_step=None),)


def test_a_plan_tells_which_seeds_are_to_come(tmp_path: Path) -> None:
    """Planned runs count as planned seeds, and no others do; runs imported beside them have no plan."""
    write_launched(tmp_path, log_text([(15, 1.0)]), label="dreamerv3_tr512")
    plan(tmp_path, 0, 1)
    collect([tmp_path], tmp_path)
    published = [run("dmc_walker_walk", 0, [1.0]), run("dmc_cheetah_run", 1, [1.0])]
    import_files([write_score_file(tmp_path / "dmc_proprio-published.json.gz", published)], tmp_path, label="published")
    with open_sources([tmp_path]) as sources:
        found = evaluate(sources, WINDOW)

    assert found.cells["dmc_walker_walk", "published"].seeds == (0, 1)
    cell = found.cells["dmc_walker_walk", "dreamerv3_tr512"]
    assert (cell.seeds, cell.with_data) == ((0, 1), 1)
    assert cell.missing == (Missing(seed=1, state="planned", last_step=None),)
    assert len(found.absent_tasks) == 16


def test_the_interval_of_a_cell_is_students() -> None:
    """By hand: mean 2, standard deviation 1, three seeds, t = 4.302653."""
    interval = mean_interval(np.array([1.0, np.nan, 2.0, 3.0]))

    assert interval == Interval(2.0, pytest.approx(2 - 4.302653 / 3**0.5), pytest.approx(2 + 4.302653 / 3**0.5))
    assert mean_interval(np.array([np.nan])) is None
    single = mean_interval(np.array([5.0]))
    assert single is not None
    assert single.point == 5.0
    assert np.isnan([single.low, single.high]).all()


def test_labels_within_the_interval_of_the_best_are_best_too(tmp_path: Path) -> None:
    """What the seeds cannot tell apart is not told apart, in both directions; without an interval only ties are."""
    found = evaluated(
        tmp_path,
        *(run("a", seed, [score], method="best") for seed, score in enumerate([4.0, 5.0, 6.0])),
        *(run("a", seed, [score], method="close") for seed, score in enumerate([2.0, 3.0, 4.0])),
        *(run("a", seed, [score], method="sure") for seed, score in enumerate([2.9, 3.0, 3.1])),
        *(run("a", seed, [score], method="far") for seed, score in enumerate([2.0, 2.1, 2.2])),
        run("b", 0, [3.0], method="best"),
        run("b", 0, [3.0], method="close"),
        run("b", 0, [2.9], method="far"),
    )

    assert found.best("a") == {"best", "close"}
    assert found.best("b") == {"best", "close"}


def test_headlines_say_what_one_task_does_to_them(tmp_path: Path) -> None:
    """Leaving a task out moves the mean between the bounds that are named."""
    (mean, _) = evaluated(
        tmp_path, *(run(task, 0, [score]) for task, score in zip("abc", [1, 2, 9], strict=True))
    ).headlines

    assert mean.without_one is not None
    assert (mean.without_one.low, mean.tasks[mean.without_one.low_without]) == (pytest.approx(0.15), "c")
    assert (mean.without_one.high, mean.tasks[mean.without_one.high_without]) == (pytest.approx(0.55), "a")


def test_labels_with_different_tasks_are_also_compared_on_the_shared_ones(tmp_path: Path) -> None:
    """A label that lacks a hard task must not win by that."""
    found = evaluated(
        tmp_path,
        run("a", 0, [8.0]),
        run("b", 0, [2.0]),
        run("a", 0, [7.0], method="n"),
        run("c", 1, [None], method="n"),
    )

    means = {headline.label: headline.value.point for headline in found.headlines if headline.metric == "mean"}
    shared = {headline.label: headline.value.point for headline in found.shared_headlines if headline.metric == "mean"}
    assert found.shared_tasks == ("a",)
    assert (means, shared) == ({"m": 0.5, "n": 0.7}, {"m": 0.8, "n": 0.7})


def test_raw_scores_of_several_tasks_are_not_aggregated(tmp_path: Path) -> None:
    """Without a shared scale a mean over tasks would be that of the task with the largest numbers."""
    plain = WINDOW.model_copy(update={"scores": None, "aggregate": ["mean", "median", "optimality_gap"]})

    assert evaluated(tmp_path, run("a", 0, [8.0]), run("b", 0, [900.0]), protocol=plain).headlines == ()
    assert [each.value.point for each in evaluated(tmp_path, run("a", 0, [8.0]), protocol=plain).headlines] == [
        8.0,
        8.0,
    ]


def test_the_last_share_is_of_the_budget_or_of_the_furthest_run(tmp_path: Path) -> None:
    """Each task has its own end where nothing is published."""
    runs = [run("a", 0, [1.0], xs=[1000]), run("a", 1, [1.0], xs=[10]), run("b", 0, [1.0], xs=[50])]

    share = Protocol(name="x", last=0.1)
    assert evaluated(tmp_path, *runs, protocol=share).windows == {"a": (900, 1000), "b": (45, 50)}
    fixed = Protocol(name="x", last=0.1, frames=1000)
    assert evaluated(tmp_path, *runs, protocol=fixed).windows == {"a": (900, 1000), "b": (900, 1000)}


def test_a_protocol_without_a_scale_takes_the_suites(tmp_path: Path) -> None:
    """`--protocol final` on an Atari sweep is still in per cent of human."""
    path = write_score_file(tmp_path / "atari100k-m.json.gz", [run("atari_pong", 0, [14.6], xs=[100])])
    with open_sources([path]) as sources:
        found = evaluate(sources, read_protocol("final"))
        plain = evaluate(sources, read_protocol("final").model_copy(update={"normaliser": "none"}))

    assert found.protocol.normaliser == "atari57_gamer"
    assert [found.scale.shown(each.value.point, each.metric) for each in found.headlines] == pytest.approx([100.0] * 2)
    assert [plain.scale.shown(each.value.point, each.metric) for each in plain.headlines] == pytest.approx([14.6] * 2)


def test_mistakes_are_told_with_what_to_do(tmp_path: Path) -> None:
    """Windows beyond the data, tasks without a normaliser, several suites, a suite that is not there."""
    early = run("a", 0, [1.0, 2.0])
    with pytest.raises(
        LogError, match=r"window of the protocol 'mine', 30 to 40 .*ponds/a/m/0 is furthest, at 11\. Wait"
    ):
        evaluated(tmp_path, early, protocol=WINDOW.model_copy(update={"window": (30, 40)}))
    with pytest.raises(ConfigError, match=r"'procgen_hard' has no scores for a\. .*--normaliser none"):
        evaluated(tmp_path, early, protocol=Protocol(window=(1, 20), normaliser="procgen_hard"))
    with pytest.raises(ConfigError, match="neither a window nor a last share"):
        evaluated(tmp_path, early, protocol=Protocol(name="x"))
    other = write_score_file(tmp_path / "lakes-m.json.gz", [early])
    with open_sources([tmp_path / "ponds-scores.json.gz", other]) as sources:
        with pytest.raises(ConfigError, match="several suites: lakes, ponds"):
            evaluate(sources, WINDOW)
        with pytest.raises(UnknownNameError, match="Unknown suite 'sea'"):
            evaluate(sources, WINDOW, suite="sea")
        assert evaluate(sources, WINDOW, suite="lakes").suite == "lakes"


def test_an_evaluation_is_plain_json(tmp_path: Path) -> None:
    """Missing numbers are null, never NaN."""
    found = evaluated(tmp_path, run("a", 0, [1.0]), run("a", 1, [None]), run("b", 0, [2.0]))

    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert record["cells"][0]["mean"] == {"value": 1.0, "low": None, "high": None}
    assert record["cells"][0]["scores"] == [1.0, None]
    assert record["headlines"][0]["leave_one_task_out"] == {
        "low": 1.0,
        "low_without": "b",
        "high": 2.0,
        "high_without": "a",
    }


def test_tasks_with_a_slash_are_found_everywhere(tmp_path: Path) -> None:
    """Their folder in the dataset is percent-encoded, and their key has a colon."""
    path = write_score_file(tmp_path / "bsuite-m.json", [run("bsuite_mnist/0", 0, [2.0, 4.0])])
    with open_sources([path]) as sources:
        assert evaluate(sources, WINDOW).cell("bsuite_mnist/0", "m").tolist() == [3.0]
        assert [bins.mean.tolist()[-2:] for _, bins in sources.bins()] == [[2.0, 4.0]]


def published(name: str) -> Evaluation:
    if not _SCORE_FILES.exists():
        pytest.skip("the published score files are not here")
    with open_sources([_SCORE_FILES / f"{name}.json.gz"]) as sources:
        return evaluate(sources, reps=100)


def shown(found: Evaluation) -> dict[str, float]:
    return {each.metric: round(found.scale.shown(each.value.point, each.metric), 1) for each in found.headlines}


def test_atari100k_gives_the_published_numbers() -> None:
    """Mean 124.7 % and median 49.4 % of human; one of the five Up N Down seeds has an episode in the window."""
    found = published("atari100k-dreamerv3")

    assert shown(found) == {"mean": 124.7, "median": 49.4}
    assert found.cells["atari_up_n_down", "dreamerv3"].with_data == 1
    assert len(found.cells["atari_up_n_down", "dreamerv3"].seeds) == 5
    left = found.headlines[0].without_one
    assert left is not None
    assert (round(100 * left.low, 1), found.tasks[left.low_without]) == (102.4, "atari_boxing")


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("dmc_vision-dreamerv3", {"mean": 786.1, "median": 861.2}),
        ("dmc_proprio-dreamerv3", {"mean": 753.5, "median": 870.6}),
        ("dmc_proprio-dmpo", {"mean": 701.2, "median": 795.5}),
    ],
)
def test_binned_files_give_their_numbers_too(name: str, numbers: dict[str, float]) -> None:
    """Regular bins, floats as steps and ragged seeds, as the control suites are published."""
    assert shown(published(name)) == numbers
