"""The command `plot`: curves, distributions and replay-ratio studies of anything that holds scores, as pictures."""

import argparse
import json
from pathlib import Path

from aggregation.axes import axis_named
from aggregation.curve_view import CurveView
from aggregation.plots import Plot, plot_curves, plot_fans, plots_folder
from aggregation.ratio_study_plot import plot_studies
from aggregation.scales import scales
from aggregation.smoothing import Smoothing
from aggregation.sources import Sources, open_sources
from orchestrator.progress_bar import ProgressBar
from sweeps.errors import ConfigError, LogError


def plot(arguments: argparse.Namespace) -> int:
    """Draw what was asked for and tell where it lies."""
    view = _view(arguments)
    with ProgressBar("reading", is_bytes=True) as progress:
        sources = open_sources(
            arguments.paths,
            suites=arguments.suite,
            tasks=arguments.task,
            labels=arguments.label,
            suite=arguments.log_suite,
            config_dir=arguments.config_dir,
            brings_up_to_date=True,
            progress=progress.update,
        )
    with sources, ProgressBar("drawing", is_bytes=False) as progress:
        sources.binning = progress.update
        pictures = _pictures(arguments, sources, view)
    if arguments.json:
        print(json.dumps({"pictures": [picture.to_json() for picture in pictures]}))
        return 0
    for picture in pictures:
        print(*picture.files.values(), sep="\n")
        for note in picture.notes:
            print(f"  {note}")
    return 0


def _view(arguments: argparse.Namespace) -> CurveView:
    smoothing = Smoothing.parse(arguments.smooth)
    if arguments.fan and smoothing != Smoothing():
        raise ConfigError(
            f"--smooth {arguments.smooth} has no meaning with --fan, which shows every episode. Leave one out."
        )
    return CurveView(
        axis=axis_named(arguments.x),
        points=arguments.points,
        centre=arguments.centre,
        band="quantiles" if arguments.quantiles and arguments.band == "std" else arguments.band,
        aggregate_band=arguments.aggregate_band,
        quantiles=tuple(arguments.quantiles or (0.25, 0.75)),
        confidence=arguments.confidence,
        smoothing=smoothing,
    )


def _pictures(arguments: argparse.Namespace, sources: Sources, view: CurveView) -> list[Plot]:
    folder: Path = arguments.out.expanduser() if arguments.out else plots_folder(sources)
    formats = list(dict.fromkeys(arguments.format.split(",")))
    scale_of = scales(arguments.protocol, arguments.config_dir)
    if arguments.study:
        name = arguments.name or "ratio_study"
        pictures = plot_studies(sources, folder, name=name, formats=formats, scale_of=scale_of)
        if not pictures:
            where = ", ".join(str(source.path) for source in sources.sources)
            raise LogError(
                f"There is no replay ratio to study in {where}: no method has data at two train ratios or more. "
                f"Sweep it, as in train_ratio=64,256."
            )
        return pictures
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
            scale_of=scale_of,
        )
    ]
