"""The report in a real browser without a network: what it shows, what readers can do, and what nobody can."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Page, Route
from report_pages import CHROMIUM, chromium, payload_of, score_of, write_logs

from aggregation.report.facts import FailureFact, RootFacts, RunFact
from aggregation.report.page import page

HOSTILE = (
    "<script>window.hacked=1</script>",
    '"><img_src="x"_onerror="window.hacked=1">',
    "</script><svg/onload=window.hacked=1>",
    "{{constructor.constructor('window.hacked=1')()}}",
    "a\u2028b<!--<script>",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


Opened = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    """Opens a payload's page. However the test goes on: nothing is asked for, and nothing is complained of."""
    asked: list[str] = []
    complaints: list[str] = []
    contexts = []

    def open_page(payload: dict[str, Any], *, width: int = 1280, **options: Any) -> Page:
        path = tmp_path / "page.html"
        path.write_text(page(payload), encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(path.as_uri())
        tab.wait_for_selector("#commands")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert {url.partition(":")[0] for url in asked} <= {"file"}
    assert complaints == []


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two tasks, three ratios, three seeds."""
    return payload_of([write_logs(tmp_path_factory.mktemp("grid"), seeds=3)])


def panel(tab: Page, name: str, section: str = "#curves") -> Any:
    """A chart, drawn: those that nobody looked at are not yet."""
    chart = tab.locator(f'{section} [data-panel="{name}"]').first
    chart.scroll_into_view_if_needed()
    chart.locator(".stage > *").first.wait_for()
    return chart


def values_at(tab: Page, chart: Any, share: float) -> dict[str, str]:
    """What the tip says when the pointer is over a chart, at a share of its axis: the value of each label."""
    frame = chart.locator("path.frame").bounding_box()
    tab.mouse.move(frame["x"] + share * frame["width"], frame["y"] + frame["height"] / 2)
    rows = chart.locator(".tip tr")
    return {row.locator("th").inner_text(): row.locator("td").first.inner_text() for row in rows.all()}


def choose(tab: Page, name: str, value: str) -> None:
    tab.locator(f"#curves [data-choice={name}]").select_option(value)


def drawn(chart: Any) -> str:
    """What a chart shows, as its paths."""
    return str([path.get_attribute("d") for path in chart.locator(".stage path.curve, .stage path.band").all()])


def test_a_page_tells_everything_and_asks_for_nothing(grid: dict[str, Any], opened: Opened) -> None:
    """Every section is there, under its heading and in the menu."""
    tab = opened(grid)

    assert tab.locator("h1").inner_text().startswith("dmc_proprio")
    titles = ["Scores", "Curves", "Replay ratio", "Coverage", "Failures", "Origin", "Commands"]
    assert tab.locator("h2").all_inner_texts() == titles
    assert tab.locator("#menu a").all_inner_texts() == titles
    assert tab.locator("#commands pre").last.inner_text() == "dreamsweep report there"


SLIP_IN = """() => {
    for (const [name, attributes] of [
        ["script", { textContent: "window.hacked = 1" }],
        ["script", { src: "https://x.org/a.js" }],
        ["img", { src: "https://x.org/a.png" }],
        ["link", { rel: "stylesheet", href: "https://x.org/a.css" }],
    ]) document.body.append(Object.assign(document.createElement(name), attributes));
    return fetch("https://x.org/").then(() => "went", () => "stayed");
}"""


def test_nothing_can_leave(grid: dict[str, Any], browser: Browser, tmp_path: Path) -> None:
    """Were a script to slip in, the page's policy would neither run it nor let it call anybody."""
    path = tmp_path / "page.html"
    path.write_text(page(grid), encoding="utf-8")
    context = browser.new_context()
    tab = context.new_page()
    called: list[str] = []

    def answer(route: Route) -> None:
        called.append(route.request.url)
        route.fulfill(body="window.hacked = 1", headers={"access-control-allow-origin": "*"})

    tab.route("http*://**", answer)
    tab.goto(path.as_uri())

    assert tab.evaluate(SLIP_IN) == "stayed"
    assert called == []
    assert tab.evaluate("window.hacked") is None
    context.close()


def test_the_table_has_the_scores(grid: dict[str, Any], opened: Opened) -> None:
    """Mean over seeds in the protocol's window, seeds with data of those planned, the best one bold."""
    tab = opened(grid)
    expected = sum(score_of(step, 512, 1) for step in range(470_000, 500_001, 2500)) / 13

    row = tab.locator(".scores tbody tr").filter(has_text="dmc_walker_walk")
    assert float(row.locator(".best .value").inner_text()) == pytest.approx(expected, abs=0.51)
    assert row.locator(".seeds").all_inner_texts() == ["3/3", "3/3", "3/3"]


def test_the_table_sorts(grid: dict[str, Any], opened: Opened) -> None:
    """By any column, either way, and the header tells which."""
    grid = json.loads(json.dumps(grid))
    first, second = grid["tables"][0]["rows"]
    first["cells"][0]["mean"], second["cells"][0]["mean"] = 5, 70
    tab = opened(grid)
    header = tab.locator(".scores th[aria-sort]").nth(1)

    header.locator("button").click()
    assert tab.locator(".scores tbody th").all_inner_texts() == [second["task"], first["task"]]
    assert header.get_attribute("aria-sort") == "descending"
    header.locator("button").click()
    assert tab.locator(".scores tbody th").all_inner_texts() == [first["task"], second["task"]]
    assert header.get_attribute("aria-sort") == "ascending"


def test_hovering_tells_the_value_of_every_label(grid: dict[str, Any], opened: Opened) -> None:
    """At the place of the pointer, best first."""
    tab = opened(grid)
    chart = panel(tab, "dmc_walker_walk")

    found = values_at(tab, chart, 0.5)

    assert list(found) == ["dreamerv3_tr512", "dreamerv3_tr128", "dreamerv3_tr32"]
    for label, ratio in zip(found, (512, 128, 32), strict=True):
        # A point is the mean over the 5,000 frames before it, and over the seeds.
        assert float(found[label]) == pytest.approx(score_of(250_000, ratio, 1), abs=6)
    tab.mouse.move(0, 0)
    assert not chart.locator(".tip").is_visible()


def test_a_label_is_hidden_and_shown_everywhere(grid: dict[str, Any], opened: Opened) -> None:
    """A click hides it in all charts, a double click shows it alone, `all` brings everything back."""
    tab = opened(grid)
    chart = panel(tab, "dmc_walker_walk")
    button = tab.locator("#curves .label").filter(has_text="dreamerv3_tr128")

    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert chart.locator("[data-label]").evaluate_all("nodes => nodes.map((node) => node.dataset.label)") == ["0", "2"]
    assert list(values_at(tab, chart, 0.5)) == ["dreamerv3_tr512", "dreamerv3_tr32"]
    button.dblclick()
    assert chart.locator("[data-label]").evaluate_all("nodes => nodes.map((node) => node.dataset.label)") == ["1"]
    tab.locator("#curves .legend").get_by_text("all", exact=True).click()
    assert chart.locator("[data-label]").count() == 3


def test_the_label_that_is_pointed_at_stands_out(grid: dict[str, Any], opened: Opened) -> None:
    """The others step back while the pointer is on its button."""
    tab = opened(grid)
    chart = panel(tab, "dmc_walker_walk")
    shades = "nodes => nodes.map((node) => getComputedStyle(node).opacity)"

    tab.locator("#curves .label").nth(1).hover()
    assert chart.locator(".stage path.curve").evaluate_all(shades) == ["0.12", "1", "0.12"]
    tab.locator("h1").hover()
    assert chart.locator(".stage path.curve").evaluate_all(shades) == ["1", "1", "1"]


def test_choices_change_the_drawing(grid: dict[str, Any], opened: Opened) -> None:
    """Axis, line, band and smoothing each draw something else, and the caption names what is drawn."""
    tab = opened(grid)
    chart = panel(tab, "dmc_walker_walk")
    caption = tab.locator("#curves .caption")
    seen = [drawn(chart)]
    for name, value, words in (
        ("band", "std", "one standard deviation"),
        ("band", "none", "no band"),
        ("axis", "updates", "gradient updates"),
        ("smoothing", "exponential9", "exponential, weight 0.9"),
    ):
        choose(tab, name, value)
        seen.append(drawn(chart))
        assert words in caption.inner_text()
    assert len(set(seen)) == len(seen)
    assert chart.locator("text.axis").first.text_content() == "gradient updates"
    values_at(tab, chart, 0.99)
    # 500,000 frames are as many policy steps; a batch has 1,024, so ratio 512 makes an update for each two of them.
    assert re.match(r"2(4|5)\d\.?\d*k gradient updates", chart.locator(".tip p").first.inner_text())


def test_a_chart_takes_the_full_width(grid: dict[str, Any], opened: Opened) -> None:
    """For a closer look, and back."""
    tab = opened(grid)
    chart = panel(tab, "dmc_walker_walk")
    button = chart.get_by_label("dmc_walker_walk in full width")
    small = chart.bounding_box()["width"]

    chart.hover()
    button.click()
    assert chart.bounding_box()["width"] > 2 * small
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert chart.bounding_box()["width"] == small


def test_charts_and_tables_are_saved_as_files(grid: dict[str, Any], opened: Opened) -> None:
    """The picture is whole by itself, with a legend; the table has a line for each cell."""
    tab = opened(grid)
    chart = panel(tab, "dmc_walker_walk")
    chart.hover()

    with tab.expect_download() as caught:
        chart.get_by_label("Save dmc_walker_walk as SVG").click()
    text = caught.value.path().read_text("utf-8")
    assert caught.value.suggested_filename == "dmc_walker_walk.svg"
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert _rgb(grid["labels"][0]["light"]) in text
    assert text.count("dreamerv3_tr") >= 3
    with tab.expect_download() as caught:
        tab.get_by_text("Save as CSV").click()
    lines = caught.value.path().read_text("utf-8").splitlines()
    assert lines[0] == "task,label,mean,low,high,seeds,planned"
    assert len(lines) == 1 + 2 * 3


def test_a_line_that_a_chart_lacks_is_the_mean(grid: dict[str, Any], opened: Opened) -> None:
    """The interquartile mean is for all tasks; a chart of one task shows the mean then, and the caption says so."""
    tab = opened(grid)
    chart = panel(tab, "dmc_walker_walk")
    before = drawn(chart)

    choose(tab, "centre", "iqm")
    assert drawn(chart) == before
    assert "the mean over seeds where there is one task" in tab.locator("#curves .caption").inner_text()


def test_the_caption_tells_who_is_not_on_an_axis(opened: Opened, tmp_path: Path) -> None:
    """A label without a ratio has no updates that could be known."""
    logs = write_logs(tmp_path / "logs", tasks=["dmc_walker_walk"], labels=["dreamerv3_tr32", "ppo"])
    tab = opened(payload_of([logs]))

    choose(tab, "axis", "updates")
    assert "Without ppo, of which this is not known." in tab.locator("#curves .caption").inner_text()
    assert panel(tab, "dmc_walker_walk").locator(".stage path.curve").count() == 1


def test_dragging_zooms_and_a_double_click_resets(grid: dict[str, Any], opened: Opened) -> None:
    """A flat drag takes a stretch of the axis, in this chart alone."""
    tab = opened(grid)
    other, chart = panel(tab, "dmc_cheetah_run"), panel(tab, "dmc_walker_walk")
    before, beside = drawn(chart), drawn(other)
    frame = chart.locator("path.frame").bounding_box()
    middle = frame["y"] + frame["height"] / 2

    tab.mouse.move(frame["x"] + 0.4 * frame["width"], middle)
    tab.mouse.down()
    tab.mouse.move(frame["x"] + 0.6 * frame["width"], middle, steps=4)
    tab.mouse.up()

    assert drawn(chart) != before
    assert drawn(other) == beside
    ticks = chart.locator("text.tick[text-anchor=middle]").all_text_contents()
    numbers = [float(tick.removesuffix("k")) for tick in ticks]
    assert numbers and all(198 <= number <= 302 for number in numbers), ticks
    chart.locator(".stage").dblclick()
    assert drawn(chart) == before
    assert not chart.locator(".reset").is_visible()


def test_the_keyboard_reads_and_zooms(grid: dict[str, Any], opened: Opened) -> None:
    """What the mouse can do, arrows, plus and 0 do; the values are spoken."""
    tab = opened(grid)
    chart = panel(tab, "dmc_walker_walk")
    before = drawn(chart)
    chart.locator(".stage").focus()

    tab.keyboard.press("End")
    said = tab.locator("#announcer").inner_text()
    assert re.match(r"\S+k environment frames: dreamerv3_tr512 \d+, dreamerv3_tr128 \d+, dreamerv3_tr32", said), said
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#announcer").inner_text() != said
    tab.keyboard.press("+")
    assert drawn(chart) != before
    tab.keyboard.press("0")
    assert drawn(chart) == before


def test_everything_can_be_reached_by_tab(grid: dict[str, Any], opened: Opened) -> None:
    """The focus passes every button, list and chart, and each has a name."""
    tab = opened(grid)
    names = tab.evaluate(
        """() => [...document.querySelectorAll("button, select, a[href], summary, [tabindex='0']")]
            .filter((node) => node.checkVisibility())
            .map((node) => node.getAttribute("aria-label") || node.labels?.[0]?.textContent || node.textContent)"""
    )

    assert names
    assert [name for name in names if not name.strip()] == []
    levels = tab.evaluate("() => [...document.querySelectorAll('h1,h2,h3,h4')].map((node) => Number(node.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1


@pytest.mark.parametrize("section", ["#scores", "#curves", "#ratio", "#coverage"])
def test_a_phone_shows_it_without_scrolling_sideways(grid: dict[str, Any], opened: Opened, section: str) -> None:
    """At 390 pixels tables scroll by themselves, and the page does not."""
    tab = opened(grid, width=390)
    tab.locator(section).scroll_into_view_if_needed()

    assert tab.evaluate("document.documentElement.scrollWidth") == 390


def test_long_names_do_not_widen_the_phone(opened: Opened, tmp_path: Path) -> None:
    """Neither of tasks and labels nor of paths and causes."""
    name = "dmc_" + "w" * 120
    root = write_logs(tmp_path / "logs", tasks=[name], labels=["v" * 120, "u_tr8", "u_tr16"], points=20)
    failure = FailureFact(outcome="crashed", cause=name, runs=1, example=name, log=name, lines=[name * 2])
    runs = {f"dmc_proprio/{name}/{'v' * 120}/0": RunFact(state="failed", cause=name)}
    known = facts(
        runs=runs, failures=[failure], made_with={"trainer": [name]}, launches=[name * 2], configs={"a": name}
    )
    tab = opened(payload_of([root], {str(root): known}), width=390)
    tab.locator("#origin summary").click()

    for section in ("#scores", "#curves", "#ratio", "#coverage", "#failures", "#origin", "#commands"):
        tab.locator(section).scroll_into_view_if_needed()
        assert tab.evaluate("document.documentElement.scrollWidth") == 390, section


def test_a_tip_stays_on_the_phone(grid: dict[str, Any], opened: Opened) -> None:
    """Wherever the finger is, what it says is within the screen."""
    tab = opened(grid, width=390)
    chart = panel(tab, "dmc_walker_walk")
    for share in (0.02, 0.5, 0.98):
        assert values_at(tab, chart, share)
        box = chart.locator(".tip").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    assert tab.evaluate("document.documentElement.scrollWidth") == 390


def test_a_finger_points(grid: dict[str, Any], opened: Opened) -> None:
    """A tap tells the values there, which stay until the next tap elsewhere."""
    tab = opened(grid, width=390, has_touch=True, is_mobile=True)
    chart = panel(tab, "dmc_walker_walk")
    frame = chart.locator("path.frame").bounding_box()
    tab.touchscreen.tap(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)

    assert chart.locator(".tip").is_visible()
    assert chart.locator(".tip").inner_text().count("dreamerv3") == 3
    assert "null" not in chart.locator(".tip").inner_text()
    tab.touchscreen.tap(5, frame["y"] - 30)
    assert not chart.locator(".tip").is_visible()


def test_light_and_dark(grid: dict[str, Any], opened: Opened) -> None:
    """As the system has it, unless the reader chooses; lines change with the ground."""

    def colours(tab: Page) -> tuple[str, str]:
        chart = panel(tab, "dmc_walker_walk")
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        return ground, chart.locator("path.curve").first.evaluate("node => getComputedStyle(node).stroke")

    light, dark = opened(grid, color_scheme="light"), opened(grid, color_scheme="dark")
    assert colours(light) == ("rgb(255, 255, 255)", _rgb(grid["labels"][0]["light"]))
    assert colours(dark)[1] == _rgb(grid["labels"][0]["dark"])
    light.locator("#theme select").select_option("dark")
    assert colours(light) == colours(dark)
    dark.locator("#theme select").select_option("light")
    assert colours(dark)[0] == "rgb(255, 255, 255)"


def _rgb(colour: str) -> str:
    return f"rgb({int(colour[1:3], 16)}, {int(colour[3:5], 16)}, {int(colour[5:], 16)})"


def test_print_shows_every_chart_on_white(grid: dict[str, Any], opened: Opened) -> None:
    """On paper there is nothing to click, and what was never scrolled to is drawn all the same."""
    tab = opened(grid, color_scheme="dark")
    tab.emulate_media(media="print")
    tab.wait_for_timeout(100)

    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.locator("#menu").is_visible()
    assert not tab.locator("#curves .choosers").is_visible()
    charts = tab.locator(".stage")
    assert charts.count() == tab.locator(".stage svg").count()


def test_the_ratio_page(grid: dict[str, Any], opened: Opened) -> None:
    """The best ratio of each task with its evidence, the score against the ratio, and the chances of pairs."""
    tab = opened(grid)
    tab.locator("#ratio").scroll_into_view_if_needed()

    rows = tab.locator("#ratio .advice tbody tr")
    assert [row.locator("td").first.inner_text() for row in rows.all()] == ["512", "512"]
    assert "512 beats 32" in tab.locator("#ratio .chances").inner_text()
    chart = panel(tab, "dmc_walker_walk", "#ratio")
    assert chart.locator("text.tick[text-anchor=middle]").all_text_contents() == ["32", "128", "512"]
    before = chart.locator("circle.dot").first.get_attribute("cy")
    tab.locator("#ratio [data-choice=kind]").select_option("updates")
    assert chart.locator("circle.dot").first.get_attribute("cy") != before


def facts(**changes: Any) -> RootFacts:
    return RootFacts(name="storm", **changes)


def test_missing_runs_have_a_reason(opened: Opened, tmp_path: Path) -> None:
    """The matrix tells how many seeds each cell has, the list why others are missing, a cell its runs."""
    root = write_logs(tmp_path / "logs", tasks=["dmc_walker_walk"], labels=["dreamerv3"], seeds=3)
    runs = {
        f"dmc_proprio/dmc_walker_walk/dreamerv3/{seed}": RunFact(state=state, attempts=attempts, cause=cause)
        for seed, state, attempts, cause in (
            (0, "finished", 1, ""),
            (1, "running", 2, ""),
            (2, "failed", 3, "The <b>GPU</b> is on fire"),
        )
    }
    failure = FailureFact(
        outcome="crashed", cause="The <b>GPU</b> is on fire", runs=1, example="a/b/c/2", lines=["<i>"]
    )
    known = facts(runs=runs, failures=[failure], orchestrator="7 on here", held={"dreamerv3 × dmc": "5 failed"})
    tab = opened(payload_of([root], {str(root): known}))

    assert "1 of 3 runs complete (1 running, 1 failed)" in tab.locator("#summary").inner_text()
    assert "was under way" in tab.locator("#summary").inner_text()
    reasons = tab.locator(".reasons li").all_inner_texts()
    assert [re.sub(r"\s+", " ", each) for each in reasons] == [
        "✕ 1 run failed: The <b>GPU</b> is on fire dmc_walker_walk × dreamerv3",
        "◐ 1 run running dmc_walker_walk × dreamerv3",
    ]
    tab.locator(".coverage .cell").click()
    detail = tab.locator("#coverage .detail tr").all_inner_texts()
    assert "seed 2" in detail[2]
    assert "3 attempts" in detail[2]
    assert "The <b>GPU</b> is on fire" in detail[2]
    assert "<i>" in tab.locator("#failures pre").inner_text()
    assert "Held back dreamerv3 × dmc: 5 failed" in tab.locator("#failures").inner_text()


def test_early_warnings_tell_their_causes(grid: dict[str, Any], opened: Opened) -> None:
    """Each in a sentence, with what may be behind it."""
    early = [{"text": "a/b/c/0 lies below paper", "causes": ["its train_ratio is 8", "it resumed <b>often</b>"]}]
    tab = opened(grid | {"failures": grid["failures"] | {"early": early}})

    text = tab.locator("#failures").inner_text()
    assert "a/b/c/0 lies below paper" in text
    assert "perhaps its train_ratio is 8" in text
    assert "perhaps it resumed <b>often</b>" in text


@pytest.mark.parametrize("seeds", [0, 1])
def test_pages_of_next_to_nothing(opened: Opened, tmp_path: Path, seeds: int) -> None:
    """No run at all, and one run with one episode."""
    if seeds:
        root = write_logs(tmp_path / "logs", tasks=["dmc_walker_walk"], labels=["dreamerv3"], seeds=1, points=1)
        payload = payload_of([root])
    else:
        payload = empty(payload_of([write_logs(tmp_path / "logs", seeds=1, points=1)]))
    tab = opened(payload)

    assert tab.locator("h2").count() >= 5
    if seeds:
        assert values_at(tab, panel(tab, "dmc_walker_walk"), 0.99) == {"dreamerv3": "0.156"}
    else:
        assert "No episode has ended yet" in tab.locator("#scores").inner_text()
        assert "No run is planned" in tab.locator("#coverage").inner_text()


def empty(payload: dict[str, Any]) -> dict[str, Any]:
    payload |= {"tables": [], "ratio": [], "labels": [], "tasks": [], "suites": []}
    payload["curves"]["suites"] = []
    payload["coverage"] |= {"runs": [], "reasons": [], "causes": []}
    payload["progress"] |= {"total": 0, "counts": []}
    return payload


def test_names_from_outside_stay_names(opened: Opened, tmp_path: Path) -> None:
    """Tasks, labels, causes, logs and configurations with markup in them are shown as they are, and do nothing."""
    tasks, labels = [name.replace("/", "") for name in HOSTILE], ["<b>bold", "&lt;img"]
    root = write_logs(tmp_path / "logs", tasks=[task.replace("\u2028", "") for task in tasks], labels=labels, points=30)
    text = "\n".join(HOSTILE)
    failure = FailureFact(outcome=text, cause=text, runs=1, example=text, log=text, lines=HOSTILE)
    known = RootFacts(
        name=text, orchestrator=text, failures=[failure], held={text: text}, warnings=[text], configs={text: text},
        launches=[text], made_with={text: [text]},
    )  # fmt: skip
    payload = payload_of([root], {str(root): known})
    tab = opened(hostile(payload, text))
    tab.wait_for_timeout(100)

    assert tab.evaluate("window.hacked") is None
    assert tab.locator("img, #sections script, section b b, svg svg svg").count() == 0
    assert HOSTILE[0] in tab.locator("h1").inner_text()
    assert HOSTILE[1] in tab.locator("#failures").inner_text()
    assert tab.locator("#curves .label").first.inner_text().startswith(("<b>bold", "&lt;img"))


def hostile(payload: dict[str, Any], text: str) -> dict[str, Any]:
    """The same with the text in places that come from our own words, in case they ever do not."""
    payload["about"] = payload["footer"] = payload["version"] = payload["title"] = text
    payload["notes"] = [text]
    for task in payload["tasks"]:
        task["name"] = text
    return payload
