"""`dreamsweep table`: what it prints in each format, and what it refuses."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from command_line import said
from rich.console import Console

from orchestrator.command_line.table_command import print_tables, window
from sweeps.errors import ConfigError

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "score_files"


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Pong at the end of its budget: two seeds of one method, and one that was stopped before the window."""
    runs = [
        {"task": "atari_pong", "method": "one", "seed": 0, "xs": [395_000], "ys": [14.6]},
        {"task": "atari_pong", "method": "one", "seed": 1, "xs": [395_000], "ys": [7.0]},
        {"task": "atari_pong", "method": "two", "seed": 0, "xs": [200_000], "ys": [1.0]},
    ]
    path = tmp_path / "atari100k-scores.json.gz"
    path.write_bytes(gzip.compress(json.dumps(runs).encode()))
    return path


def test_a_piped_table_is_plain_text(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole output: the suite's own protocol, the coverage of each cell, and why seeds are missing."""
    code, out, err = said(capsys, "table", str(scores))

    assert (code, err) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == [
        "atari100k",
        "task        one                       two",
        "atari_pong   10.8  ± 48.3        2/2   –*  0/1",
        "",
        "Mean (%)     89.2  [78.5, 100.0] 1/1   –*",
        "Median (%)   89.2  [78.5, 100.0] 1/1   –*",
        "Scores: the mean of a seed's episodes from 390,000 to 400,000 environment frames, then the mean over the "
        "seeds that have any. n/N: seeds with data, seeds planned.",
        "± 95 % interval over seeds (Student's t). ▸: the best, and what the intervals do not tell from it.",
        "Aggregates in % by atari57_gamer, n/N their tasks: [95 % interval], 10,000 draws of seeds within tasks, and "
        "the range when any one task is left out.",
        "* Incomplete: 1 cell of 2, 1 of 3 seeds.",
        "* atari_pong, two: 0 of 1 seed; 1 ended before the window.",
        "Shown: 1 task of the suite's 26.",
    ]


def test_a_suite_without_a_score_does_not_hide_the_others(
    scores: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told beside them; alone, it is an error."""
    early = tmp_path / "dmc_proprio-scores.json.gz"
    runs = [{"task": "dmc_walker_walk", "method": "one", "seed": 0, "xs": [1000], "ys": [14.6]}]
    early.write_bytes(gzip.compress(json.dumps(runs).encode()))
    code, out, _ = said(capsys, "table", str(scores), str(early), "--json")

    assert (code, [table["suite"] for table in json.loads(out)["tables"]]) == (0, ["atari100k"])
    assert caplog.messages[0].startswith("No run of dmc_proprio has an episode in the window")
    assert said(capsys, "table", str(early))[0] == 1


@pytest.mark.parametrize("form", ["text", "csv"])
def test_a_table_makes_the_folder_that_it_goes_to(
    scores: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pictures do; a place that cannot be one is told."""
    target = tmp_path / "paper" / "table"

    assert said(capsys, "table", str(scores), "--format", form, "--out", str(target)) == (0, "", "")
    assert "atari_pong" in target.read_text(encoding="utf-8")
    code, _, err = said(capsys, "table", str(scores), "--format", form, "--out", str(target / "below"))
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot be written" in err


def test_a_best_cell_is_marked_where_nothing_can_be_bold(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sign in a pipe, bold in a terminal."""
    piped = said(capsys, "table", str(scores), "--window", "1e5:4e5")[1]

    assert "▸10.8" in piped
    assert "▸: the best" in piped


def test_json_and_csv_are_for_programs(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object, one CSV table."""
    (table,) = json.loads(said(capsys, "table", str(scores), "--json")[1])["tables"]
    rows = list(csv.DictReader(io.StringIO(said(capsys, "table", str(scores), "--format", "csv")[1])))

    assert table["protocol"]["name"] == "atari100k"
    assert [(cell["label"], cell["seeds_with_data"], cell["seeds_planned"]) for cell in table["cells"]] == [
        ("one", 2, 2),
        ("two", 0, 1),
    ]
    assert table["headlines"][0]["value"] == pytest.approx((100 + 100 * 27.7 / 35.3) / 2)
    assert [(row["kind"], row["label"]) for row in rows] == [
        ("task", "one"),
        ("task", "two"),
        ("aggregate", "one"),
        ("aggregate", "one"),
    ]


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv", "json"])
def test_each_format_can_go_to_a_file(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """The file holds what would have been printed."""
    printed = said(capsys, "table", str(scores), "--format", form)[1]
    code, out, err = said(capsys, "table", str(scores), "--format", form, "--out", str(tmp_path / "table"))

    assert (code, out, err) == (0, "", "")
    assert (tmp_path / "table").read_text() == printed


def test_options_take_the_place_of_the_protocols(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Window, normaliser and metrics; another protocol; only some labels."""

    def table(*options: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(said(capsys, "table", str(scores), "--json", *options)[1])["tables"][0]
        return found

    assert table("--window", "100_000:300_000")["windows"] == {"atari_pong": [100_000, 300_000]}
    assert table("--window", "50%")["windows"] == {"atari_pong": [197_500, 395_000]}
    assert table("--protocol", "final")["windows"] == {"atari_pong": [355_500, 395_000]}
    assert table("--normaliser", "none")["unit"] == "score"
    assert [one["metric"] for one in table("--metric", "iqm", "--metric", "mean")["headlines"]] == ["iqm", "mean"]  # type: ignore[attr-defined,index,union-attr,misc]
    assert table("--label", "one")["labels"] == ["one"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "atari"], "Unknown protocol 'atari'. Did you mean 'atari57'? Allowed: atari100k, atari57, dmc"),
        (["--protocol", "procgen"], "The normaliser 'procgen_hard' has no scores for atari_pong."),
        (["--protocol", "atari57"], "atari100k/atari_pong/one/0 is furthest, at 395,000."),
        (["--normaliser", "atari"], "Unknown normaliser 'atari'."),
        (["--metric", "average"], "Unknown metric 'average'."),
        (["--window", "4e5"], "--window is '4e5'; expected the first and the last environment frame"),
        (["--label", "three"], "Unknown label 'three'. Allowed: one, two."),
        (["--format", "html"], "invalid choice: 'html'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    scores: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """Exit code 1, nothing printed, no traceback."""
    capsys.readouterr()
    try:
        code, out, err = said(capsys, "table", str(scores), *options)
    except SystemExit as stop:
        code, (out, err) = int(str(stop.code)), capsys.readouterr()

    assert (code, out) == (1, "")
    assert message in err


@pytest.mark.parametrize("text", ["", "5", "5:4", "a:b", "0%", "101%", "1:2:3", "-5:4", "1.5:3", "nan:4", "1:inf"])
def test_windows_that_make_no_sense_are_refused(text: str) -> None:
    """With both forms that do."""
    with pytest.raises(ConfigError, match="as 390_000:400_000, or a last share, as 10%"):
        window(text)


def test_many_labels_go_below_each_other_in_a_narrow_terminal(tmp_path: Path) -> None:
    """No column is cut; every label stands in a table of its own if need be."""
    from aggregation.evaluation.evaluation import evaluate
    from aggregation.sources.sources import open_sources

    runs = [
        {"task": "atari_pong", "method": f"method_number_{number}", "seed": 0, "xs": [395_000], "ys": [number]}
        for number in range(9)
    ]
    path = tmp_path / "atari100k-scores.json"
    path.write_text(json.dumps(runs))
    out = io.StringIO()
    with open_sources([path]) as sources:
        print_tables(Console(file=out, width=60, force_terminal=True), [evaluate(sources)])

    shown = out.getvalue()
    assert "…" not in shown
    assert all(f"method_number_{number}" in shown for number in range(9))
    assert shown.count("atari_pong") >= 3


def test_a_published_file_gives_the_known_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Atari100k by DreamerV3: mean 124.7 % and median 49.4 % of human, with Up N Down marked as 1 of 5 seeds."""
    if not SHARED.exists():
        pytest.skip("the published score files are not here")
    file = str(SHARED / "atari100k-dreamerv3.json.gz")
    out = said(capsys, "table", file, "--protocol", "atari100k")[1]
    said(capsys, "import", file, "--store", str(tmp_path))
    assert said(capsys, "table", str(tmp_path), "--protocol", "atari100k")[1] == out

    assert "Mean (%)                124.7* [118.9, 130.5] 26/26" in out
    assert "Median (%)               49.4* [40.8, 54.1]   26/26" in out
    assert "* atari_up_n_down, dreamerv3: 1 of 5 seeds; 4 ended before the window." in out


def test_the_table_can_be_drawn(scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside what is printed; one picture per suite where there are several."""
    other = tmp_path / "gym-scores.json"
    other.write_text(json.dumps([{"task": "a", "method": "one", "seed": 0, "xs": [5], "ys": [1.0]}]))
    code, out, err = said(capsys, "table", str(scores), str(other), "--plot", str(tmp_path / "table.png"))

    assert (code, err) == (0, "")
    assert "atari_pong" in out
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["table-atari100k.png", "table-gym.png"]
