"""`dreamsweep report`, and the report with which a sweep ends."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from command_line import run_words, said

from orchestrator.command_line.root_facts import root_facts
from sweeps.layout import SweepRoot


def shown(path: Path) -> dict[str, Any]:
    """The payload of a page."""
    found = re.search(
        r'<script type="application/json" id="payload">(.*?)</script>', path.read_text("utf-8"), re.DOTALL
    )
    assert found is not None
    payload: dict[str, Any] = json.loads(found[1])
    return payload


def test_a_sweep_ends_with_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it says is final, and how to have it again."""
    words = run_words(tmp_path, "seed=range(0,2)", "train_ratio=16,64", "name=two ratios")
    code, out, _ = said(capsys, *words)

    assert code == 0
    path = SweepRoot(tmp_path).report
    assert f"report       {path}: 4 runs" in out
    payload = shown(path)
    assert payload["title"] == "two ratios"
    assert payload["notes"] == []
    assert payload["progress"]["counts"] == [{"state": "finished", "count": 4}]
    assert [study["ratios"] for study in payload["ratio"]] == [[16, 64]]
    facts = {fact["name"]: fact["value"] for fact in payload["origin"]["facts"]}
    assert facts["trainer"].startswith("command ")
    assert payload["origin"]["texts"][0]["title"] == "sweep.yaml"
    assert payload["commands"][0]["text"].startswith("dreamsweep run suite=gym task=gym_CartPole-v1 trainer=command ")


def test_a_suite_of_ones_own_is_reported_by_its_own_protocol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the end of the sweep as by `dreamsweep report --config-dir`."""
    own = tmp_path / "own"
    for name, text in {
        "suite/ponds": "name: ponds\ntasks: [ponds_a, ponds_b]\nsteps: 5\nevaluation: deep\n",
        "protocol/deep": "window: [1, 5]\nscores: [0, 10]\naggregate: [mean]\n",
    }.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / f"{name}.yaml").write_text(text)
    words = run_words(tmp_path / "root", "task=all", "--config-dir", str(own))
    words[words.index("suite=gym")] = "suite=ponds"
    words.remove("task=gym_CartPole-v1")
    code, _, err = said(capsys, *words)
    payload = shown(SweepRoot(tmp_path / "root").report)

    assert (code, err) == (0, "")
    assert payload["tables"][0]["about"].startswith("Protocol deep: ")
    assert payload["commands"][-1]["text"].endswith(f"--config-dir {own}")


def test_the_words_of_each_launch_are_kept_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same again adds nothing; other words do."""
    first, second = run_words(tmp_path), run_words(tmp_path, "seed=0,1")
    for words in (first, first, second):
        assert said(capsys, *words)[0] == 0

    launches = root_facts(SweepRoot(tmp_path)).launches
    assert len(launches) == 2
    assert launches[1].endswith(" seed=0,1")


def test_a_folder_whose_name_is_no_text_has_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Older file systems hold names in older encodings."""
    logs = tmp_path / os.fsdecode(b"caf\xe9")
    run = logs / "gym_CartPole-v1" / "m" / "0"
    run.mkdir(parents=True)
    (run / "scores.jsonl").write_text('{"step": 10, "episode/score": 1.0}\n')
    code, _, err = said(capsys, "report", str(logs), "--log-suite", "gym", "--out", str(tmp_path / "report.html"))

    assert (code, err) == (0, "")
    assert "caf?" in json.dumps(shown(tmp_path / "report.html"))


def test_failures_reach_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep without a single score has a report too, which tells why."""
    command = "python -c {run_dir}"  # no program: the interpreter fails
    code, _, _ = said(capsys, *run_words(tmp_path, "seed=range(0,2)", "retry.crashed=0", command=command))

    assert code == 2
    payload = shown(SweepRoot(tmp_path).report)
    assert payload["tables"] == []
    assert [(group["runs"], group["outcome"]) for group in payload["failures"]["groups"]] == [(2, "crashed")]
    (reason,) = payload["coverage"]["reasons"]
    assert (reason["state"], reason["runs"]) == ("failed", 2)
    assert reason["cause"] == payload["failures"]["groups"][0]["cause"]


