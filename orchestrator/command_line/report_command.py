"""The command `report`: one HTML file about sweep roots, stores, logs or score files."""

import argparse
import contextlib
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from aggregation.report.facts import RootFacts
from aggregation.report.payload import Circumstances
from aggregation.report.report import Report, write_report
from aggregation.sources.sources import Sources, open_sources
from orchestrator import clock
from orchestrator.command_line.opened_sources import opened
from orchestrator.command_line.progress_bar import ProgressBar
from orchestrator.command_line.root_facts import root_facts
from orchestrator.consoles import console_for
from orchestrator.version import version
from sweeps.errors import ConfigError, DreamsweepError
from sweeps.layout import SweepRoot
from sweeps.wording import counted


def report(arguments: argparse.Namespace) -> int:
    """Write the report of what was given."""
    paths = [path.expanduser().absolute() for path in arguments.paths]
    with opened(paths, arguments) as sources, ProgressBar("writing", is_bytes=False) as progress:
        sources.binning = progress.update
        written = report_of(
            sources,
            _place(paths, arguments.out),
            protocol=arguments.protocol,
            config_dir=arguments.config_dir,
            words=_words(arguments),
        )
    if arguments.json:
        json.dump(written.to_json(), sys.stdout)
        print()
    else:
        print_report(console_for(sys.stdout), written)
    return 0


def report_of(
    sources: Sources,
    path: Path,
    *,
    protocol: str | None = None,
    config_dir: Path | None = None,
    words: list[str] | None = None,
) -> Report:
    """Write the report of opened sources, with all that their roots tell.

    Args:
        sources: What was opened.
        path: Of the file.
        protocol: By which scores are judged; None for each suite's own.
        config_dir: A user's own config directory.
        words: Those after `dreamsweep` that make it again; None to name the sources.
    """
    made = _circumstances(_facts(sources), words or [])
    return write_report(sources, path, made, protocol=protocol, config_dir=config_dir)


def final_report(root: SweepRoot, config_dir: Path | None = None) -> Report:
    """The report of a sweep by the orchestrator that still holds its root, and has nothing more to do."""
    words = [] if config_dir is None else ["report", str(root.path), "--config-dir", str(config_dir.resolve())]
    with open_sources([root.path], config_dir=config_dir) as sources:
        facts = {path: replace(known, orchestrator=None) for path, known in _facts(sources).items()}
        return write_report(sources, root.report, _circumstances(facts, words), config_dir=config_dir)


def print_report(console: Console, written: Report) -> None:
    """Where it lies, and how large it is."""
    console.print(
        f"report       {written.path}: {counted(written.runs, 'run')}, {written.bytes / 1e6:.2f} MB",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def _circumstances(facts: Mapping[str, RootFacts], words: Sequence[str]) -> Circumstances:
    at = datetime.datetime.fromtimestamp(clock.now(), tz=datetime.UTC)
    return Circumstances(at=at, version=version(), words=words, facts=facts)


def _facts(sources: Sources) -> dict[str, RootFacts]:
    found = {}
    for source in sources.sources:
        root = SweepRoot(source.path)
        if source.has_plan:
            with contextlib.suppress(DreamsweepError):
                found[str(source.path)] = root_facts(root)
    return found


def _place(paths: list[Path], out: Path | None) -> Path:
    """Where the report goes: into the root, unless it is about more than one, or about the files of others."""
    if out is not None:
        out = out.expanduser().absolute()
        return out / "index.html" if out.is_dir() else out
    root = SweepRoot(paths[0])
    if len(paths) == 1 and (root.journal.exists() or root.config.exists() or root.collected.is_dir()):
        return root.report
    raise ConfigError(
        f"Say where the report shall go, as --out FILE: {', '.join(map(str, paths))} is not one sweep root, and "
        f"nothing is written into folders of other programs."
    )


def _words(arguments: argparse.Namespace) -> list[str]:
    """The command as it was given, without what does not change the report."""
    words = ["report", *map(str, arguments.paths)]
    for name in ("suite", "task", "label"):
        for value in getattr(arguments, name) or ():
            words += [f"--{name}", value]
    for name in ("log_suite", "protocol", "config_dir", "out"):
        value = getattr(arguments, name)
        words += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    return words
