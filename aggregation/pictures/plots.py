"""Pictures of what was opened, as files: curves, fans and replay-ratio studies. The same runs give the same SVG."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from aggregation.curves.axes import TITLES, needs
from aggregation.curves.curve_view import CurveView
from aggregation.curves.curves import curves
from aggregation.curves.fans import fans
from aggregation.evaluation.scales import Scale, scales
from aggregation.pictures import curve_panels, fan_panels
from aggregation.pictures.picture_files import FORMATS, write_picture
from aggregation.sources.sources import Sources, open_sources
from sweeps.errors import ConfigError, LogError, UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One picture that was drawn."""

    #: By format, where it lies.
    files: dict[str, str]
    panels: int
    labels: int
    #: What was left out, and why.
    notes: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The first of the files."""
        return next(iter(self.files.values()))

    def to_json(self) -> dict[str, Any]:
        return {**self.files, "panels": self.panels, "labels": self.labels, "notes": list(self.notes)}


def plot(
    paths: Path | str | Sequence[Path | str],
    folder: Path | None = None,
    *,
    name: str = "curves",
    view: CurveView | None = None,
    formats: Sequence[str] = ("png", "svg"),
    suites: Collection[str] | None = None,
    tasks: Collection[str] | None = None,
    labels: Collection[str] | None = None,
    with_aggregates: bool = False,
    with_lengths: bool = False,
) -> Plot:
    """Open roots, stores, logs or score files, and draw their curves as `<folder>/<name>.png` and `.svg`.

    Args:
        paths: One or several.
        folder: Where to; None for `plots` in the first of the paths if that is a root or a store, else in the
            current folder.
        name: Of the files, without suffix.
        view: Axis, centre, band and smoothing; None for means over environment frames.
        formats: Of `FORMATS`.
        suites: Only these.
        tasks: Only these.
        labels: Only these.
        with_aggregates: A panel per suite over its tasks too.
        with_lengths: Episode lengths on a second axis, where there are any.

    Raises:
        LogError: there is nothing to open or to draw, or the folder cannot be written.
    """
    with open_sources(
        [paths] if isinstance(paths, Path | str) else paths, suites=suites, tasks=tasks, labels=labels
    ) as sources:
        return plot_curves(
            sources,
            folder or plots_folder(sources),
            name=name,
            view=view,
            formats=formats,
            with_aggregates=with_aggregates,
            with_lengths=with_lengths,
        )


def plot_curves(
    sources: Sources,
    folder: Path,
    *,
    name: str = "curves",
    view: CurveView | None = None,
    formats: Sequence[str] = ("png", "svg"),
    with_tasks: bool = True,
    with_aggregates: bool = False,
    with_lengths: bool = False,
    with_seeds: bool = False,
    scale_of: Callable[[str], Scale] | None = None,
) -> Plot:
    """Draw the curves of opened sources; see `plot`.

    Raises:
        LogError: there is nothing to draw, or the folder cannot be written.
    """
    view = view or CurveView()
    shown = curves(
        sources,
        view,
        with_tasks=with_tasks,
        with_aggregates=with_aggregates,
        with_lengths=with_lengths,
        scale_of=scale_of or scales(),
    )
    if not shown.panels:
        raise _nothing(sources, view, shown.notes)
    return Plot(
        files=save(curve_panels.draw(shown, with_seeds=with_seeds), folder, name, formats),
        panels=len(shown.panels),
        labels=len({curve.label for panel in shown.panels for curve in panel.curves}),
        notes=shown.notes,
    )


def plot_fans(
    sources: Sources,
    folder: Path,
    *,
    name: str = "fans",
    view: CurveView | None = None,
    formats: Sequence[str] = ("png", "svg"),
) -> Plot:
    """Draw the distribution of episode scores over time, a panel per task and label.

    Raises:
        LogError: there is nothing to draw, or the folder cannot be written.
    """
    view = view or CurveView()
    shown = fans(sources, view)
    if not shown.fans:
        raise _nothing(sources, view, shown.notes)
    return Plot(
        files=save(fan_panels.draw(shown), folder, name, formats),
        panels=len(shown.fans),
        labels=len({fan.label for fan in shown.fans}),
        notes=shown.notes,
    )


def plots_folder(sources: Sources) -> Path:
    """Where pictures go unless the user says: beside the first dataset, if that is a root or a store of ours."""
    first = sources.sources[0]
    return (first.path if first.kind in ("root", "store") else Path.cwd()) / "plots"


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> dict[str, str]:
    """Write a figure in each format, and tell where.

    Raises:
        UnknownNameError: a format that cannot be drawn.
        ConfigError: the name is no file name.
        LogError: the folder cannot be written.
    """
    for format_name in formats:
        if format_name not in FORMATS:
            raise UnknownNameError("format", format_name, FORMATS)
    if Path(name).name != name:
        raise ConfigError(f"The name {name!r} is no file name; expected one without a folder. Name that with --out.")
    files = {}
    for suffix in formats:
        path = folder / f"{name}.{suffix}"
        write_picture(figure, path)
        files[suffix] = str(path)
    return files


def _nothing(sources: Sources, view: CurveView, notes: Sequence[str]) -> LogError:
    where = ", ".join(str(source.path) for source in sources.sources)
    if not any(run.rows for run in sources.runs):
        return LogError(
            f"{where} holds no score to plot: no run has logged one yet that could be read. `dreamsweep aggregate` "
            f"tells why."
        )
    if view.axis != "frames" and not any("No aggregate" in note for note in notes):
        return LogError(
            f"Nothing of {where} can be drawn over {TITLES[view.axis]}: each run needs {needs(view.axis)}. "
            f"Choose another axis with --x; frames works with every log."
        )
    return LogError(" ".join([f"Nothing of {where} can be drawn.", *notes]))
