"""Makes reports for tests, of a few runs whose scores are known, and the browser that looks at them."""

import contextlib
import datetime
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from log_builders import log_text, write_foreign
from playwright.sync_api import Browser, sync_playwright

from aggregation.evaluation.scales import scales
from aggregation.ratio_study.ratio_study import ratio_study
from aggregation.report.facts import RootFacts
from aggregation.report.payload import Circumstances, payload
from aggregation.report.table_part import judgements
from aggregation.sources.sources import open_sources
from aggregation.verdicts.lookout import early_warnings

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser, as containers have it: little shared memory, and no sandbox for root."""
    words = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=words)
        yield browser
        browser.close()


TASKS = ("dmc_walker_walk", "dmc_cheetah_run")
RATIOS = (32, 128, 512)
AT = datetime.datetime(2026, 3, 1, 14, 5, tzinfo=datetime.UTC)


def score_of(step: int, ratio: float, seed: int) -> float:
    """A straight line: the higher the ratio, the steeper; seeds lie 10 apart."""
    return step / 1000 * ratio / 512 + 10 * seed


def write_logs(
    top: Path, *, tasks: Sequence[str] = TASKS, labels: Sequence[str] | None = None, seeds: int = 2, points: int = 200
) -> Path:
    """Logs of a label per ratio, or of the given labels, each with an episode every 2,500 frames."""
    names = [f"dreamerv3_tr{ratio}" for ratio in RATIOS] if labels is None else labels
    for task in tasks:
        for place, label in enumerate(names):
            for seed in range(seeds):
                steps = [2500 * (point + 1) for point in range(points)]
                ratio = RATIOS[place % len(RATIOS)]
                text = log_text([(step, score_of(step, ratio, seed)) for step in steps])
                write_foreign(top, text, task=task, label=label, seed=seed)
    return top


def payload_of(
    paths: Sequence[Path], facts: Mapping[str, RootFacts] | None = None, *, suite: str = "dmc_proprio"
) -> dict[str, Any]:
    """The payload of what lies at some paths; `suite` is that of logs."""
    made = Circumstances(at=AT, version="1.2.3", words=["report", "there"], facts=facts or {})
    with open_sources(paths, suite=suite) as sources:
        studies = ratio_study(sources, scale_of=scales(), reps=50)
        return payload(sources, judgements(sources), studies, early_warnings(sources), made)
