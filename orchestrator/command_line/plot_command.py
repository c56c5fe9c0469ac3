"""The command `plot`: curves, distributions and replay-ratio studies of anything that holds scores, as pictures."""

import argparse
import json
import sys
from pathlib import Path

from aggregation.curves.axes import axis_named
from aggregation.curves.curve_view import CurveView
from aggregation.curves.smoothing import Smoothing
from aggregation.evaluation.scales import scales
from aggregation.pictures.plots import Plot, plot_curves, plot_fans, plots_folder
from aggregation.pictures.ratio_study_plot import plot_studies
from aggregation.ratio_study.ratio_study import RatioStudy, ratio_study
from aggregation.sources.sources import Sources
from orchestrator.command_line.opened_sources import opened
from orchestrator.command_line.progress_bar import ProgressBar
from orchestrator.command_line.study_table import print_studies
from orchestrator.consoles import console_for
from sweeps.errors import ConfigError, LogError

#: Options of curves alone, with their defaults.
_ONLY_CURVES: dict[str, object] = {
    "centre": "mean",
    "band": "std",
    "aggregate_band": "bootstrap",
    "quantiles": None,
    "smooth": "none",
    "aggregate": None,
    "length": False,
    "seeds": False,
}


def plot(arguments: argparse.Namespace) -> int:
    """Draw what was asked for, and tell where it lies and what it says."""
    view = _view(arguments)
    with opened(arguments.paths, arguments) as sources, ProgressBar("drawing", is_bytes=False) as progress:
        sources.binning = progress.update
        studies = _studies(arguments, sources) if arguments.study else []
        pictures = _pictures(arguments, sources, view, studies)
    if arguments.json:
        told = {"pictures": [picture.to_json() for picture in pictures]}
        print(json.dumps(told | ({"studies": [study.to_json() for study in studies]} if arguments.study else {})))
        return 0
    for picture in pictures:
        print(*picture.files.values(), sep="\n")
        if not studies:
            print(*(f"  {note}" for note in picture.notes), sep="\n", end="\n" if picture.notes else "")
    print_studies(console_for(sys.stdout), studies)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that would change nothing."""
    kind, only_curves = (
        ("--study", {"x": "frames", "points": None}) if arguments.study else ("--fan", {"confidence": 0.95})
    )
    if not (arguments.study or arguments.fan):
        return
    for name, default in (_ONLY_CURVES | only_curves).items():
        if getattr(arguments, name) != default:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} has no meaning with {kind}, which draws no curves. Leave one out.")


def _view(arguments: argparse.Namespace) -> CurveView:
    _check(arguments)
    return CurveView(
        axis=axis_named(arguments.x),
        points=arguments.points,
        centre=arguments.centre,
        band="quantiles" if arguments.quantiles and arguments.band == "std" else arguments.band,
        aggregate_band=arguments.aggregate_band,
        quantiles=tuple(arguments.quantiles or (0.25, 0.75)),
        confidence=arguments.confidence,
        smoothing=Smoothing.parse(arguments.smooth),
    )


def _studies(arguments: argparse.Namespace, sources: Sources) -> list[RatioStudy]:
    scale_of = scales(arguments.protocol, arguments.config_dir)
    found = ratio_study(sources, scale_of=scale_of, confidence=arguments.confidence)
    studies = [study for study in found if study.tasks]
    if not studies:
        where = ", ".join(str(source.path) for source in sources.sources)
        raise LogError(
            f"There is no replay ratio to study in {where}: no method has data at two train ratios or more. "
            f"Sweep it, as in train_ratio=64,256."
        )
    return studies


def _pictures(
    arguments: argparse.Namespace, sources: Sources, view: CurveView, studies: list[RatioStudy]
) -> list[Plot]:
    folder: Path = arguments.out.expanduser() if arguments.out else plots_folder(sources)
    formats = list(dict.fromkeys(arguments.format.split(",")))
    if arguments.study:
        return plot_studies(studies, folder, name=arguments.name or "ratio_study", formats=formats)
    if arguments.fan:
        return [plot_fans(sources, folder, name=arguments.name or "fans", view=view, formats=formats)]
    return [
        plot_curves(
            sources,
            folder,
            name=arguments.name or "curves",
            view=view,
            formats=formats,
            with_tasks=arguments.aggregate != "only",
            with_aggregates=arguments.aggregate is not None,
            with_lengths=arguments.length,
            with_seeds=arguments.seeds,
            scale_of=scales(arguments.protocol, arguments.config_dir),
        )
    ]
