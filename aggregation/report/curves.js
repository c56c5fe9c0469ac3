// Score curves: an aggregate per suite, a chart per task, and what the reader can choose about all of them.

import { Choices } from "./choices.js";
import { chooser } from "./choosers.js";
import { chartFigure } from "./figure.js";
import { legend } from "./legend.js";
import { LineChart } from "./line_chart.js";
import { element } from "./nodes.js";
import { BANDS, CENTRES, CENTRE_CAPTIONS, lineOf } from "./series.js";
import { SMOOTHINGS } from "./smoothing.js";

const titles = (options) => Object.fromEntries(Object.entries(options).map(([name, each]) => [name, each.title]));

export function curvesSection(payload) {
  const { axes, suites, bands, centres } = payload.curves;
  const choices = new Choices({ axis: "frames", centre: "mean", band: payload.curves.band, smoothing: "none" });
  const caption = element("p", { class: "caption", role: "status" });
  const picked = (all, names) => Object.fromEntries(names.map((name) => [name, all[name]]));
  const tools = element("div", { class: "tools" },
    element("div", { class: "choosers" },
      chooser("Axis", "axis", Object.fromEntries(axes.map((axis) => [axis.name, axis.title])), choices),
      chooser("Line", "centre", picked(CENTRES, centres), choices),
      chooser("Band", "band", picked(BANDS, bands), choices),
      chooser("Smoothing", "smoothing", titles(SMOOTHINGS), choices)),
    legend(payload.labels, choices, payload.labels.map((label) => label.seeds)));
  const blocks = suites.map((suite) => suiteBlock(suite, payload, choices));
  const describe = () => {
    const axis = axes.find((each) => each.name === choices.get("axis"));
    const smoothing = choices.get("smoothing");
    const band = choices.get("band");
    caption.replaceChildren(
      `Line: ${CENTRE_CAPTIONS[choices.get("centre")]}` +
      (smoothing === "none" ? "" : `, smoothed: ${SMOOTHINGS[smoothing].title}`) +
      `. Band: ${BANDS[band]}. Over ${axis.title}.` + (axis.note ? ` ${axis.note}` : "") + leftOut(payload, axis));
  };
  choices.onChange(describe);
  describe();
  return [tools, caption, blocks];
}

/** A sentence on labels that have curves, but no place on an axis. */
function leftOut(payload, axis) {
  const all = payload.curves.suites.flatMap((suite) => suite.panels).flatMap((panel) => panel.series);
  const drawnLabels = new Set(all.filter((series) => series.x[axis.name]).map((series) => series.label));
  const missing = [...new Set(all.map((series) => series.label))].filter((label) => !drawnLabels.has(label));
  return missing.length === 0 ? "" : ` Without ${missing.map((label) => payload.labels[label].name).join(", ")}, of which this is not known.`;
}

function suiteBlock(suite, payload, choices) {
  const all = suite.aggregate ? [suite.aggregate, ...suite.panels] : suite.panels;
  const isWide = (place) => place === 0 && (suite.aggregate !== null || all.length === 1);
  const name = payload.curves.suites.length > 1 ? element("h3", {}, suite.name) : null;
  return element("div", { class: "suite" }, name, suite.note ? element("p", { class: "note" }, suite.note) : null,
    element("div", { class: "panels" }, all.map((panel, place) => curvePanel(panel, payload, choices, isWide(place)))));
}

function curvePanel(panel, payload, choices, isWide) {
  const chart = new LineChart({ title: panel.title, labels: payload.labels });
  const update = () => chart.show(
    panel.series.filter((series) => choices.isShown(series.label)).map((series) => lineOf(series, choices)).filter(Boolean),
    { xTitle: payload.curves.axes.find((axis) => axis.name === choices.get("axis")).title, yTitle: panel.unit });
  choices.onChange(update);
  update();
  return chartFigure(chart, panel.note, { isWide, canChange: true });
}
