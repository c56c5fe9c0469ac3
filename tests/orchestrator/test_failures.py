"""The report of failures: equal causes together, each with its last lines and its path."""

import io
from pathlib import Path

from rich.console import Console

from orchestrator.attempts.tail import last_lines
from orchestrator.command_line.failures import failure_json, print_failures
from orchestrator.states import Run
from sweeps.contracts import Resources, RunKey
from sweeps.layout import SweepRoot


def failed(root: SweepRoot, seed: int, cause: str = "it broke [bold]") -> Run:
    key = RunKey(suite="gym", task="t", label="m", seed=seed)
    log = root.run_dir(key).stdout
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number} of {seed} [red]\n\n" for number in range(20)))
    run = Run(key, "m × gym", Resources(), (0, seed, seed), state="failed", attempt=2)
    run.outcome, run.cause, run.evidence = "crashed", cause, ("line 19",)
    return run


def printed(root: SweepRoot, runs: list[Run]) -> list[str]:
    stream = io.StringIO()
    print_failures(Console(file=stream, width=240), runs, root)
    return stream.getvalue().splitlines()


def test_equal_causes_stand_together(tmp_path: Path) -> None:
    """The first in full, the others by name; text of the log is never read as markup."""
    root = SweepRoot(tmp_path)
    lines = printed(root, [failed(root, 0), failed(root, 1), failed(root, 2, "another")])

    log = root.run_dir(RunKey(suite="gym", task="t", label="m", seed=0)).stdout
    assert lines[:2] == ["", "2 failed (crashed): it broke [bold]"]
    assert lines[2:12] == [
        "  gym/t/m/0",
        *(f"    | line {number} of 0 [red]" for number in range(12, 20)),
        f"    {log}",
    ]
    assert lines[12:15] == ["  gym/t/m/1", "", "1 failed (crashed): another"]


def test_no_failures_are_no_lines(tmp_path: Path) -> None:
    """All is well without a word."""
    assert printed(SweepRoot(tmp_path), []) == []


def test_many_causes_are_counted(tmp_path: Path) -> None:
    """The end of the output stays readable."""
    root = SweepRoot(tmp_path)
    lines = printed(root, [failed(root, seed, f"cause {seed}") for seed in range(13)])

    assert lines[-1] == "and failures of 3 more causes"


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    """A run may fail before it wrote anything."""
    assert last_lines(tmp_path / "none", 8) == []


def test_of_a_huge_log_only_the_end_is_read(tmp_path: Path) -> None:
    """Broken characters included."""
    log = tmp_path / "log"
    log.write_bytes(b"x" * 10_000_000 + b"\n\xff last\n  \n")

    assert last_lines(log, 1) == ["\ufffd last"]


def test_a_failure_as_json(tmp_path: Path) -> None:
    """Everything that a script needs to decide what to do."""
    root = SweepRoot(tmp_path)

    assert (
        failure_json(failed(root, 0, "it broke"), root).items()
        >= {
            "run": "gym/t/m/0",
            "outcome": "crashed",
            "cause": "it broke",
            "evidence": ["line 19"],
            "attempts": 2,
            "log": str(tmp_path / "runs/gym/t/m/0/stdout.log"),
        }.items()
    )