def test_runs_that_are_held_back_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They wait for somebody to mend the cause, and not for room."""
    overrides = ["seed=range(0,4)", "retry.crashed=0", "hold_after=1", "max_concurrent=1"]
    assert said(capsys, *run_words(tmp_path, *overrides, command="python -c {run_dir}"))[0] == 2

    payload = shown(SweepRoot(tmp_path).report)
    reasons = {reason["state"]: (reason["runs"], reason["cause"]) for reason in payload["coverage"]["reasons"]}
    assert reasons["failed"][0] == 1
    assert reasons["planned"][0] == 3
    assert reasons["planned"][1].startswith("held back: ")
    assert [each["group"] for each in payload["failures"]["held"]] == ["dreamerv3 × gym"]


def test_a_report_of_several_roots_says_where_it_shall_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One page about two sweeps belongs to neither root; their labels are told apart."""
    roots = [tmp_path / name for name in ("one", "two")]
    for root in roots:
        assert said(capsys, *run_words(root))[0] == 0
    words = ["report", *map(str, roots)]

    code, _, err = said(capsys, *words)
    assert code == 1
    assert "--out FILE" in err
    code, out, err = said(capsys, *words, "--out", str(tmp_path / "both.html"), "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "path": str(tmp_path / "both.html"),
        "bytes": (tmp_path / "both.html").stat().st_size,
        "runs": 2,
        "tasks": 1,
        "labels": 2,
    }
    payload = shown(tmp_path / "both.html")
    assert [label["name"] for label in payload["labels"]] == ["dreamerv3 (one)", "dreamerv3 (two)"]
    assert payload["commands"][-1]["text"] == f"dreamsweep {' '.join(words)} --out {tmp_path / 'both.html'}"


def test_a_report_of_logs_by_a_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Logs that dreamsweep did not launch have a report as well, and nothing is written beside them."""
    folder = tmp_path / "logs" / "dmc_walker_walk" / "dreamerv3" / "0"
    folder.mkdir(parents=True)
    (folder / "scores.jsonl").write_text('{"step": 1000, "episode/score": 7.0}\n')
    before = sorted((tmp_path / "logs").rglob("*"))
    words = ["report", str(tmp_path / "logs"), "--out", str(tmp_path), "--protocol"]

    assert said(capsys, *words, "final")[0] == 0
    assert sorted((tmp_path / "logs").rglob("*")) == before
    payload = shown(tmp_path / "index.html")
    assert payload["tables"][0]["rows"][0]["cells"][0]["mean"] == 7
    code, _, err = said(capsys, *words, "finale")
    assert code == 1
    assert "final" in err


def test_a_report_of_a_sweep_that_has_not_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Planned runs are all that there is to tell."""
    assert said(capsys, *run_words(tmp_path, "max_gpu_hours=0.001", "seed=range(0,3)"))[0] == 0
    (journal,) = [SweepRoot(tmp_path).journal]
    planned = [line for line in journal.read_text().splitlines() if '"SweepOpened"' in line or '"RunPlanned"' in line]
    for path in (tmp_path / "runs", tmp_path / ".collected"):
        path.rename(tmp_path.parent / f"{tmp_path.name}-{path.name}")
    for name in ("scores", "runs.parquet", "faults.parquet"):
        (tmp_path / name).unlink()
    journal.write_text("".join(f"{line}\n" for line in planned))

    code, _, err = said(capsys, "report", str(tmp_path))
    assert (code, err) == (0, "")
    payload = shown(SweepRoot(tmp_path).report)
    assert payload["progress"]["counts"] == [{"state": "planned", "count": 3}]
    assert payload["coverage"]["reasons"][0]["cause"] == "nobody drives the sweep"


def test_what_is_no_root_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a sentence that names the path."""
    code, _, err = said(capsys, "report", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x.html"))

    assert code == 1
    assert f"{tmp_path}/nowhere does not exist" in err
