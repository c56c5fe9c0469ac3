"""Score curves."""

from pathlib import Path

import numpy as np
import pytest
from log_builders import line, log_text, write_foreign

from aggregation.collect import collect
from aggregation.episodes import Episodes
from aggregation.plots import curves_of, draw, plot, short_number
from sweeps.contracts import RunKey
from sweeps.errors import LogError


def episodes(label: str, seed: int, steps: list[int], scores: list[float], ratio: float | None = None) -> Episodes:
    key = RunKey(suite="gym", task="gym_CartPole-v1", label=label, seed=seed)
    return Episodes(key, label.partition("_tr")[0], ratio, np.array(steps), np.array(scores))


def test_band_is_over_the_seeds_that_have_data() -> None:
    """A run that ended early is not carried on, and a hole inside a run carries its last value."""
    long = episodes("m", 0, [10, 40], [1.0, 3.0])
    short = episodes("m", 1, [10, 20], [3.0, 5.0])
    (curve,) = curves_of([long, short], bins=4)

    np.testing.assert_array_equal(curve.steps, [10, 20, 30, 40])
    np.testing.assert_array_equal(curve.mean, [np.nan, 2.0, 3.0, 3.0])
    np.testing.assert_array_equal(curve.std, [np.nan, 1.0, 2.0, 0.0])
    assert curve.seeds == 2


def test_ratios_are_ordered_as_numbers_in_the_legend() -> None:
    """16, 64, 256; not 16, 256, 64."""
    runs = [episodes(f"m_tr{ratio}", 0, [10, 20], [1.0, 2.0], float(ratio)) for ratio in (256, 16, 64)]
    figure = draw(curves_of(runs))

    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [f"train ratio {ratio}  (1 seed)" for ratio in (16, 64, 256)]


def test_pictures_are_written_and_the_svg_is_the_same_each_time(tmp_path: Path) -> None:
    """Many tasks and more labels than colours make one figure; its SVG holds no date and no random name."""
    for task in range(7):
        for label in range(9):
            content = log_text((step, step * label) for step in range(10, 200, 7))
            write_foreign(tmp_path / "logs", content, task=f"dmc_task{task}", label=f"m{label}", seed=0)
    collect([tmp_path / "logs"], tmp_path / "store")
    first = plot(tmp_path / "store")
    bytes_before = Path(first.svg).read_bytes()
    second = plot(tmp_path / "store")

    assert (first.panels, first.labels) == (7, 9)
    assert Path(second.svg).read_bytes() == bytes_before
    assert Path(first.png).read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "store" / "plots").iterdir()) == ["curves.png", "curves.svg"]


def test_a_single_episode_can_be_plotted(tmp_path: Path) -> None:
    """The first picture of a sweep may hold one point, without a warning."""
    write_foreign(tmp_path / "logs", line(5))
    collect([tmp_path / "logs"], tmp_path / "store")

    assert plot(tmp_path / "store").panels == 1


def test_store_without_an_episode_is_an_error(tmp_path: Path) -> None:
    """There is nothing to draw yet."""
    write_foreign(tmp_path / "logs", b"")
    collect([tmp_path / "logs"], tmp_path / "store")

    with pytest.raises(LogError, match="no episode"):
        plot(tmp_path / "store")


def test_ticks_are_short() -> None:
    """Frames in thousands, millions and billions."""
    assert [short_number(value) for value in (0, 250, 1500, 4e7, -2e9, 0.5)] == [
        "0", "250", "1.5k", "40M", "-2B", "0.5",
    ]  # fmt: skip
