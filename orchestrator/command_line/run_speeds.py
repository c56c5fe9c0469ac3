"""Reads how fast the runs under a root went: the trainer's own speed from metrics.jsonl, the rest from the attempts."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sweeps.contracts import RunKey, RunSpec
from sweeps.cost import Measurement
from sweeps.layout import RunDir, SweepRoot

#: As the trainer logs it; the first figure of a run counts its compilation.
_SPEED = re.compile(rb'"fps/policy": ([0-9.eE+-]+)')
_TAIL_BYTES = 2**18
#: Runs read of each suite and label: more tell nothing new.
_RUNS_EACH = 3


def run_speeds(roots: Sequence[Path]) -> Iterator[Measurement]:
    """Up to three runs of each suite and label under each root; what cannot be read tells nothing."""
    for path in roots:
        read: Counter[tuple[str, str]] = Counter()
        for key, run_dir in SweepRoot(path).run_dirs():
            if read[key.suite, key.label] < _RUNS_EACH:
                found = _measurement(key, run_dir, path)
                if found is not None:
                    read[key.suite, key.label] += 1
                    yield found


def _measurement(key: RunKey, run_dir: RunDir, root: Path) -> Measurement | None:
    try:
        speeds = [float(text) for text in _SPEED.findall(_tail(run_dir.metrics))] if run_dir.metrics.exists() else []
        spec = RunSpec.from_json(json.loads(run_dir.spec.read_text(encoding="utf-8")))
        attempts: list[dict[str, Any]] = [
            json.loads(line) for line in run_dir.attempts.read_text().splitlines() if line
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    steady = [speed for speed in speeds[1:] or speeds if speed > 0]
    lasted: float | None = None
    if run_dir.done.exists() and len(attempts) == 1 and attempts[0].get("ended_at"):
        lasted = attempts[0]["ended_at"] - attempts[0]["started_at"]
    if steady:
        speed = median(steady)
    elif lasted:
        speed = spec.schedule.steps / lasted  # a program that logs no speed still shows how long it took
    else:
        return None
    startup = None if lasted is None else max(0.0, lasted - spec.schedule.steps / speed)
    return Measurement(
        suite=key.suite,
        method=spec.method,
        train_ratio=spec.train_ratio,
        policy_steps_per_s=speed,
        startup_s=startup,
        root=str(root),
    )


def _tail(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        return file.read()
