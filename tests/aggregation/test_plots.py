"""Pictures: what is drawn and what stands beside it."""

import re
from pathlib import Path

import numpy as np
import pytest
from log_builders import line, log_text, write_foreign
from run_builders import BuiltRun, BuiltSources, built

from aggregation.curves.curve_view import CurveView
from aggregation.curves.curves import curves
from aggregation.curves.fans import fans
from aggregation.curves.smoothing import Smoothing
from aggregation.dataset.collect import collect
from aggregation.pictures import curve_panels, fan_panels, ratio_study_plot
from aggregation.pictures.plot_style import Labelled, looks, short_number
from aggregation.pictures.plots import plot, plot_curves, plot_fans, save
from aggregation.ratio_study.ratio_study import ratio_study
from sweeps.contracts import Schedule
from sweeps.errors import ConfigError, LogError, UnknownNameError


def legend(figure: object) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]  # type: ignore[attr-defined]


def caption(figure: object) -> str:
    return "\n".join(text.get_text() for text in reversed(figure.texts))  # type: ignore[attr-defined]


def rising(label: str, seed: int, *, task: str = "gym_a", until: int = 100, **facts: object) -> BuiltRun:
    steps = np.arange(5, until + 1, 5)
    return built(label, seed, steps, steps * (1.0 + seed), task=task, **facts)


def test_ratios_are_ordered_as_numbers_in_the_legend() -> None:
    """16, 64, 256; not 16, 256, 64."""
    figure = curve_panels.draw(curves(BuiltSources([rising(f"m_tr{ratio}", 0) for ratio in (256, 16, 64)])))

    assert legend(figure) == [f"train ratio {ratio}  (1 seed)" for ratio in (16, 64, 256)]
    assert caption(figure).startswith("m · line: mean over seeds")


def test_one_label_from_two_sources_has_one_colour() -> None:
    """Each source has its dashes, so that two nights of the same grid can be told apart."""
    labels = [
        Labelled(f"m_tr{ratio}{night}", "m", float(ratio)) for ratio in (64, 256, 1024) for night in (" (a)", " (b)")
    ]
    found = looks(labels)

    assert list(found) == [each.label for each in labels]
    assert len({look.colour for look in found.values()}) == 3
    assert found["m_tr64 (a)"].colour == found["m_tr64 (b)"].colour
    assert found["m_tr64 (a)"].dash == found["m_tr256 (a)"].dash != found["m_tr64 (b)"].dash
    assert found["m_tr64 (b)"].name == "m_tr64 (b)"


def test_more_labels_than_colours_differ_in_their_dashes() -> None:
    """Twenty methods, no two alike."""
    found = looks(Labelled(f"method{number:02d}", f"method{number:02d}", None) for number in range(20))

    assert len({(look.colour, look.dash) for look in found.values()}) == 20


def test_tasks_of_different_lengths_do_not_make_an_axis_logarithmic() -> None:
    """Only labels of one task that end far apart do."""
    runs = [
        built("m", 0, [5, 10], [1, 2], task="gym_a", schedule=Schedule(steps=10)),
        built("m", 0, [500, 1000], [1, 2], task="gym_b", schedule=Schedule(steps=1000)),
    ]
    figure = curve_panels.draw(curves(BuiltSources(runs), CurveView(axis="policy_steps")))

    assert [axis.get_xscale() for axis in figure.axes] == ["linear", "linear"]


def test_the_legend_counts_seeds_that_lack_data_too() -> None:
    """Two of three planned on one task and three on the other; the reference has one on each."""
    runs = [rising("m", seed, task=task) for task in ("gym_a", "gym_b") for seed in (0, 1)]
    runs += [
        rising("m", 2, task="gym_a"),
        built("m", 2, task="gym_b"),
        rising("other", 0),
        rising("other", 0, task="gym_b"),
    ]
    figure = curve_panels.draw(curves(BuiltSources(runs)))

    assert legend(figure) == ["m  (2 to 3 of 3 seeds)", "other  (1 seed)"]


def test_the_caption_names_what_is_drawn() -> None:
    """Smoothing is never silent, nor is the band, nor what an aggregate is."""
    runs = [rising("m", seed, task=task) for task in ("gym_a", "gym_b") for seed in (0, 1)]
    view = CurveView(centre="median", band="quantiles", smoothing=Smoothing("ema", 0.9))
    told = caption(curve_panels.draw(curves(BuiltSources(runs), view, with_aggregates=True)))

    assert "line: median over seeds · band: the middle half · smoothed: exponential, weight 0.9" in told
    assert "aggregate (shaded): median of the tasks' means" in told
    assert "95 % bootstrap interval over runs within tasks" in told


