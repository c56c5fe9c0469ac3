// The benchmark's table: task × label with mean, interval and seeds, and the headline above it.

import { breakable, download, element, scrolling } from "./nodes.js";
import { scoreText } from "./numbers.js";
import { swatch } from "./line_chart.js";

const span = (cell) => (cell.low === null || cell.low === undefined ? null : `${scoreText(cell.low)} to ${scoreText(cell.high)}`);

export function scoresSection(payload) {
  if (payload.tables.length === 0) return [element("p", {}, "No episode has ended yet, so there is no score.")];
  return payload.tables.map((table) => [
    payload.tables.length > 1 ? element("h3", {}, table.suite) : null,
    table.note ? element("p", { class: "warning" }, table.note) : null,
    element("p", { class: "note" }, table.about),
    table.headlines.map((each) => headline(each, payload)),
    scoreTable(table, payload),
    table.marks.map((mark) => element("p", { class: "mark" }, mark.sign ? element("b", {}, `${mark.sign} `) : null, mark.text)),
    element("button", { type: "button", class: "quiet", onclick: () => saveTable(table, payload) }, "Save as CSV"),
  ]);
}

function headline(table, payload) {
  const reach = table.titles.map((_, place) => {
    const all = table.rows.map((row) => row.metrics[place]);
    const least = Math.min(...all.map((metric) => metric.low ?? metric.point));
    const most = Math.max(...all.map((metric) => metric.high ?? metric.point));
    return [least - (most - least) * 0.04, most + (most - least) * 0.04];
  });
  const rows = table.rows.map((row) => element("tr", {},
    element("th", { scope: "row" }, swatch(row.label), payload.labels[row.label].name),
    row.metrics.map((metric, place) => element("td", { class: metric.best ? "best" : null },
      element("span", { class: "value" }, scoreText(metric.point), metric.mark ? element("sup", {}, metric.mark) : null),
      element("span", { class: "span" }, span(metric)),
      bar(metric, reach[place], row.label),
      metric.least === null || metric.least === undefined ? null
        : element("span", { class: "span", title: metric.about }, `without any one task ${scoreText(metric.least)} to ${scoreText(metric.most)}`)))));
  return [element("p", { class: "note" }, table.about), scrolling("Headline",
    element("table", { class: "headline" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "label"), table.titles.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, rows)))];
}

/** Point and interval on the scale that all labels share. */
function bar(metric, [least, most], label) {
  if (metric.point === null || !(most > least)) return null;
  const at = (value) => `${(((value - least) / (most - least)) * 100).toFixed(2)}%`;
  const node = element("span", { class: `interval line-${label}`, "aria-hidden": "true" });
  const low = metric.low ?? metric.point;
  const high = metric.high ?? metric.point;
  const line = element("span", { class: "line" });
  line.style.setProperty("left", at(low));
  line.style.setProperty("right", `calc(100% - ${at(high)})`);
  const point = element("span", { class: "point" });
  point.style.setProperty("left", at(metric.point));
  node.append(line, point);
  return node;
}

function scoreTable(table, payload) {
  const body = element("tbody");
  const rows = table.rows.map((row) => ({ row, node: rowNode(row, table) }));
  const order = { by: null, isDown: true };
  const headers = [];
  const sorted = () => {
    const value = ({ row }) => (order.by === -1 ? row.task : row.cells[order.by]?.mean ?? null);
    return [...rows].sort((one, other) => {
      const [first, second] = [value(one), value(other)];
      if (first === null || second === null) return (first === null) - (second === null);
      const sign = first < second ? -1 : first > second ? 1 : 0;
      return order.isDown ? -sign : sign;
    });
  };
  const sortBy = (place) => {
    Object.assign(order, { isDown: order.by === place ? !order.isDown : place !== -1, by: place });
    headers.forEach((header, index) =>
      header.setAttribute("aria-sort", index - 1 !== place ? "none" : order.isDown ? "descending" : "ascending"));
    body.replaceChildren(...sorted().map(({ node }) => node));
  };
  const header = (content, place) => {
    const cell = element("th", { scope: "col", "aria-sort": "none" },
      element("button", { type: "button", class: "sort", onclick: () => sortBy(place) }, content));
    headers.push(cell);
    return cell;
  };
  body.append(...rows.map(({ node }) => node));
  return [element("p", { class: "note" }, table.caption), scrolling("Scores by task and label",
    element("table", { class: "scores" },
      element("thead", {}, element("tr", {}, header("task", -1),
        table.labels.map((label, place) => header([swatch(label), payload.labels[label].name], place)))),
      body))];
}

function rowNode(row) {
  return element("tr", {}, element("th", { scope: "row" }, breakable(row.task)),
    row.cells.map((cell) => {
      if (cell === null) return element("td", { class: "empty" }, element("span", { class: "value" }, "–"), element("span", { class: "span" }, "not planned"));
      return element("td", { class: cell.best ? "best" : null, title: cell.note },
        element("span", { class: "value" }, scoreText(cell.mean), cell.mark ? element("sup", {}, cell.mark) : null),
        element("span", { class: "span" }, span(cell)),
        element("span", { class: cell.seeds < cell.planned ? "seeds short" : "seeds" }, `${cell.seeds}/${cell.planned}`));
    }));
}

function saveTable(table, payload) {
  const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const lines = [["task", "label", "mean", "low", "high", "seeds", "planned"].join(",")];
  for (const row of table.rows) {
    row.cells.forEach((cell, place) => {
      if (cell === null) return;
      const name = payload.labels[table.labels[place]].name;
      lines.push([quoted(row.task), quoted(name), cell.mean ?? "", cell.low ?? "", cell.high ?? "", cell.seeds, cell.planned].join(","));
    });
  }
  download(`${table.suite}.csv`, "text/csv", `${lines.join("\n")}\n`);
}
