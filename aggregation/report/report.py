"""Writes the report of some sources."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aggregation.evaluation.scales import scales
from aggregation.ratio_study.ratio_study import ratio_study
from aggregation.report.page import page
from aggregation.report.payload import Circumstances, payload
from aggregation.report.table_part import judgements
from aggregation.sources.sources import Sources
from aggregation.verdicts.lookout import early_warnings
from sweeps.errors import LogError
from sweeps.files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report that was written."""

    path: str
    bytes: int
    runs: int
    tasks: int
    labels: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def write_report(
    sources: Sources,
    path: Path,
    made: Circumstances,
    *,
    protocol: str | None = None,
    config_dir: Path | None = None,
) -> Report:
    """Write the page of some sources as one file, in place of an earlier one.

    Args:
        sources: What was opened.
        path: Of the file.
        made: When, how, and what is known of the roots.
        protocol: By which scores are judged; None for each suite's own.
        config_dir: A user's own config directory.

    Raises:
        LogError: the file cannot be written.
        UnknownNameError: there is no such protocol.
    """
    shown: Mapping[str, Any] = payload(
        sources,
        judgements(sources, protocol, config_dir),
        ratio_study(sources, scale_of=scales(protocol, config_dir)),
        early_warnings(sources) if _is_watched(sources) else [],
        made,
    )
    # A path need not be UTF-8; the page is.
    content = page(dict(shown)).encode("utf-8", "replace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise LogError(
            f"{path} cannot be written: {error.strerror or error}. Expected a place for the report; name another one "
            f"with --out."
        ) from None
    return Report(
        path=str(path),
        bytes=len(content),
        runs=len(sources.runs),
        tasks=len(shown["tasks"]),
        labels=len(shown["labels"]),
    )


def _is_watched(sources: Sources) -> bool:
    """Whether there is something under way, or something to hold it beside: what is over is as it is."""
    return any(run.state in ("running", "reference") for run in sources.runs)
