"""The replay-ratio study, on runs whose answer is known."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from run_builders import BuiltRun, BuiltSources, built

from aggregation.evaluation.scales import Scale
from aggregation.ratio_study.ratio_study import RatioStudy, ratio_study
from aggregation.ratio_study.ratio_verdict import difference_interval, wilson_interval
from sweeps import ratio as rules
from sweeps.contracts import Schedule

#: The first update is at policy step 12, and at ratio r there are r / 8 updates to a step.
SCHEDULE = Schedule(steps=4000, action_repeat=2, batch_size=2, batch_length=4)
FRAMES = rules.final_step(SCHEDULE) * SCHEDULE.action_repeat


def learner(
    train_ratio: float,
    seed: int,
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    task: str = "gym_a",
    until: int = FRAMES,
    fps: float | None = None,
    gpu_hours: float | None = None,
    noise: float = 0.0,
    label: str | None = None,
) -> BuiltRun:
    """A run whose score at each of its episodes follows from frames and updates."""
    frames = np.arange(20, until + 1, 20)
    made = np.array([rules.updates_by(SCHEDULE, train_ratio, frame // 2) for frame in frames])
    jitter = np.random.default_rng([seed, int(train_ratio)]).standard_normal() * noise
    return built(
        label or f"m_tr{train_ratio:g}",
        seed,
        frames,
        score(frames, made) + jitter,
        ratio=train_ratio,
        task=task,
        state="finished" if until == FRAMES else "crashed",
        schedule=SCHEDULE,
        fps=fps,
        gpu_hours=gpu_hours,
    )


def by_updates(_frames: np.ndarray, made: np.ndarray) -> np.ndarray:
    """What counts is how often it trained."""
    return np.minimum(made, 2000.0)


def study_of(runs: list[BuiltRun], **options: object) -> RatioStudy:
    (study,) = ratio_study(BuiltSources(runs), **options)
    json.dumps(study.to_json(), allow_nan=False)
    return study


def means(study: RatioStudy, kind: str, task: int = 0) -> dict[float, float | None]:
    budget = next(budget for budget in study.tasks[task].budgets if budget.kind == kind)
    return {each.ratio: each.mean for each in budget.ratios}


def test_where_updates_are_all_that_counts() -> None:
    """At equal frames the highest ratio leads; at equal updates all are the same, and are told to be."""
    study = study_of([learner(ratio, seed, by_updates, noise=20.0) for ratio in (1, 2, 4) for seed in range(4)])
    at_end = {ratio: rules.updates(SCHEDULE, ratio) for ratio in (1, 2, 4)}

    assert (study.suite, study.name, study.ratios) == ("gym", "m", (1.0, 2.0, 4.0))
    assert study.labels == ("m_tr1", "m_tr2", "m_tr4")
    budgets = {budget.kind: budget for budget in study.tasks[0].budgets}
    assert budgets["frames"].value == FRAMES
    assert budgets["updates"].value == at_end[1]
    assert "ratio 1" in budgets["updates"].chosen
    # The window is the last tenth of the budget: its mean is that of 95 %.
    for ratio, mean in means(study, "frames").items():
        assert mean == pytest.approx(0.95 * at_end[ratio], abs=30)
    for mean in means(study, "updates").values():
        assert mean == pytest.approx(0.95 * at_end[1], abs=30)
    assert [(each.ratio, each.frames) for each in budgets["updates"].ratios] == [
        (1.0, pytest.approx(FRAMES, rel=0.01)),
        (2.0, pytest.approx(FRAMES / 2, rel=0.01)),
        (4.0, pytest.approx(FRAMES / 4, rel=0.02)),
    ]
    advice = {each.kind: each for each in study.tasks[0].recommended}
    assert (advice["frames"].ratio, advice["frames"].next_best, advice["frames"].verdict) == (4, 2, "better")
    assert advice["frames"].not_seen_worse == (4,)
    assert advice["updates"].verdict == "no difference seen"
    assert advice["updates"].not_seen_worse == (1, 2, 4)


def test_paired_chances_follow_from_the_scores_seed_by_seed() -> None:
    """Of three seeds on one task the higher ratio wins two, and on the other task all; a tie counts half."""
    scores = {("gym_a", 1): [0, 5, 3], ("gym_a", 2): [1, 4, 4], ("gym_b", 1): [0, 0, 7], ("gym_b", 2): [1, 1, 7]}
    runs = [
        learner(ratio, seed, lambda frames, _made, end=end: np.full(len(frames), float(end)), task=task)
        for (task, ratio), ends in scores.items()
        for seed, end in enumerate(ends)
    ]
    study = study_of(runs)
    (pair,) = next(each for each in study.aggregate if each.kind == "frames").pairs

    assert (pair.ratio, pair.other, pair.pairs, pair.tasks) == (1, 2, 6, 2)
    assert pair.chance == pytest.approx((1 / 3 + 0.5 / 3) / 2)
    assert 0 < pair.low < pair.chance < pair.high < 1


def test_a_chance_of_one_has_an_interval_too() -> None:
    """Two wins of two prove little: from 0.34 up; twenty of twenty more."""
    assert wilson_interval(1.0, 2, 0.95) == (pytest.approx(0.3424, abs=1e-4), 1.0)
    assert wilson_interval(1.0, 20, 0.95) == (pytest.approx(0.8389, abs=1e-4), 1.0)
    assert wilson_interval(0.5, 10, 0.95) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))


def test_the_aggregate_is_over_scaled_scores_of_tasks_that_every_ratio_has() -> None:
    """Task b counts a tenth, and task c, which one ratio lacks, does not count."""
    runs = [
        learner(ratio, seed, lambda frames, _made, end=ratio * size: np.full(len(frames), float(end)), task=task)
        for ratio in (1, 2)
        for task, size in (("gym_a", 1), ("gym_b", 10), ("gym_c", 100))
        for seed in (0, 1)
        if (task, ratio) != ("gym_c", 2)
    ]
    scale = Scale("share", {"gym_a": (0.0, 1.0), "gym_b": (0.0, 10.0)})
    study = study_of(runs, scale_of=lambda _suite: scale)
    at_frames = next(each for each in study.aggregate if each.kind == "frames")

    assert at_frames.tasks == ("gym_a", "gym_b")
    assert [(each.ratio, each.runs, each.metrics["mean"].point) for each in at_frames.ratios] == [(1, 4, 1), (2, 4, 2)]
    assert study.unit == "share"
    assert any("gym_c" in note for note in study.notes)


def test_hours_are_of_gpus_where_those_were_used() -> None:
    """Runs at ratio 4 took twice the time: at equal hours they had half of their frames."""
    hours = {1: 1.0, 4: 2.0}
    runs = [learner(ratio, seed, by_updates, gpu_hours=hours[ratio], fps=1.0) for ratio in hours for seed in (0, 1)]
    study = study_of(runs)
    (budget,) = [each for each in study.tasks[0].budgets if each.kind == "gpu_hours"]

    assert study.hours == "gpu_hours"
    assert budget.value == 1.0
    assert [each.frames for each in budget.ratios] == [FRAMES, pytest.approx(FRAMES / 2, rel=0.01)]
    assert not any("hours" in note for note in study.notes)


def test_a_run_that_finished_sooner_counts_with_its_end() -> None:
    """Of 0.5, 1 and 1.5 hours: at one hour the quick run has its last score, the slow one two thirds of it."""
    runs = [learner(1, seed, by_updates, gpu_hours=0.5 + 0.5 * seed, fps=1.0) for seed in range(3)]
    runs += [learner(1, 3, by_updates, gpu_hours=0.1, fps=1.0, until=FRAMES // 8)]
    runs += [learner(4, seed, by_updates, gpu_hours=3.0, fps=1.0) for seed in range(4)]
    (budget,) = [each for each in study_of(runs).tasks[0].budgets if each.kind == "gpu_hours"]
    last = 0.95 * rules.updates(SCHEDULE, 1)

    assert budget.value == 1.0
    assert budget.ratios[0].scores == {
        0: pytest.approx(last, rel=0.01),
        1: pytest.approx(last, rel=0.01),
        2: pytest.approx(last * 2 / 3, rel=0.02),
        3: None,
    }


def test_hours_of_running_stand_in_where_there_was_no_gpu() -> None:
    """And the study says so."""
    study = study_of([learner(ratio, 0, by_updates, gpu_hours=0.0, fps=FRAMES / 3600) for ratio in (1, 4)])

    assert study.hours == "wall_hours"
    assert [each.value for each in study.tasks[0].budgets if each.kind == "wall_hours"] == [1.0]
    assert any("in place of GPU hours" in note for note in study.notes)


def test_without_hours_the_rest_is_there() -> None:
    """Logs that dreamsweep did not launch tell no hours."""
    study = study_of([learner(ratio, 0, by_updates) for ratio in (1, 4)])

    assert study.hours is None
    assert [budget.kind for budget in study.tasks[0].budgets] == ["frames", "updates"]
    assert any("equal hours" in note for note in study.notes)


def test_missing_and_unfinished_runs_are_counted() -> None:
    """One of three seeds crashed in the middle, one is only planned: the budget stands, and one score is left."""
    runs = [learner(2, seed, by_updates) for seed in range(3)]
    runs += [learner(4, 0, by_updates), learner(4, 1, by_updates, until=FRAMES // 2), built("m_tr4", 2, task="gym_a")]
    study = study_of(runs)

    assert [(each.ratio, each.planned, each.with_data, each.unfinished) for each in study.tasks[0].runs] == [
        (2, 3, 3, 0),
        (4, 3, 2, 1),
    ]
    at_frames = study.tasks[0].budgets[0]
    assert at_frames.value == FRAMES
    assert at_frames.ratios[1].scores == {0: pytest.approx(0.95 * rules.updates(SCHEDULE, 4), rel=0.01), 1: None}
    assert (at_frames.ratios[1].planned, at_frames.ratios[1].low) == (3, None)
    assert study.tasks[0].recommended[0].verdict == "too few seeds"


def test_the_budget_is_what_half_of_the_runs_reached() -> None:
    """One that died early does not shorten it for all; when most did, it is theirs."""
    early = [learner(4, seed, by_updates, until=FRAMES // 2) for seed in (0, 1)]
    study = study_of([*[learner(2, seed, by_updates) for seed in range(3)], *early, learner(4, 2, by_updates)])

    assert study.tasks[0].budgets[0].value == FRAMES // 2
    assert "ratio 4" in study.tasks[0].budgets[0].chosen


def test_the_frontier_marks_what_nothing_else_beats() -> None:
    """Ratio 4 learns twice as fast as 1, for more updates; ratio 2 costs more than 1 and gains nothing."""

    def score(frames: np.ndarray, made: np.ndarray) -> np.ndarray:
        per_frame = made[-1] / frames[-1]
        gain = {1: 1.0, 2: 1.0, 4: 2.0}[round(per_frame * 16)]
        return np.minimum(frames * gain / FRAMES, 1.0)

    study = study_of([learner(ratio, seed, score) for ratio in (1, 2, 4) for seed in range(3)])
    (frontier,) = [each for each in study.tasks[0].frontiers if each.fraction == 0.75]
    low, middle, high = frontier.ratios

    assert frontier.score == pytest.approx(0.75, abs=0.01)
    assert [each.reached for each in frontier.ratios] == [3, 3, 3]
    assert low.frames == middle.frames == pytest.approx(0.75 * FRAMES, rel=0.03)
    assert high.frames == pytest.approx(0.375 * FRAMES, rel=0.08)
    assert low.updates < middle.updates
    assert [each.is_best_of_updates for each in frontier.ratios] == [True, False, True]
    assert not any(each.is_best_of_hours for each in frontier.ratios)


def test_a_threshold_that_half_of_the_runs_missed_has_no_expense() -> None:
    """One of two runs at ratio 1 got there: its median is not known."""
    runs = [
        learner(1, seed, lambda frames, _made, top=top: frames * top / FRAMES) for seed, top in ((0, 1.0), (1, 0.1))
    ]
    runs += [learner(2, seed, lambda frames, _made: frames / FRAMES) for seed in (0, 1)]
    (frontier,) = [each for each in study_of(runs).tasks[0].frontiers if each.fraction == 0.5]

    assert [(each.reached, each.runs, each.frames is None) for each in frontier.ratios] == [(1, 2, True), (2, 2, False)]


def test_nothing_learned_has_no_frontier() -> None:
    """Where the best ratio ends no higher than they all began, there is no score to reach."""
    study = study_of(
        [learner(ratio, seed, lambda frames, _made: -frames / FRAMES) for ratio in (1, 2) for seed in (0, 1)]
    )

    assert study.tasks[0].frontiers == ()


def test_further_options_and_suites_make_studies_of_their_own() -> None:
    """m with horizon 10 and m with horizon 20 are two methods, and a method with one ratio is none."""
    runs = [
        built(f"m_tr{ratio}_h{horizon}", 0, [10, 20], [1, 2], ratio=float(ratio))
        for ratio in (1, 2)
        for horizon in (10, 20)
    ]
    for run in runs:
        object.__setattr__(run.info, "method", "m")
    runs += [built("other_tr4", 0, [10, 20], [1, 2]), built("published", 0, [10, 20], [1, 2])]

    assert [(study.name, study.ratios) for study in ratio_study(BuiltSources(runs))] == [
        ("m_h10", (1.0, 2.0)),
        ("m_h20", (1.0, 2.0)),
    ]


def test_one_ratio_is_no_study() -> None:
    """There is nothing to compare."""
    assert ratio_study(BuiltSources([learner(1, 0, by_updates), learner(1, 1, by_updates)])) == []


def test_one_ratio_under_two_labels_counts_once() -> None:
    """The suite's own ratio as a default and as a number: the label with more runs stays, and the other is told."""
    runs = [learner(1, 0, by_updates), learner(4, 0, by_updates), learner(4, 1, by_updates)]
    study = study_of([*runs, learner(4, 0, by_updates, label="m")])

    assert study.labels == ("m_tr1", "m_tr4")
    assert any(note.startswith("m has the ratio of m_tr4") for note in study.notes)


