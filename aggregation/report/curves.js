// Score curves: an aggregate per suite, a chart per task, and what the reader can choose about all of them.

import { Choices } from "./choices.js";
import { chooser } from "./choosers.js";
import { legend } from "./legend.js";
import { LineChart } from "./line_chart.js";
import { breakable, download, element } from "./nodes.js";
import { counted } from "./numbers.js";
import { BANDS, CENTRES, lineOf } from "./series.js";
import { SMOOTHINGS } from "./smoothing.js";

const WIDE = 0.36;
const NORMAL = 0.68;

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
      `Line: ${CENTRES[choices.get("centre")]} over seeds` +
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
  const axisTitle = () => payload.curves.axes.find((axis) => axis.name === choices.get("axis")).title;
  const panels = [...(suite.aggregate ? [suite.aggregate] : []), ...suite.panels].map((panel, index) => {
    const isFirst = index === 0 && (suite.aggregate !== null || suite.panels.length === 1);
    const chart = new LineChart({ title: panel.title, labels: payload.labels, ratio: isFirst ? WIDE : NORMAL });
    const update = () => chart.show(
      panel.series.filter((series) => choices.isShown(series.label)).map((series) => lineOf(series, choices)).filter(Boolean),
      { xTitle: axisTitle(), yTitle: panel.unit });
    choices.onChange(update);
    update();
    const figure = element("figure", { class: isFirst ? "panel wide" : "panel", "data-panel": panel.title },
      element("figcaption", {}, element("h4", {}, breakable(panel.title)), panel.note ? element("p", {}, panel.note) : null),
      chart.node);
    const enlarge = element("button", { type: "button", class: "quiet", "aria-pressed": String(isFirst), "aria-label": `${panel.title} in full width`, onclick: () => {
      const isWide = figure.classList.toggle("wide");
      enlarge.setAttribute("aria-pressed", isWide);
      chart.ratio = isWide ? WIDE : NORMAL;
      chart.draw();
    } }, "⤢");
    figure.firstChild.append(element("span", { class: "actions" }, enlarge,
      element("button", { type: "button", class: "quiet", "aria-label": `Save ${panel.title} as SVG`, onclick: () => savePicture(chart, panel.title) }, "SVG")));
    return figure;
  });
  const name = payload.curves.suites.length > 1 ? element("h3", {}, suite.name) : null;
  return element("div", { class: "suite" }, name, suite.note ? element("p", { class: "note" }, suite.note) : null,
    element("div", { class: "panels" }, panels),
    suite.panels.length === 0 ? element("p", {}, `No curve yet: ${counted(0, "episode")}.`) : null);
}

/** The chart as a file of its own: with the colours that the page gives it now. */
function savePicture(chart, title) {
  chart.refresh();
  const original = chart.stage.querySelector("svg");
  if (!original) return;
  const copy = original.cloneNode(true);
  const kept = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "fill-opacity", "font-size", "font-family"];
  const from = original.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((node, index) => {
    const style = getComputedStyle(from[index]);
    for (const name of kept) node.setAttribute(name, style.getPropertyValue(name));
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const text = new XMLSerializer().serializeToString(copy);
  download(`${title.replace(/[^A-Za-z0-9_.-]+/g, "_")}.svg`, "image/svg+xml", text);
}
