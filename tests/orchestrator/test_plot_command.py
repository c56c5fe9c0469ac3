"""`dreamsweep plot`: options, mistakes, and where pictures go."""

import gzip
import json
from pathlib import Path

import pytest

from orchestrator.cli import main


def write_log(top: Path, *, task: str = "gym_a", label: str = "m", seed: int = 0, gain: float = 1.0) -> None:
    path = top / task / label / str(seed) / "scores.jsonl"
    path.parent.mkdir(parents=True)
    lines = [json.dumps({"step": step, "episode/score": gain * step}) for step in range(10, 4001, 30)]
    path.write_text("\n".join(lines) + "\n")


def write_grid(top: Path) -> Path:
    """Two tasks at two ratios, two seeds each."""
    for task in ("gym_a", "gym_b"):
        for ratio in (64, 256):
            for seed in (0, 1):
                write_log(top, task=task, label=f"m_tr{ratio}", seed=seed, gain=ratio + seed)
    return top


def pictures(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return json.loads(capsys.readouterr().out)["pictures"]


def test_curves_of_a_store_lie_beside_its_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As PNG and SVG, whose paths are told line by line."""
    write_log(tmp_path / "logs")
    assert main(["aggregate", str(tmp_path / "logs"), "--store", str(tmp_path / "store")]) == 0
    capsys.readouterr()

    assert main(["plot", str(tmp_path / "store")]) == 0
    plots = tmp_path / "store" / "plots"
    assert capsys.readouterr().out.splitlines() == [str(plots / "curves.png"), str(plots / "curves.svg")]
    assert (plots / "curves.svg").read_bytes().startswith(b"<?xml")


def test_pictures_of_logs_go_to_the_current_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written into folders of other programs."""
    write_log(tmp_path / "logs")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    assert main(["plot", str(tmp_path / "logs"), "--format", "png", "--json"]) == 0
    assert pictures(capsys) == [{"png": str(tmp_path / "here/plots/curves.png"), "panels": 1, "labels": 1, "notes": []}]
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["gym_a"]


@pytest.mark.parametrize(
    ("suite", "warnings"),
    [
        ("gymm", ["No file describes the suite 'gymm'. Did you mean 'gym'?"]),
        ("gym", []),
        ("ponds", []),
    ],
)
@pytest.mark.parametrize("command", ["plot", "aggregate"])
def test_a_misspelt_suite_of_logs_is_told(
    command: str, suite: str, warnings: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A user's own suite may have any name; one that is nearly known would quietly change the protocol."""
    write_log(tmp_path / "logs")
    words = {"plot": ["--format", "svg", "--out", str(tmp_path / "here"), "--log-suite"]}
    words["aggregate"] = ["--store", str(tmp_path / "store"), "--suite"]

    assert main([command, str(tmp_path / "logs"), *words[command], suite]) == 0
    assert caplog.messages == warnings


def test_lengths_that_nobody_logged_are_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what would bring them."""
    write_log(tmp_path / "logs")

    assert main(["plot", str(tmp_path / "logs"), "--length", "--format", "svg", "--out", str(tmp_path)]) == 0
    assert "There are no episode lengths: collect the logs with --metrics" in capsys.readouterr().out


def test_every_option_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Logs and a published file in one picture, over updates; the file has no ratio, and that is told."""
    published = tmp_path / "gym-published.json.gz"
    record = {"task": "gym_a", "method": "published", "seed": 0, "xs": [1000, 4000], "ys": [1.0, 2.0]}
    published.write_bytes(gzip.compress(json.dumps([record]).encode()))
    logs = write_grid(tmp_path / "logs")
    words = "--x updates --centre median --band quantiles --quantiles 0.1 0.9 --smooth ema:0.9 --points 20 --length"
    words += " --name all --aggregate --format svg,pdf --json"
    code = main(["plot", str(logs), str(published), "--out", str(tmp_path), *words.split()])

    (picture,) = pictures(capsys)
    assert code == 0
    assert (picture["panels"], picture["labels"]) == (3, 2)
    assert "published" in picture["notes"][0]
    assert Path(picture["svg"]).name == "all.svg"
    assert Path(picture["pdf"]).read_bytes().startswith(b"%PDF")


def test_selection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One task and one label of four cells; and the aggregate alone."""
    logs = write_grid(tmp_path / "logs")
    common = ["plot", str(logs), "--out", str(tmp_path), "--format", "svg", "--json"]

    assert main([*common, "--task", "gym_a", "--label", "m_tr64"]) == 0
    assert [(each["panels"], each["labels"]) for each in pictures(capsys)] == [(1, 1)]
    assert main([*common, "--aggregate", "only"]) == 0
    assert [(each["panels"], each["labels"]) for each in pictures(capsys)] == [(1, 2)]


def test_fans_and_studies_have_names_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that they do not replace the curves."""
    logs = write_grid(tmp_path / "logs")
    common = ["plot", str(logs), "--out", str(tmp_path), "--format", "svg", "--json"]

    assert main([*common, "--fan"]) == 0
    assert [(Path(each["svg"]).name, each["panels"]) for each in pictures(capsys)] == [("fans.svg", 4)]
    assert main([*common, "--study"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [Path(each["svg"]).name for each in told["pictures"]] == ["ratio_study-gym-m.svg"]
    (study,) = told["studies"]
    assert (study["ratios"], [task["task"] for task in study["tasks"]]) == ([64, 256], ["gym_a", "gym_b"])
    assert "equal hours" in study["notes"][0]


def test_a_study_prints_its_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Per task and budget the ratio to take, the next best, the difference, and that two seeds are too few."""
    logs = write_grid(tmp_path / "logs")

    assert main(["plot", str(logs), "--out", str(tmp_path), "--format", "svg", "--study"]) == 0
    out = capsys.readouterr().out
    first = next(line.split() for line in out.splitlines() if line.startswith("gym_a"))
    assert first[:6] == ["gym_a", "environment", "frames", "4,000", "256", "9.76e+05"]
    assert first[-3:] == ["too", "few", "seeds"]
    assert "gym m: train ratio 64, 256" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--x epochs", "Unknown axis 'epochs'"),
        ("--centre mode", "Unknown centre 'mode'"),
        ("--band box", "Unknown band 'box'"),
        ("--smooth gauss:3", "mean:N"),
        ("--smooth mean:4", "odd"),
        ("--quantiles 0.9 0.1", "make no band"),
        ("--confidence 95", "between 0 and 1"),
        ("--points 0", "whole number above 0"),
        ("--format jpeg", "Unknown format 'jpeg'"),
        ("--name a/b", "no file name"),
        ("--task gym_z", "Unknown task 'gym_z'"),
        ("--protocol atari100", "Did you mean 'atari100k'"),
        ("--fan --smooth ema:0.9", "--smooth has no meaning with --fan"),
        ("--study --x updates", "--x has no meaning with --study"),
        ("--study --aggregate", "--aggregate has no meaning with --study"),
        ("--fan --study", "not allowed with"),
        ("--x gpu_hours", "wall_hours works without one"),
        ("--study", "no replay ratio to study"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, told: str
) -> None:
    """One sentence, exit code 1, no picture."""
    write_log(tmp_path / "logs")
    try:
        code = main(["plot", str(tmp_path / "logs"), "--out", str(tmp_path / "out"), *words.split()])
    except SystemExit as refused:  # by the parser
        code = refused.code

    assert code == 1
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
