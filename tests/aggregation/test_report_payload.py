"""What the report says, before any browser shows it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_builders import log_text, write_foreign
from report_pages import RATIOS, payload_of, score_of, write_logs

from aggregation.evaluation.evaluation import evaluate
from aggregation.evaluation.score_table import score_table
from aggregation.report import payload as report_payload
from aggregation.report.facts import RootFacts, RunFact
from aggregation.report.line_styles import line_styles
from aggregation.report.page import json_text, page
from aggregation.report.rounding import rounded
from aggregation.report.script import joined
from aggregation.report.table_part import Judgement, table_part
from aggregation.sources.sources import open_sources
from sweeps.settings import Protocol

SOURCES = Path(__file__).parents[2] / "aggregation" / "report"
SCORE_FILES = Path(__file__).parents[3] / "shared" / "data" / "score_files"


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two tasks, three ratios, three seeds."""
    return payload_of([write_logs(tmp_path_factory.mktemp("grid"), seeds=3)])


def test_numbers_keep_the_digits_that_a_picture_shows() -> None:
    """Four of them, whatever the size; whole numbers are whole, and what is no number is null."""
    values = np.array([0.0, 1.0, 123456.0, -0.000123456, 1.23456e-7, 99999.6, np.nan, np.inf, 1e300, 0.1 + 0.2])

    assert rounded(values) == [0, 1, 123500, -0.0001235, 1.235e-07, 100000, None, None, 1e300, 0.3]
    assert (
        json.dumps(rounded(values))
        == "[0, 1, 123500, -0.0001235, 1.235e-07, 100000, null, null, " + str(int(1e300)) + ", 0.3]"
    )


def test_the_shape_that_is_told_is_the_shape_that_is_there(grid: dict[str, Any]) -> None:
    """The docstring of payload.py names every part of the page, and of a table every entry."""
    assert report_payload.__doc__ is not None
    shape = report_payload.__doc__.partition("\n\n")[2]
    parts = [name for line in re.findall(r"^([a-z][\w, ]*?)(?:  |$)", shape, re.MULTILINE) for name in line.split(", ")]
    told = shape[shape.index("tables ") : shape.index("curves ")]

    assert set(grid) == set(parts)
    (table,) = grid["tables"]
    for entry in (table, table["rows"][0]["cells"][0], table["headlines"][0]):
        assert [name for name in entry if not re.search(rf"\b{name}\b", told)] == []


def test_json_cannot_end_its_element() -> None:
    """Whatever the text, no tag, comment or line break of JavaScript is in it, and it reads as it was."""
    value = {"</script>": ["<!--", "&amp;", "\u2028\u2029", 'quote "', "\\u003c"]}
    text = json_text(value)

    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(float("nan"))


def test_modules_become_one_script() -> None:
    """What is imported comes first, once, and nothing of imports and exports is left."""
    modules = {
        "a.js": 'import { b } from "./b.js";\nimport { c } from "./c.js";\nb(c);\n',
        "b.js": 'import { c } from "./c.js";\n\nexport function b() {}\n',
        "c.js": "export const c = 1;\n",
    }

    script = joined("a.js", modules.__getitem__)
    body = "// c.js\nconst c = 1;\n\n// b.js\nfunction b() {}\n\n// a.js\nb(c);"
    assert script == f'(() => {{\n"use strict";\n\n{body}\n}})();\n'


def test_the_page_has_all_modules_and_no_name_twice() -> None:
    """They share one scope; a module that no other one imports would be dead."""
    script = joined("page.js", lambda name: (SOURCES / name).read_text("utf-8"))
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, re.MULTILINE)

    assert len(names) == len(set(names))
    assert set(re.findall(r"^// (\w+\.js)$", script, re.MULTILINE)) == {path.name for path in SOURCES.glob("*.js")}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script)


def test_the_policy_names_what_the_page_holds(grid: dict[str, Any]) -> None:
    """Nothing is allowed but this very script and style."""
    text = page(grid)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)

    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-[\w+/=]+'; "
        r"base-uri 'none'; form-action 'none'",
        policy[1],
    )
    assert not re.search(r'(src|href)="(?!#)', text.partition("<script")[0])


def test_the_same_sources_give_the_same_page(tmp_path: Path) -> None:
    """Byte for byte, but for the moment that it names."""
    logs = write_logs(tmp_path, seeds=2)

    assert page(payload_of([logs])) == page(payload_of([logs]))