def test_points_with_fewer_seeds_are_lighter() -> None:
    """One seed of two ended in the middle: the rest of the line is drawn apart, and the caption says why."""
    figure = curve_panels.draw(curves(BuiltSources([rising("m", 0), rising("m", 1, until=50)])))
    full, lighter = figure.axes[0].get_lines()

    assert np.isfinite(full.get_ydata()).sum() + np.isfinite(lighter.get_ydata()).sum() > 10
    assert (full.get_alpha(), lighter.get_alpha()) == (None, 0.4)
    assert np.isnan(full.get_ydata()[-1])
    assert np.isfinite(lighter.get_ydata()[-1])
    assert "lighter: fewer seeds have data there" in caption(figure)


def test_single_seeds_are_thin_lines() -> None:
    """One for each run beside the line of the label, and the caption says so."""
    figure = curve_panels.draw(curves(BuiltSources([rising("m", 0), rising("m", 1)])), with_seeds=True)

    assert [line.get_linewidth() for line in figure.axes[0].get_lines()] == [0.6, 0.6, 1.9]
    assert "thin: single seeds" in caption(figure)


def test_lengths_have_an_axis_of_their_own() -> None:
    """On the right, only in the panel that has any."""
    runs = [rising("m", 0), built("m", 0, [10, 100], [1, 2], lengths=[7, 9], task="gym_b")]
    figure = curve_panels.draw(curves(BuiltSources(runs), with_lengths=True))

    assert [axis.get_ylabel() for axis in figure.axes] == ["episode score", "", "episode length"]
    assert "dotted, right axis: episode length" in caption(figure)


def test_ratios_that_end_far_apart_share_a_logarithmic_axis() -> None:
    """Over updates ratio 8 would vanish beside 1024."""
    schedule = Schedule(steps=100, batch_size=2, batch_length=4)
    runs = [rising(f"m_tr{ratio}", 0, schedule=schedule) for ratio in (8, 1024)]
    figure = curve_panels.draw(curves(BuiltSources(runs), CurveView(axis="updates")))

    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[0].get_xlabel() == "gradient updates (logarithmic)"


def test_fans_are_quantiles_of_all_episodes() -> None:
    """Seed 0 scores 0 to 9 and seed 1 scores 10 to 19 in the one bin: quartiles of twenty episodes."""
    runs = [built("m", seed, range(1, 11), range(10 * seed, 10 * seed + 10)) for seed in (0, 1)]
    shown = fans(BuiltSources([*runs, built("m", 2)]), CurveView(points=1, fan=(0.25, 0.5, 0.75)))

    (fan,) = shown.fans
    np.testing.assert_allclose(fan.values[:, 0], [4.75, 9.5, 14.25])
    assert (fan.episodes, fan.seeds, fan.planned) == (20, 2, 3)
    figure = fan_panels.draw(shown)
    assert legend(figure) == ["25 to 75 % of episodes", "median"]
    assert figure.axes[0].get_title(loc="left") == "gym_CartPole-v1  (2 of 3 seeds)"


def test_study_pictures_show_evidence_and_missing_seeds(tmp_path: Path) -> None:
    """One task has a panel of scores, one of the frontier and the chances; a ratio that lacks a seed says so."""
    schedule = Schedule(steps=100, batch_size=2, batch_length=4)
    runs = [rising(f"m_tr{ratio}", seed, schedule=schedule) for ratio in (8, 16) for seed in (0, 1, 2)]
    sources = BuiltSources([*runs, built("m_tr16", 3, task="gym_a")])
    (study,) = ratio_study(sources)
    figure = ratio_study_plot.draw(study)
    scores = figure.axes[0]

    titles = [axis.get_title(loc="left") for axis in figure.axes if axis.get_visible()]
    assert titles == ["gym_a", "frames against updates", "chance to win, equal frames", "chance to win, equal updates"]
    assert [label.get_text() for label in scores.get_xticklabels()] == ["8", "16\n3/4"]
    assert "equal frames: 8; no difference seen from 16" in scores.texts[0].get_text()
    (picture,) = ratio_study_plot.plot_studies([study], tmp_path)
    assert Path(picture.files["png"]).name == "ratio_study-gym-m.png"


