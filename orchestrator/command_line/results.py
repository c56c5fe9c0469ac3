"""What `run` makes of the logs: the dataset while runs are in flight, and files and pictures at the end."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from aggregation.dataset.binning import View
from aggregation.dataset.collect import Summary, collect
from aggregation.dataset.score_files import ScoreFile, export
from aggregation.evaluation.scales import scales
from aggregation.pictures.plots import Plot, plot_curves, plots_folder
from aggregation.pictures.ratio_study_plot import plot_studies
from aggregation.ratio_study.ratio_study import ratio_study
from aggregation.report.report import Report
from aggregation.sources.sources import open_sources
from orchestrator.command_line.dataset_lines import print_score_files, print_summary
from orchestrator.command_line.report_command import final_report, print_report
from sweeps.errors import DreamsweepError, LogError
from sweeps.layout import SweepRoot
from sweeps.settings import ExportSettings

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ResultFiles:
    """What was written."""

    summary: Summary | None = None
    score_files: list[ScoreFile] = field(default_factory=list)
    plot: Plot | None = None
    #: One of each method whose train ratio varies.
    studies: list[Plot] = field(default_factory=list)
    report: Report | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": self.summary.to_json() if self.summary else None,
            "score_files": [file.to_json() for file in self.score_files],
            "plot": self.plot.to_json() if self.plot else None,
            "studies": [study.to_json() for study in self.studies],
            "report": self.report.to_json() if self.report else None,
        }

    def print(self, console: Console) -> None:
        if self.summary is not None:
            print_summary(console, self.summary)
        print_score_files(console, self.score_files)
        if self.plot is not None:
            console.print(f"curves       {self.plot.file}", soft_wrap=True, highlight=False)
        for study in self.studies:
            console.print(f"ratio study  {study.file}", soft_wrap=True, highlight=False)
        if self.report is not None:
            print_report(console, self.report)


class Results:
    """The results of one sweep root; suites and protocols of the user's own config directory count beside ours."""

    def __init__(self, root: SweepRoot, settings: ExportSettings, config_dir: Path | None) -> None:
        self._root = root
        self._config_dir = config_dir
        self._view = View(bins=settings.bins, binsize=settings.binsize, budget=settings.budget, fill=settings.fill)

    def collect_quietly(self) -> None:
        """Bring the dataset up to date. A sweep never dies because a log cannot be read."""
        try:
            collect([self._root.path], self._root.path)
        except (DreamsweepError, OSError) as error:
            # Before the first episode has ended there is nothing to collect.
            level = logging.DEBUG if isinstance(error, LogError) else logging.WARNING
            log.log(level, "The dataset was not brought up to date: %s", error)

    def finish(self) -> ResultFiles:
        """Collect, export, plot and report what there is; what there is not yet is left out."""
        files = ResultFiles()
        try:
            files.summary = collect([self._root.path], self._root.path)
            if files.summary.rows:
                files.score_files = export(self._root.path, view=self._view)
                scale_of = scales(None, self._config_dir)
                with open_sources([self._root.path], config_dir=self._config_dir) as sources:
                    folder = plots_folder(sources)
                    files.plot = plot_curves(sources, folder, scale_of=scale_of)
                    files.studies = plot_studies(ratio_study(sources, scale_of=scale_of), folder)
        except (DreamsweepError, OSError) as error:
            log.warning("The results are not complete: %s", error)
        try:
            # Also of a sweep without any score: it tells why there is none.
            files.report = final_report(self._root, self._config_dir)
        except (DreamsweepError, OSError) as error:
            log.warning("The report was not written: %s", error)
        return files