def test_a_ratio_without_data_is_told() -> None:
    """It is planned, and there is nothing to draw yet."""
    study = study_of([learner(1, 0, by_updates), learner(2, 0, by_updates), built("m_tr4", 0, task="gym_a")])

    assert study.ratios == (1.0, 2.0)
    assert "Ratio 4 has 1 runs and no data yet." in study.notes


@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_ratios_are_rarely_told_apart(seeds: int) -> None:
    """Four ratios that are all the same: at 95 % confidence at most one study in twenty names a better one."""
    named = 0
    for draw in range(200):
        generator = np.random.default_rng(draw)
        runs = [
            built(f"m_tr{ratio}", seed, [10, 20], [score, score])
            for ratio in (1, 2, 4, 8)
            for seed, score in enumerate(generator.standard_normal(seeds))
        ]
        study = study_of(runs, reps=2)
        named += study.tasks[0].recommended[0].verdict == "better"

    assert named <= 10


def test_difference_interval_is_welchs() -> None:
    """As scipy's ttest_ind(equal_var=False).confidence_interval has it."""
    interval = difference_interval(np.array([1.0, 2.0, 4.0]), np.array([3.0, 7.0, 9.0, 9.0]), 0.95)

    assert interval == pytest.approx((-9.029453724637825, -0.3038796086955067), rel=1e-9)
    assert difference_interval(np.array([1.0]), np.array([1.0, 2.0]), 0.95) is None
