"""What a night says of itself, for each verdict."""

from dataclasses import replace

import numpy as np

from aggregation.verdicts.regression import Cell, Judgement, Rule, Suspicion
from orchestrator.command_line.night import Night
from orchestrator.command_line.night_summary import NightSummary

CELL = Cell(
    name="dmc/walk/m", history=np.array([100.0, 110.0, 90.0]), tonight=np.array([60.0]), fresh=np.array([50.0, 70.0])
)
REGRESSION = Judgement(
    verdict="regression",
    judged=1,
    suspicion=Suspicion(p=0.02, p_better=0.99, whole=True, cells=()),
    p=0.0004,
    cells=(("dmc/walk/m", 0.001),),
    change=-0.4,
    error=0.1,
    smallest=0.25,
)
SUMMARY = NightSummary(
    night=Night(12, "0012-abc", "digest", "abc", True),
    judgement=REGRESSION,
    rule=Rule(),
    compared=(9, 10, 11),
    cells=(CELL,),
    done=4,
    unscored=0,
    failed={},
    held=(),
    fresh=3,
    before="def",
    report="/nightly/report/index.html",
)


def told(**changes: object) -> list[str]:
    return replace(SUMMARY, **changes).lines()


def test_a_regression_is_told_with_what_fell_and_what_to_do() -> None:
    """Every line, as it goes into a chat."""
    assert told() == [
        "night 12, revision abc: REGRESSION confirmed",
        "scores -40.0% (± 19.6%) beside the last 3 nights, 1 cell; p = 4e-04 for a drop",
        "by itself: dmc/walk/m, p = 0.001",
        "dmc/walk/m: 100 before, 60 tonight (-40%)",
        "4 runs done, 3 of them with fresh seeds",
        "this grid sees a drop of all scores from 25.0% (in eight of ten nights)",
        "what changed since def made it worse; if that is meant, `dreamsweep nightly … --accept`",
        "report: /nightly/report/index.html",
    ]


def test_a_cell_changes_from_the_score_that_stands_for_nothing() -> None:
    """As the change of all cells does: from 100 to 60 is half of the way to a random player's 20."""
    assert told(cells=(replace(CELL, low=20.0),))[3] == "dmc/walk/m: 100 before, 60 tonight (-50%)"


def test_a_fine_night_is_short() -> None:
    """A grid that can see nothing says that too."""
    fine = replace(REGRESSION, verdict="fine", cells=(), smallest=None, change=0.01, p=0.6)

    assert told(judgement=fine, fresh=0, report="") == [
        "night 12, revision abc: fine",
        "scores +1.0% (± 19.6%) beside the last 3 nights, 1 cell; p = 0.6 for a drop",
        "4 runs done",
        "this grid is too small to confirm any drop",
    ]


def test_without_a_history_nothing_is_claimed() -> None:
    """No percentage, no smallest drop."""
    assert told(judgement=Judgement(verdict="too little history", judged=0), fresh=0, report="", compared=()) == [
        "night 12, revision abc: not judged yet",
        "0 nights of history; judged from 5 on. --again runs this revision once more.",
        "4 runs done",
    ]


def test_failures_are_told_by_cause() -> None:
    """The commonest first, and what was held back."""
    lines = told(failed={"no module": 1, "out of memory": 5}, held=("dmc × m: no module",))

    assert lines[4:8] == [
        "4 runs done, 3 of them with fresh seeds, 6 FAILED",
        "5 failed: out of memory",
        "1 failed: no module",
        "held back: dmc × m: no module",
    ]


def test_runs_without_a_score_are_told() -> None:
    """A trainer that logs none any more is no fine night."""
    lines = told(unscored=3)

    assert lines[4:6] == [
        "4 runs done, 3 of them with fresh seeds",
        "3 runs WITHOUT A SCORE in the last part of the budget",
    ]
    assert [replace(SUMMARY, unscored=count).is_blind for count in (0, 3, 4)] == [False, False, True]
    assert not replace(SUMMARY, done=0).is_blind


def test_the_json_has_the_numbers_behind_the_words() -> None:
    """And the words themselves."""
    record = replace(SUMMARY, failed={"no module": 1}).to_json()

    assert (record["verdict"], record["failed"], record["compared_nights"]) == ("regression", 1, [9, 10, 11])
    assert record["cells_tonight"][0]["fresh"] == [50.0, 70.0]
    assert record["summary"].splitlines()[0] == "night 12, revision abc: REGRESSION confirmed"