def test_pictures_are_written_and_the_svg_is_the_same_each_time(tmp_path: Path) -> None:
    """Many tasks and more labels than colours make one figure; its SVG holds no date and no random name."""
    for task in range(7):
        for label in range(9):
            content = log_text((step, step * label) for step in range(10, 200, 7))
            write_foreign(tmp_path / "logs", content, task=f"dmc_task{task}", label=f"m{label}", seed=0)
    collect([tmp_path / "logs"], tmp_path / "store")
    view = CurveView(band="bootstrap", reps=20)
    first = plot(tmp_path / "store", view=view, with_aggregates=True)
    bytes_before = Path(first.files["svg"]).read_bytes()
    second = plot(tmp_path / "store", view=view, with_aggregates=True)

    assert (first.panels, first.labels) == (8, 9)
    assert Path(second.files["svg"]).read_bytes() == bytes_before
    assert b"<dc:date>" not in bytes_before
    assert Path(first.files["png"]).read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "store" / "plots").iterdir()) == ["curves.png", "curves.svg"]


def test_studies_and_fans_are_the_same_bytes_too(tmp_path: Path) -> None:
    """Whatever the order in which runs were found."""
    schedule = Schedule(steps=100, batch_size=2, batch_length=4)
    runs = [rising(f"m_tr{ratio}", seed, schedule=schedule) for ratio in (8, 16) for seed in (0, 1, 2)]
    written = []
    for order in (runs, runs[::-1]):
        sources = BuiltSources(order)
        pictures = [
            plot_fans(sources, tmp_path, formats=["svg"]),
            *ratio_study_plot.plot_studies(ratio_study(sources), tmp_path, formats=["svg"]),
        ]
        written.append([Path(picture.file).read_bytes() for picture in pictures])

    assert written[0] == written[1]


def test_roots_and_reference_runs_are_drawn_together(tmp_path: Path) -> None:
    """Two stores with one label become two curves that name their source."""
    for name in ("mine", "theirs"):
        write_foreign(tmp_path / name, log_text([(10, 1), (20, 2)]), task="gym_a")
    picture = plot([tmp_path / "mine", tmp_path / "theirs"], tmp_path, formats=["svg"])

    assert (picture.panels, picture.labels) == (1, 2)


def test_a_single_episode_can_be_plotted(tmp_path: Path) -> None:
    """The first picture of a sweep may hold one point, without a warning."""
    write_foreign(tmp_path / "logs", line(5))
    collect([tmp_path / "logs"], tmp_path / "store")

    assert plot(str(tmp_path / "store")).panels == 1


def test_store_without_an_episode_is_an_error(tmp_path: Path) -> None:
    """There is nothing to draw yet."""
    write_foreign(tmp_path / "logs", b"")
    collect([tmp_path / "logs"], tmp_path / "store")

    with pytest.raises(LogError, match="holds no score to plot"):
        plot(tmp_path / "store")


def test_an_axis_that_no_run_has_is_an_error(tmp_path: Path) -> None:
    """With what each run would need, and another axis to choose."""
    with pytest.raises(LogError, match=re.escape("wall_hours works without one")):
        plot_curves(BuiltSources([rising("m", 0)]), tmp_path, view=CurveView(axis="gpu_hours"))


@pytest.mark.parametrize(
    ("name", "formats", "error"), [("a/b", ["svg"], ConfigError), ("curves", ["jpeg"], UnknownNameError)]
)
def test_names_and_formats_are_checked(tmp_path: Path, name: str, formats: list[str], error: type[Exception]) -> None:
    """Before anything is written."""
    figure = curve_panels.draw(curves(BuiltSources([rising("m", 0)])))
    with pytest.raises(error):
        save(figure, tmp_path / "new", name, formats)

    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match="cannot be written"):
        plot_curves(BuiltSources([rising("m", 0)]), tmp_path / "file" / "plots")


def test_ticks_are_short() -> None:
    """Frames in thousands, millions and billions."""
    assert [short_number(value) for value in (0, 250, 1500, 4e7, -2e9, 0.5)] == [
        "0", "250", "1.5k", "40M", "-2B", "0.5",
    ]  # fmt: skip
