"""The decision of a night: what raises suspicion, what confirms it, and the promise on false alarms."""

import math

import numpy as np
import pytest

from aggregation.verdicts.regression import Cell, Floats, Judgement, Rule, judge, smallest_drop

NONE = np.empty(0)


def generator() -> np.random.Generator:
    return np.random.default_rng(11)


HISTORY = np.linspace(70, 130, 10)


def steady_night(tonight: float, fresh: Floats = NONE) -> list[Cell]:
    """Six cells, all alike, of a history between 70 and 130."""
    return [cell(f"cell{place}", HISTORY, np.array([tonight]), fresh) for place in range(6)]


def cell(name: str, history: Floats, tonight: Floats, fresh: Floats = NONE) -> Cell:
    return Cell(name=name, history=history, tonight=tonight, fresh=fresh)


def night(
    source: np.random.Generator,
    *,
    cells: int = 6,
    seeds: int = 1,
    nights: int = 10,
    drop: float = 0.0,
    fresh: int = 0,
    spread: float = 0.2,
) -> list[Cell]:
    """Cells of mean 100, all of which have dropped."""
    now = 100 * (1 - drop)
    return [
        cell(
            f"cell{place}",
            source.normal(100, 100 * spread, nights * seeds),
            source.normal(now, 100 * spread, seeds),
            source.normal(now, 100 * spread, fresh),
        )
        for place in range(cells)
    ]


def judged(cells: list[Cell], rule: Rule | None = None, nights: int = 10) -> Judgement:
    return judge(cells, nights, rule or Rule(draws=4000), generator())


def test_too_short_a_history_never_alarms() -> None:
    """However low tonight is; a cell that is new is not judged either."""
    rule = Rule(least_nights=5)
    low = night(generator(), nights=4, drop=0.9, fresh=3)
    new = [*steady_night(100), cell("new", np.array([100.0]), np.array([0.0]), np.zeros(3))]

    assert judged(low, rule, nights=4).verdict == "too little history"
    assert judged(low, rule, nights=9).verdict == "too little history"
    assert (judged(new, rule).verdict, judged(new, rule).judged) == ("fine", 6)
    assert judged([], rule).verdict == "too little history"


def test_a_night_as_the_others_is_fine() -> None:
    """And asks for nothing to be run again."""
    found = judged(steady_night(98))

    assert found.verdict == "fine"
    assert found.suspicion is not None
    assert not found.suspicion.is_raised


def test_a_drop_of_all_cells_is_suspicious_at_first_and_confirmed_by_fresh_seeds() -> None:
    """Each cell alone lies within what it did before."""
    first = judged(steady_night(75))
    second = judged(steady_night(75, np.array([70.0, 75.0, 80.0])))

    assert (first.verdict, second.verdict) == ("suspicious", "regression")
    assert first.suspicion is not None
    assert (first.suspicion.whole, first.suspicion.cells) == (True, ())
    assert (second.p or 1) < 0.001
    assert second.cells == ()
    assert second.change == pytest.approx(-0.25, abs=0.1)


def test_fresh_seeds_that_are_as_before_withdraw_the_suspicion() -> None:
    """Bad luck is not a regression."""
    assert judged(steady_night(75, np.array([90.0, 100.0, 115.0]))).verdict == "not confirmed"


def test_one_cell_that_collapses_is_confirmed_by_itself() -> None:
    """Twenty nights are enough for four runs below all others to be no chance among a dozen cells."""
    source = generator()
    healthy = [cell(f"cell{place}", source.normal(100, 20, 20), np.array([100.0])) for place in range(11)]
    history = source.normal(100, 20, 20)
    first = judged([*healthy, cell("broken", history, np.array([3.0]))], nights=20)
    second = judged([*healthy, cell("broken", history, np.array([3.0]), np.array([1.0, 2.0, 4.0]))], nights=20)

    assert (first.verdict, second.verdict) == ("suspicious", "regression")
    assert first.suspicion is not None
    assert first.suspicion.cells == ("broken",)
    assert [name for name, _ in second.cells] == ["broken"]


def test_without_a_second_stage_tonight_decides() -> None:
    """Nothing is ever merely suspicious then."""
    rule = Rule(confirm=0, draws=4000)

    assert judged(steady_night(40), rule).verdict == "regression"
    assert judged(steady_night(84), rule).verdict == "not confirmed"


def test_relative_changes_count_from_the_score_that_stands_for_nothing() -> None:
    """Pong is played from -21 to 21: from a mean of 0 to -10.5 is a loss of half of what was learned."""
    pong = Cell(
        name="pong",
        history=np.linspace(-2, 2, 10),
        tonight=np.array([-10.5]),
        fresh=np.array([-10.0, -11.0]),
        low=-21.0,
    )
    found = judged([pong])

    assert found.change == pytest.approx(-0.5)
    assert found.smallest is not None


def test_an_improvement_is_told_and_no_alarm() -> None:
    """Whatever gets better is welcome."""
    assert judged(steady_night(140)).verdict == "better"


def test_a_cell_that_hardly_varies_does_not_decide_for_all() -> None:
    """Its few tenths of a percent are real and matter to nobody."""
    steady = cell("steady", 100 + np.linspace(-0.01, 0.01, 10), np.array([99.9]))

    assert judged([*steady_night(100), steady]).verdict == "fine"


def test_scores_that_never_change_are_fine() -> None:
    """A trainer that repeats itself exactly has neither spread nor regression, and no drop that could be told."""
    same = [cell("same", np.full(8, 5.0), np.array([5.0])), cell("zero", np.zeros(8), np.array([0.0]))]
    found = judged(same)
    nothing = judged(same[1:])

    assert found.verdict == "fine"
    assert (nothing.verdict, nothing.change, nothing.error, nothing.smallest) == ("fine", None, None, None)


@pytest.mark.parametrize("confirm", [0, 3])
def test_false_alarms_are_rarer_than_promised(confirm: int) -> None:
    """With the level at 10 % less than 10 % of nights may alarm, skewed scores or not; 300 nights, three sigma."""
    rule = Rule(alpha=0.1, suspicion=0.3, confirm=confirm, draws=500)
    source = generator()
    alarms = 0
    for _ in range(300):
        cells = [
            cell(str(place), source.lognormal(0, 1, 10), source.lognormal(0, 1, 1), source.lognormal(0, 1, confirm))
            for place in range(4)
        ]
        alarms += judge(cells, 10, rule, source).verdict == "regression"

    assert alarms / 300 < 0.1 + 3 * math.sqrt(0.1 * 0.9 / 300)


@pytest.mark.parametrize("confirm", [0, 3])
def test_the_smallest_drop_told_is_confirmed_as_often_as_promised(confirm: int) -> None:
    """About 80 in 100 nights."""
    rule = Rule(confirm=confirm, draws=1000)
    source = generator()
    told = [smallest_drop([(each.history, 1) for each in night(source, nights=20)], rule) for _ in range(20)]
    drop = float(np.median([each for each in told if each]))
    found = [
        judge(night(source, nights=20, drop=drop, fresh=confirm), 20, rule, source).verdict == "regression"
        for _ in range(120)
    ]

    assert 0.65 < np.mean(found) < 0.95


def test_no_drop_is_told_where_none_would_be_seen() -> None:
    """A single cell that spreads over its whole mean says nothing, and one around zero has no relative drop."""
    assert smallest_drop([(np.array([0.0, 200.0, 10.0, 150.0]), 1)], Rule()) is None
    assert smallest_drop([(np.array([-1.0, 1.0, 0.0]), 1)], Rule()) is None
