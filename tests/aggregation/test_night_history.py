"""The history of nights: which of them count, and what a file keeps."""

from pathlib import Path

import pytest

from aggregation.pictures.night_plot import night_changes, plot_nights
from aggregation.verdicts.night_history import (
    NightRun,
    accepted,
    baseline,
    cells_of,
    compared_nights,
    read_history,
    with_night,
    write_history,
)
from sweeps.errors import LogError


def run(
    night: int,
    score: float | None = 1.0,
    *,
    verdict: str = "fine",
    task: str = "walk",
    seed: int = 0,
    role: str = "planned",
    base: int = 1,
) -> NightRun:
    return NightRun(
        night=night,
        name=f"{night:04d}-r",
        at=1_700_000_000 + night,
        revision=f"r{night}",
        suite="dmc",
        task=task,
        label="m",
        cell=task,
        seed=seed,
        role=role,
        score=score,
        verdict=verdict,
        baseline=base,
    )


def test_a_history_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """In the order of nights; a run without a score stays without one."""
    path = tmp_path / "history.parquet"
    rows = [run(2, None), run(1, 3.5), run(1, 4.5, seed=1)]
    write_history(path, rows)

    assert read_history(path) == [rows[1], rows[2], rows[0]]
    assert read_history(tmp_path / "none.parquet") == []


def test_a_file_that_is_no_history_is_a_sentence(tmp_path: Path) -> None:
    """And is not written over."""
    path = tmp_path / "history.parquet"
    path.write_text("not a table")

    with pytest.raises(LogError, match="is no history of nights"):
        read_history(path)


def test_tonight_takes_the_place_of_its_earlier_rows() -> None:
    """A night that is judged again is there once."""
    assert with_night([run(1), run(2, 5.0)], [run(2, 6.0)]) == [run(1), run(2, 6.0)]


def test_confirmed_regressions_do_not_become_the_level() -> None:
    """Else a drop would be forgotten within weeks."""
    history = [run(1), run(2, verdict="regression"), run(3, verdict="not confirmed"), run(4)]

    assert compared_nights(history, 5, 20) == [1, 3, 4]
    assert compared_nights(history, 5, 2) == [3, 4]
    assert compared_nights(history, 3, 20) == [1]


def test_accepting_begins_the_history_anew_with_the_regressions_at_its_end() -> None:
    """Nights before are compared with no more; without a regression the last night is the first of the new level."""
    history = [run(1), run(2, verdict="regression"), run(3), run(4, verdict="regression"), run(5, verdict="regression")]
    changed, nights = accepted(history)

    assert nights == [4, 5]
    assert baseline(changed, 6) == 4
    assert compared_nights(changed, 6, 20) == [4, 5]
    assert accepted([run(1), run(2)])[1] == [2]


def test_a_picture_shows_each_night_beside_the_level(tmp_path: Path) -> None:
    """The level is that of nights without a regression; cells around zero have no relative change."""
    history = [
        run(1, 90.0),
        run(2, 110.0),
        run(3, 60.0, verdict="regression"),
        run(3, None, seed=1, verdict="regression"),
        run(3, 0.0, task="zero", verdict="regression"),
    ]
    plot_nights(history, tmp_path / "history.png")

    assert night_changes(history) == {1: [-0.1], 2: [0.1], 3: [-0.4]}
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["history.png"]


def test_cells_hold_the_runs_of_the_nights_that_count() -> None:
    """By fingerprint: what was run with other options is another cell. Runs without a score are left out."""
    history = [run(1, 1.0), run(1, 2.0, seed=1), run(2, 9.0), run(1, 7.0, task="other"), run(1, None, seed=2)]
    tonight = [run(3, 3.0), run(3, None, seed=1), run(3, 4.0, seed=5, role="fresh"), run(3, None, task="new")]
    walk, new = cells_of(history, [1], tonight, {("dmc", "walk"): -2.0})

    assert (walk.low, new.low) == (-2.0, 0.0)

    assert (walk.name, walk.history.tolist(), walk.tonight.tolist(), walk.fresh.tolist()) == (
        "dmc/walk/m",
        [1.0, 2.0],
        [3.0],
        [4.0],
    )
    assert (new.name, len(new.history), len(new.tonight)) == ("dmc/new/m", 0, 0)
