"""The file attempts.jsonl of a run directory: a line for each attempt, completed at its end."""

import json
from typing import Any

from sweeps.contracts import Attempt
from sweeps.files import read_records, write_atomically
from sweeps.layout import RunDir


def write_attempt(run_dir: RunDir, record: Attempt) -> None:
    """Put an attempt's line in place of what is there of it, and close those of earlier attempts."""
    earlier = [line for number, line in _numbered(run_dir).items() if number != record.attempt]
    lines = [*(_closed(run_dir, line) for line in earlier), record.to_json()]
    lines.sort(key=lambda line: int(line["attempt"]))
    write_atomically(run_dir.attempts, "".join(json.dumps(line) + "\n" for line in lines))


def has_ended_well(run_dir: RunDir) -> bool:
    """Whether the latest attempt's guard saw its trainer end with 0; perhaps nobody has marked the run as done."""
    lines = _numbered(run_dir)
    if not lines:
        return False
    latest = max(lines)
    # A trainer whose losses were NaN ends with 0 as well: what was judged counts.
    if lines[latest].get("outcome") not in (None, "succeeded", "worker_lost"):
        return False
    status = next(read_records(run_dir.exit_status(latest)), {})
    return status.get("exit_code") == 0 and not status.get("stopped")


def ended_at(run_dir: RunDir, attempt: int) -> float | None:
    """When the guard of an attempt saw its trainer end, in seconds since 1970; None where it wrote nothing down."""
    moment = next(read_records(run_dir.exit_status(attempt)), {}).get("ended_at")
    return float(moment) if isinstance(moment, int | float) else None


def latest_attempt(run_dir: RunDir) -> int:
    """The highest number of an attempt that a run's folder tells of; 0 where there was none."""
    exits = [path.name.split(".")[0] for path in run_dir.exit_status(0).parent.glob("*.exit.json")]
    return max([*_numbered(run_dir), *(int(number) for number in exits if number.isdecimal())], default=0)


def _numbered(run_dir: RunDir) -> dict[int, dict[str, Any]]:
    """The lines by attempt; what is no line of ours is left out."""
    lines = (line for line in read_records(run_dir.attempts) if type(line.get("attempt")) is int)
    return {line["attempt"]: line for line in lines}


def _closed(run_dir: RunDir, line: dict[str, Any]) -> dict[str, Any]:
    """An earlier attempt's line; where nobody saw it end, what its guard saw."""
    if line.get("outcome") is not None:
        return line
    status = next(read_records(run_dir.exit_status(int(line["attempt"]))), {})
    cause = f"its worker was lost; {status['stopped']}" if status.get("stopped") else "its worker was lost"
    return {
        **line,
        "outcome": "worker_lost",
        "cause": cause,
        "ended_at": status.get("ended_at"),
        "exit_code": status.get("exit_code"),
    }