def series_of(payload: dict[str, Any], title: str) -> list[dict[str, Any]]:
    panels = payload["curves"]["suites"][0]["panels"]
    found: list[dict[str, Any]] = next(panel["series"] for panel in panels if panel["title"] == title)
    return found


def test_a_series_has_the_statistics_of_its_seeds(grid: dict[str, Any]) -> None:
    """At each point the mean, median and spread over the seeds, which here lie 10 apart."""
    for series, ratio in zip(series_of(grid, "dmc_walker_walk"), RATIOS, strict=True):
        x = series["x"]["frames"]
        assert x["width"] * x["count"] == pytest.approx(500_000, rel=0.02)
        steps = x["width"] * (np.arange(x["count"]) + 0.5)
        assert series["count"] == 3
        np.testing.assert_allclose(series["mean"], score_of(steps, ratio, 1), atol=6)  # type: ignore[arg-type]
        np.testing.assert_allclose(series["mean"], series["median"])
        np.testing.assert_allclose(series["std"], np.full(x["count"], np.std([0, 10, 20])), rtol=1e-3)
        for low, high, half in (("least", "most", 10), ("quartile_low", "quartile_high", 5)):
            np.testing.assert_allclose(np.subtract(series["mean"], series[low]), half, atol=0.1)
            np.testing.assert_allclose(np.subtract(series[high], series["mean"]), half, atol=0.1)
        assert all(np.less_equal(series["mean_low"], series["mean"]))
        assert all(np.less_equal(series["mean"], series["mean_high"]))


def test_updates_follow_from_the_ratio(grid: dict[str, Any]) -> None:
    """Four times the ratio, four times the updates; policy steps are frames where nothing is repeated."""
    low, middle, high = series_of(grid, "dmc_walker_walk")

    assert low["x"]["policy_steps"] == low["x"]["frames"]
    assert high["x"]["updates"][-1] == pytest.approx(500_000 * 512 / 1024, rel=0.02)
    assert high["x"]["updates"][-1] == pytest.approx(4 * middle["x"]["updates"][-1], rel=0.02)


def test_labels_that_reach_less_far_have_points_of_their_own(tmp_path: Path) -> None:
    """A reference of 200 times the frames does not leave a sweep with a single point."""
    logs = write_logs(tmp_path, tasks=["dmc_walker_walk"], labels=["long"], seeds=1)
    write_foreign(tmp_path, log_text([(step * 10, 1.0) for step in range(1, 250)]), label="short")

    long, short = series_of(payload_of([logs]), "dmc_walker_walk")
    assert long["x"]["frames"]["count"] > 60
    assert short["x"]["frames"]["count"] > 60
    assert short["x"]["frames"]["end"] < 3000


def test_a_run_that_ended_early_ends_early(tmp_path: Path) -> None:
    """Behind its end it neither counts nor lends its last score."""
    write_foreign(tmp_path, log_text([(step * 100, 5.0) for step in range(1, 101)]), seed=0)
    write_foreign(tmp_path, log_text([(step * 100, 7.0) for step in range(1, 51)]), seed=1)

    (series,) = series_of(payload_of([tmp_path]), "dmc_walker_walk")
    assert series["count"][0] == 2
    assert series["count"][-1] == 1
    assert series["mean"][0] == 6
    assert series["mean"][-1] == 5


def test_states_come_from_the_journal_where_there_is_one(tmp_path: Path) -> None:
    """And from the dataset else; runs of one reason stand together, the most frequent first."""
    logs = write_logs(tmp_path, tasks=["dmc_walker_walk"], labels=["a", "b"], seeds=2, points=3)
    name = "dmc_proprio/dmc_walker_walk/a"
    facts = RootFacts(runs={f"{name}/{seed}": RunFact(state="failed", cause="it broke") for seed in range(2)})

    bare, told = payload_of([logs]), payload_of([logs], {str(logs): facts})
    assert bare["progress"]["counts"] == [{"state": "logged", "count": 4}]
    assert bare["coverage"]["reasons"] == []
    assert told["progress"]["counts"] == [{"state": "logged", "count": 2}, {"state": "failed", "count": 2}]
    assert told["coverage"]["reasons"] == [
        {"state": "failed", "cause": "it broke", "runs": 2, "where": "dmc_walker_walk × a"}
    ]


def test_scores_before_the_window_are_the_latest(tmp_path: Path) -> None:
    """A sweep under way has a table too, which says what it shows."""
    payload = payload_of([write_logs(tmp_path, points=20)])
    (table,) = payload["tables"]

    assert (
        table["note"]
        == "No run has an episode in the window of the protocol dmc_proprio yet; these are the latest scores."
    )
    assert table["about"].startswith("Protocol final:")
    assert all(cell["seeds"] == 2 for row in table["rows"] for cell in row["cells"])


