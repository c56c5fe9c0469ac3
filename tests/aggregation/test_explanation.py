"""What is told about the seams of one run, and the commands that print it."""

import json
from pathlib import Path

import pytest
from log_builders import attempt, line, log_text, write_foreign, write_launched

from aggregation.dataset.collect import collect
from aggregation.dataset.explanation import explain
from orchestrator.cli import main
from sweeps.errors import LogError, UnknownNameError

LAUNCHED = "dmc_proprio/dmc_walker_walk/dreamerv3/0"
FOREIGN = "dmc/dmc_walker_walk/dreamerv3/0"


def test_each_lost_row_is_laid_to_the_seam_that_made_it_void(tmp_path: Path) -> None:
    """A second resume further back takes rows of both earlier attempts; what the first one took is not its doing."""
    one, two = log_text([(10, 1), (20, 1), (30, 1), (40, 1)]), log_text([(32, 2), (42, 2)])
    write_launched(
        tmp_path,
        one + two + log_text([(25, 3), (35, 3)]),
        attempts=[attempt(1, None, 0), attempt(2, 30, len(one)), attempt(3, 15, len(one + two))],
    )
    summary = collect([tmp_path], tmp_path)
    told = explain(tmp_path, LAUNCHED)

    assert [(each.attempt, each.logged, each.kept, each.resumed_frame) for each in told.stretches] == [
        (1, 4, 1, None),
        (2, 2, 0, 30),
        (3, 2, 2, 15),
    ]
    assert [
        [(loss.attempt, loss.rows, loss.first_step, loss.last_step) for loss in each.dropped] for each in told.stretches
    ] == [
        [],
        [(1, 1, 40, 40)],
        [(1, 2, 20, 30), (2, 2, 32, 42)],
    ]
    assert (told.rows, told.dropped) == (summary.rows, summary.dropped) == (3, 5)
    assert told.stretches[1].offset == len(one)
    assert "checkpoint at frame 15" in told.stretches[2].why


def test_detected_seams_are_told_as_such(tmp_path: Path) -> None:
    """Where dreamsweep did not launch the run, the step that went back is the reason; later growth is left out."""
    log = write_foreign(tmp_path / "logs", log_text([(10, 1), (20, 2), (30, 3), (20, 4)]))
    collect([tmp_path / "logs"], tmp_path)
    with log.open("ab") as file:
        file.write(line(5))
    told = explain(tmp_path, FOREIGN)

    assert [(each.kept, each.why) for each in told.stretches] == [
        (1, "The first attempt."),
        (1, "The step goes back to 20: a resume. 2 earlier rows from there on are void."),
    ]


def test_resumes_without_rows_and_without_checkpoint_are_told(tmp_path: Path) -> None:
    """An attempt that never logged still has its seam; one from nothing voids all."""
    content = log_text([(10, 1), (20, 2)])
    write_launched(
        tmp_path, content, attempts=[attempt(1, None, 0), attempt(2, 10, len(content)), attempt(3, None, len(content))]
    )
    collect([tmp_path], tmp_path)
    told = explain(tmp_path, LAUNCHED)

    assert [each.why for each in told.stretches] == [
        "The first attempt.",
        "Resumed from the checkpoint at frame 10. 1 earlier rows beyond it are void.",
        "It found no checkpoint and began from nothing. All 1 earlier rows that still counted are void.",
    ]


def test_unknown_run_and_empty_store_are_errors(tmp_path: Path) -> None:
    """The message lists the runs that there are."""
    with pytest.raises(LogError, match="dreamsweep aggregate"):
        explain(tmp_path, FOREIGN)
    write_foreign(tmp_path / "logs", line(1))
    collect([tmp_path / "logs"], tmp_path)
    with pytest.raises(UnknownNameError, match=FOREIGN):
        explain(tmp_path, FOREIGN + "1")


def test_aggregate_prints_the_explanation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As text, and beside the summary as JSON."""
    write_foreign(tmp_path / "logs", log_text([(10, 1), (20, 2), (15, 3)]))
    command = ["aggregate", str(tmp_path / "logs"), "--store", str(tmp_path), "--explain", FOREIGN]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "attempt 2    1 rows logged, 1 kept, frames 15 to 15" in text
    assert "dropped: 1 of attempt 1, frames 20 to 20" in text

    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["explanation"]["dropped"]) == (2, 1)


def test_import_command_adds_reference_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--label` renames them all."""
    path = tmp_path / "dmc-published.json"
    path.write_text(json.dumps([{"task": "dmc_walker_walk", "method": "m", "seed": 0, "xs": [1], "ys": [5]}]))
    command = ["import", str(path), "--store", str(tmp_path / "store"), "--label", "theirs"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1
    assert main(command) == 0
    assert "1 episode of 1 run" in capsys.readouterr().out
    told = explain(tmp_path / "store", "dmc/dmc_walker_walk/theirs/0")
    assert [each.why for each in told.stretches] == ["Imported from a score file; nothing is dropped."]
