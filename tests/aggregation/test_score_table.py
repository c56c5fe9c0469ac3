"""Score tables in each format, whole, and with names that would be markup."""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import pytest
from test_evaluation import WINDOW, evaluated, run

from aggregation.evaluation.evaluation import Evaluation
from aggregation.evaluation.score_table import score_table
from aggregation.evaluation.table_formats import latex, latex_text, markdown, markdown_text, printable, tidy_csv

#: Every name here is allowed as a task or a label, and every one is markup somewhere.
_TASK = "a_{b}|<b>$x^2$&%#~[y](z)"
_LABEL = "=1+1`*_"


@pytest.fixture
def small(tmp_path: Path) -> Evaluation:
    """Two tasks and labels: one cell lacks a seed, one label a task."""
    return evaluated(
        tmp_path,
        *(run("easy", seed, [score], method="one") for seed, score in enumerate([2.5, 5.0])),
        run("easy", 0, [9.5], method="two"),
        run("easy", 1, [7.0], method="two", xs=[9]),
        run("hard", 0, [1.0], method="one"),
        run("hard", 1, [1.5], method="one"),
    )


def test_markdown(small: Evaluation) -> None:
    """The whole text."""
    assert markdown(score_table(small)) == (
        "**ponds by the protocol mine**\n"
        "\n"
        "|  | one | two |\n"
        "| :-- | --: | --: |\n"
        "| easy | 3.75 ± 15.88 (2/2) | **9.50**\\* (1/2) |\n"
        "| hard | 1.25 ± 3.18 (2/2) | –\\* (0/2) |\n"
        "| Mean | 2.50 [1.75, 3.25] (2/2) | 9.50\\* (1/2) |\n"
        "| one task left out | 1.25 to 3.75 | – |\n"
        "| Median | 2.50 [1.75, 3.25] (2/2) | 9.50\\* (1/2) |\n"
        "| one task left out | 1.25 to 3.75 | – |\n"
        "| Mean, 1 shared task | 3.75 [2.50, 5.00] | **9.50**\\* |\n"
        "| Median, 1 shared task | 3.75 [2.50, 5.00] | **9.50**\\* |\n"
        "\n"
        "- Scores: the mean of a seed's episodes from 10 to 20 environment frames, then the mean over the seeds that "
        "have any. n/N: seeds with data, seeds planned, 2 in every cell.\n"
        "- ± 95 % interval over seeds \\(Student's t\\). Bold: the best, and what the intervals do not tell from it.\n"
        "- Aggregates in score, n/N their tasks: \\[95 % interval\\], 10,000 draws of seeds within tasks, and the "
        "range when any one task is left out.\n"
        "- Those intervals lack the spread of 1 cell with one seed: they are too narrow.\n"
        "- \\* Incomplete: 2 cells of 4, 3 of 8 seeds.\n"
        "- \\* hard, two: 0 of 2 seeds; 2 without a run.\n"
        "- \\* easy, two: 1 of 2 seeds; 1 ended before the window.\n"
        "- No file describes the suite 'ponds'; for logs \\-\\-log\\-suite names the one that they are of.\n"
    )


def test_latex(small: Evaluation) -> None:
    """The table itself, without its notes."""
    lines = latex(score_table(small)).splitlines()

    assert lines[:17] == [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        "\\caption{ponds by the protocol mine}",
        "\\begin{tabular}{lrr}",
        "\\toprule",
        " & one & two \\\\",
        "\\midrule",
        "easy & 3.75 {\\scriptsize $\\pm$ 15.88} & \\textbf{9.50}$^{1/2}$ \\\\",
        "hard & 1.25 {\\scriptsize $\\pm$ 3.18} & --$^{0/2}$ \\\\",
        "\\midrule",
        "Mean & 2.50 {\\scriptsize [1.75, 3.25]} & 9.50$^{1/2}$ \\\\",
        "\\quad one task left out & 1.25 to 3.75 & -- \\\\",
        "Median & 2.50 {\\scriptsize [1.75, 3.25]} & 9.50$^{1/2}$ \\\\",
        "\\quad one task left out & 1.25 to 3.75 & -- \\\\",
        "Mean, 1 shared task & 3.75 {\\scriptsize [2.50, 5.00]} & \\textbf{9.50}$^{*}$ \\\\",
        "Median, 1 shared task & 3.75 {\\scriptsize [2.50, 5.00]} & \\textbf{9.50}$^{*}$ \\\\",
    ]


