"""Writes score tables as Markdown, LaTeX and CSV. Names from outside are escaped, so that none becomes markup."""

import csv
import io
import re
from collections.abc import Sequence

import numpy as np

from aggregation.evaluation.evaluation import Evaluation
from aggregation.evaluation.score_table import Entry, Row, ScoreTable

#: A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~-])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "%": r"\%",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "–": "--",
    "×": r"$\times$",
    "…": r"\ldots{}",
}
_CSV_COLUMNS = (
    "suite",
    "kind",
    "name",
    "label",
    "value",
    "low",
    "high",
    "unit",
    "seeds_with_data",
    "seeds_planned",
    "tasks",
    "is_best",
    "first_frame",
    "last_frame",
    "leave_one_task_out_low",
    "leave_one_task_out_high",
)


def printable(text: str) -> str:
    """A name without characters that a terminal or a reader would act on; each of those as its code."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def markdown(table: ScoreTable) -> str:
    """A table as GitHub reads it, with its notes as a list."""
    lines = [f"**{markdown_text(table.title)}**", ""]
    lines.append(_markdown_row(["", *map(markdown_text, table.labels)]))
    lines.append(_markdown_row([":--", *["--:"] * len(table.labels)]))
    lines += [
        _markdown_row([markdown_text(row.name.strip()), *map(_markdown_entry, row.entries)]) for row in table.rows
    ]
    lines += ["", *(f"- {markdown_text(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def markdown_text(text: str) -> str:
    """A text that Markdown and HTML leave as it is."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", plain)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_entry(entry: Entry) -> str:
    value = f"**{entry.value}**" if entry.is_best else entry.value
    mark = "" if entry.is_complete else r"\*"
    coverage = f"({entry.coverage})" if entry.coverage else ""
    return " ".join(filter(None, (value + mark, entry.spread, coverage)))


def latex(table: ScoreTable) -> str:
    """A floating table; needs the packages `booktabs` and `textcomp`, the latter a part of LaTeX since 2020."""
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.labels)}}}",
        r"\toprule",
        _latex_row(["", *map(latex_text, table.labels)]),
        r"\midrule",
    ]
    before = "task"
    for row in table.rows:
        if row.kind != "task" and before == "task":
            lines.append(r"\midrule")
        before = row.kind
        lines.append(_latex_row([_latex_name(row), *map(_latex_entry, row.entries)]))
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\medskip"]
    lines += [rf"{{\footnotesize {latex_text(note)}\par}}" for note in table.notes]
    lines.append(r"\end{table}")
    return "\n".join(lines) + "\n"


def latex_text(text: str) -> str:
    """A text without commands; what LaTeX cannot typeset everywhere shows as its code."""
    return "".join(_LATEX.get(each) or (each if each.isascii() else f"U+{ord(each):04X}") for each in printable(text))


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_name(row: Row) -> str:
    return r"\quad " + latex_text(row.name.strip()) if row.kind == "leave_one_out" else latex_text(row.name)


def _latex_entry(entry: Entry) -> str:
    value = rf"\textbf{{{_latex_number(entry.value)}}}" if entry.is_best else _latex_number(entry.value)
    spread = rf" {{\scriptsize {_latex_number(entry.spread)}}}" if entry.spread else ""
    held, _, planned = entry.coverage.partition("/")
    mark = "" if entry.is_complete else rf"$^{{{'*' if held == planned else entry.coverage}}}$"
    return f"{value}{mark}{spread}"


def _latex_number(text: str) -> str:
    return re.sub(r"-(?=\d)", "$-$", latex_text(text))  # a minus sign, not a hyphen


def tidy_csv(evaluations: Sequence[Evaluation]) -> str:
    """One row per task and label, then one per aggregate and label, for other programs to read."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for evaluation in evaluations:
        for row in _csv_rows(evaluation):
            writer.writerow({name: _csv_value(value) for name, value in row.items()})
    return text.getvalue()


def _csv_rows(evaluation: Evaluation) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for task in evaluation.tasks:
        best = evaluation.best(task)
        for label in evaluation.labels:
            cell, window = evaluation.cells[task, label], evaluation.windows[task]
            mean = cell.mean
            rows.append(
                {
                    "suite": evaluation.suite,
                    "kind": "task",
                    "name": task,
                    "label": label,
                    "value": None if mean is None else mean.point,
                    "low": None if mean is None else mean.low,
                    "high": None if mean is None else mean.high,
                    "unit": "score",
                    "seeds_with_data": cell.with_data,
                    "seeds_planned": len(cell.seeds),
                    "is_best": int(label in best),
                    "first_frame": window[0],
                    "last_frame": window[1],
                }
            )
    for kind, headlines in (("aggregate", evaluation.headlines), ("shared", evaluation.shared_headlines)):
        for headline in headlines:
            record = headline.to_json(evaluation.scale)
            left = record.pop("leave_one_task_out") or {}
            cells = [evaluation.cells[task, headline.label] for task in headline.tasks]
            rows.append(
                {
                    "suite": evaluation.suite,
                    "kind": kind,
                    "name": record.pop("metric"),
                    **record,
                    "seeds_with_data": sum(cell.with_data for cell in cells),
                    "seeds_planned": sum(len(cell.seeds) for cell in cells),
                    "leave_one_task_out_low": left.get("low"),
                    "leave_one_task_out_high": left.get("high"),
                }
            )
    return rows


def _csv_value(value: object) -> object:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, str):
        plain = printable(value)
        return f"'{plain}" if plain.startswith(_FORMULA) else plain
    return value