def test_a_task_without_a_normaliser_is_shown_as_it_is(tmp_path: Path) -> None:
    """Then there is no headline over tasks, and no curve; the rest is as ever."""
    for task in ("atari_pong", "atari_tetris"):
        write_foreign(tmp_path, log_text([(step, 3.0) for step in range(1000, 400_000, 1000)]), task=task)

    payload = payload_of([tmp_path], suite="atari100k")
    (table,) = payload["tables"]
    assert "has no scores for atari_tetris" in table["note"]
    assert table["note"].endswith("Scores are not normalised here.")
    assert table["headlines"] == []
    assert [row["cells"][0]["mean"] for row in table["rows"]] == [3, 3]
    assert payload["curves"]["suites"][0]["aggregate"] is None


def test_single_seeds_have_no_interval(tmp_path: Path) -> None:
    """Neither in the headline nor in the table, nor a band around their line."""
    payload = payload_of([write_logs(tmp_path, seeds=1)])
    (table,) = payload["tables"]

    metrics = [metric for row in table["headlines"][0]["rows"] for metric in row["metrics"]]
    assert {(metric["low"], metric["high"]) for metric in metrics} == {(None, None)}
    assert {(cell["low"], cell["high"]) for row in table["rows"] for cell in row["cells"]} == {(None, None)}
    assert "mean_low" not in series_of(payload, "dmc_walker_walk")[0]


def test_the_best_of_the_headline_are_those_of_the_table(tmp_path: Path) -> None:
    """What the intervals do not tell from the best is as good here as there; of a gap the least is best."""
    tasks = ["dmc_walker_walk", "dmc_cheetah_run"]
    levels = {"near": [500, 700, 600], "high": [520, 690, 640], "low": [100, 120, 110]}
    records = [
        {"task": task, "method": label, "seed": seed, "xs": [480_000], "ys": [score]}
        for task in tasks
        for label, scores in levels.items()
        for seed, score in enumerate(scores)
    ]
    path = tmp_path / "dmc_proprio-mine.json"
    path.write_text(json.dumps(records))
    protocol = Protocol(window=(470_000, 500_000), scores=(0, 1000), aggregate=["mean", "optimality_gap"])
    with open_sources([path]) as sources:
        found = evaluate(sources, protocol)
    table = table_part(Judgement(found), {label: place for place, label in enumerate(found.labels)})

    rows = [row for row in score_table(found).rows if row.kind == "aggregate"]
    expected = [[entry.is_best for entry in row.entries] for row in rows]
    shown = [[row["metrics"][place]["best"] for row in table["headlines"][0]["rows"]] for place in range(2)]
    assert found.labels == ("high", "low", "near")
    assert shown == expected == [[True, False, True], [True, False, True]]


def test_labels_differ_in_colour_and_in_dash() -> None:
    """Few labels share neither; ratios of one method lie on a scale."""
    plain = line_styles([None] * 6, list("abcdef"))
    scale = line_styles([16.0, 64.0, 256.0], ["a"] * 3)

    assert len({style.light for style in plain}) == len({style.dash for style in plain}) == 6
    many = line_styles([None] * 21, [str(number) for number in range(21)])
    assert len({(style.light, style.dash) for style in many}) == 21
    luminance = [sum(int(style.light[place : place + 2], 16) for place in (1, 3, 5)) for style in scale]
    assert luminance == sorted(luminance, reverse=True)
    assert len({style.dash for style in scale}) == 3


def test_a_published_benchmark() -> None:
    """Atari100k has the numbers that the field knows, and the cell behind them is marked."""
    if not SCORE_FILES.exists():
        pytest.skip("the published score files are not here")
    payload = payload_of([SCORE_FILES / "atari100k-dreamerv3.json.gz"])
    (table,) = payload["tables"]
    mean, median, _ = table["headlines"][0]["rows"][0]["metrics"]

    assert (round(mean["point"], 1), round(median["point"], 1)) == (124.7, 49.4)
    (cell,) = next(row["cells"] for row in table["rows"] if row["task"] == "atari_up_n_down")
    assert (cell["seeds"], cell["planned"], cell["mark"]) == (1, 5, "†")
    assert payload["curves"]["suites"][0]["aggregate"]["note"] == "26 tasks"
    assert len(page(payload)) < 1_000_000