def test_csv_holds_every_number(small: Evaluation) -> None:
    """In full precision, one row per cell and aggregate; what is missing is empty."""
    rows = list(csv.DictReader(io.StringIO(tidy_csv([small, small]))))

    assert len(rows) == 2 * (4 + 4 + 4)
    assert rows[1] == {
        "suite": "ponds",
        "kind": "task",
        "name": "easy",
        "label": "two",
        "value": "9.5",
        "low": "",
        "high": "",
        "unit": "score",
        "seeds_with_data": "1",
        "seeds_planned": "2",
        "tasks": "",
        "is_best": "1",
        "first_frame": "10",
        "last_frame": "20",
        "leave_one_task_out_low": "",
        "leave_one_task_out_high": "",
    }
    chosen = ("kind", "name", "label", "value", "tasks", "leave_one_task_out_low", "leave_one_task_out_high")
    assert [rows[4][name] for name in chosen] == ["aggregate", "mean", "one", "2.5", "2", "1.25", "3.75"]


def test_names_from_outside_are_never_markup(tmp_path: Path) -> None:
    """Task and label hold the signs of every format at once."""
    hostile = evaluated(tmp_path, run(_TASK, 0, [1.0], method=_LABEL), run("b", 0, [2.0], method=_LABEL))

    shown = markdown(score_table(hostile))
    assert r"| a\_\{b\}\|&lt;b&gt;$x^2$&amp;%\#\~\[y\]\(z\) | 1.00 (1/1) |" in shown
    assert r"|  | =1\+1\`\*\_ |" in shown
    shown = latex(score_table(hostile))
    assert (
        r"a\_\{b\}\textbar{}\textless{}b\textgreater{}\$x\textasciicircum{}2\$\&\%\#\textasciitilde{}[y](z) & 1.00 \\"
        in shown
    )
    rows = list(csv.DictReader(io.StringIO(tidy_csv([hostile]))))
    assert {row["label"] for row in rows} == {f"'{_LABEL}"}, "a spreadsheet would take it for a formula"
    assert _TASK in {row["name"] for row in rows}


def test_signs_that_act_on_a_terminal_or_turn_the_text_are_shown() -> None:
    """Control characters beyond ASCII and those that change the direction of writing."""
    assert printable("a\x9b31mb\u202ec") == "a\\u009b31mb\\u202ec"
    assert markdown_text("\u202e") == r"\\u202e"
    assert latex_text("é\\") == r"U+00E9\textbackslash{}"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_latex_compiles(tmp_path: Path) -> None:
    """With names that hold every special sign."""
    hostile = evaluated(tmp_path, run(_TASK, 0, [1.0], method=_LABEL), run("b", 0, [2.0], method=_LABEL))
    document = (
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,textcomp}\begin{document}"
        + latex(score_table(hostile))
        + r"\end{document}"
    )
    (tmp_path / "a.tex").write_text(document)

    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=batchmode", "a.tex"], cwd=tmp_path, check=False, timeout=60
    )
    assert done.returncode == 0


def test_numbers_of_one_row_have_as_many_decimals(tmp_path: Path) -> None:
    """About three figures of the largest; no negative zero."""
    found = evaluated(
        tmp_path,
        run("big", 0, [46910.04]),
        run("big", 0, [-0.2], method="n"),
        run("mid", 0, [12.34]),
        run("small", 0, [0.123]),
        protocol=WINDOW.model_copy(update={"scores": None}),
    )

    values = {row.name: [entry.value for entry in row.entries] for row in score_table(found).rows}
    assert values == {"big": ["46910", "0"], "mid": ["12.3", "–"], "small": ["0.12", "–"]}


def test_latex_has_minus_signs(tmp_path: Path) -> None:
    """A hyphen before a number is shorter than a minus, and stands closer."""
    lost = evaluated(tmp_path, run("pong", 0, [-4.5]), run("pong", 1, [-4.5]))

    assert "pong & $-$4.50 {\\scriptsize $\\pm$ 0.00} \\\\" in latex(score_table(lost)).splitlines()


def test_one_tasks_score_is_not_told_twice(tmp_path: Path) -> None:
    """An aggregate of a single task, on the same scale, would say the same with another interval."""
    alone = evaluated(tmp_path, run("a", 0, [2.0]), run("a", 1, [4.0]))

    assert [row.name for row in score_table(alone).rows] == ["a"]
    assert not any("Aggregates" in note for note in score_table(alone).notes)
