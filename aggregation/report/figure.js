// A chart under its title, which a reader can enlarge and save.

import { swatch } from "./line_chart.js";
import { breakable, download, drawn, element } from "./nodes.js";

/** Height over width of a chart in its column, and of one in full width. */
const NORMAL = 0.68;
const WIDE = 0.36;

/** A figure of a chart. `note` is a text, or a node that changes; `canChange` lets the reader enlarge and save it. */
export function chartFigure(chart, note = null, { isWide = false, canChange = false } = {}) {
  const shownNote = typeof note === "string" ? (note === "" ? null : element("p", {}, note)) : note;
  const caption = element("figcaption", {}, element("h4", {}, breakable(chart.title)), shownNote);
  const figure = element("figure", { class: "panel", "data-panel": chart.title }, caption, chart.node);
  const enlarge = element("button", {
    type: "button",
    class: "quiet",
    "aria-label": `${chart.title} in full width`,
    onclick: () => widen(!figure.classList.contains("wide")),
  }, "⤢");
  const widen = (isNowWide) => {
    figure.classList.toggle("wide", isNowWide);
    enlarge.setAttribute("aria-pressed", isNowWide);
    chart.reshape(isNowWide ? WIDE : NORMAL);
  };
  if (canChange) {
    widen(isWide);
    caption.append(element("span", { class: "actions" }, enlarge, element("button", {
      type: "button",
      class: "quiet",
      "aria-label": `Save ${chart.title} as SVG`,
      onclick: () => save(chart),
    }, "SVG")));
  }
  return figure;
}

const KEPT = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "font-size", "font-family", "font-weight"];

/** The chart as a file of its own, with the colours that the page gives it now, and a legend. */
function save(chart) {
  chart.refresh();
  const original = chart.stage.querySelector("svg");
  if (!original) return;
  const copy = styled(original);
  const [, , width, height] = original.getAttribute("viewBox").split(" ").map(Number);
  let [x, y] = [10, height + 12];
  for (const line of chart.labelled()) {
    const { name } = chart.labels[line.label];
    const needed = 42 + name.length * 7;
    if (x > 10 && x + needed > width) [x, y] = [10, y + 18];
    copy.append(drawn("g", { transform: `translate(${x} ${y})` }, styledSwatch(line.label),
      drawn("text", { x: 32, y: 9, "font-size": 12, "font-family": "sans-serif", fill: getComputedStyle(document.body).color }, name)));
    x += needed;
  }
  copy.setAttribute("viewBox", `0 0 ${width} ${y + 20}`);
  download(`${chart.title.replace(/[^A-Za-z0-9_.-]+/g, "_")}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
}

/** A copy that needs no style sheet. */
function styled(original) {
  const copy = original.cloneNode(true);
  const from = original.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((node, index) => {
    const style = getComputedStyle(from[index]);
    for (const name of KEPT) node.setAttribute(name, style.getPropertyValue(name));
  });
  return copy;
}

function styledSwatch(label) {
  const sample = swatch(label);
  document.body.append(sample);
  const path = styled(sample).firstChild;
  sample.remove();
  return path;
}
