// Which runs there are, and why the others are missing: task × label, one sign for each seed.

import { breakable, element, scrolling } from "./nodes.js";
import { counted, wholeText } from "./numbers.js";

/** Signs tell the states apart without colours. */
export const SIGNS = {
  finished: "●",
  logged: "●",
  reference: "◆",
  running: "◐",
  planned: "○",
  paused: "‖",
  cancelled: "–",
  failed: "✕",
};

export function coverageSection(payload) {
  const { runs, states, reasons } = payload.coverage;
  if (runs.length === 0) return [element("p", {}, "No run is planned.")];
  const detail = element("div", { class: "detail", role: "status" },
    element("p", { class: "note" }, "Choose a cell to see its runs."));
  const used = new Set(runs.map((run) => states[run[3]]));
  const kinds = Object.keys(SIGNS).filter((state) => used.has(state));
  const key = element("p", { class: "key" }, kinds.map((state) =>
    element("span", {}, element("i", { class: `sign ${state}`, "aria-hidden": "true" }, SIGNS[state]), ` ${state}`)));
  const tables = payload.suites.map((suite, place) => matrix(suite, place, payload, detail));
  const why = reasons.length === 0
    ? element("p", { class: "good" }, `${counted(runs.length, "run")}, and none is missing.`)
    : element("div", {},
      element("h3", {}, "What is missing, and why"),
      element("ul", { class: "reasons" }, reasons.map((reason) => element("li", {},
        element("i", { class: `sign ${reason.state}`, "aria-hidden": "true" }, SIGNS[reason.state]),
        ` ${counted(reason.runs, "run")} `, element("b", {}, reason.state), reason.cause ? `: ${reason.cause}` : "",
        element("span", { class: "where" }, ` ${reason.where}`)))));
  return [why, key, tables, detail];
}

function matrix(suite, place, payload, detail) {
  const { runs, states } = payload.coverage;
  const cells = new Map();
  for (const run of runs) {
    if (payload.tasks[run[0]].suite !== place) continue;
    const name = `${run[0]} ${run[1]}`;
    if (!cells.has(name)) cells.set(name, []);
    cells.get(name).push(run);
  }
  const columns = [...new Set([...cells.keys()].map((name) => Number(name.split(" ")[1])))].sort((one, other) => one - other);
  const tasks = payload.tasks.flatMap((task, index) => (task.suite === place ? [index] : []));
  const rows = tasks.map((task) => element("tr", {}, element("th", { scope: "row" }, breakable(payload.tasks[task].name)),
    columns.map((label) => {
      const held = cells.get(`${task} ${label}`);
      if (!held) return element("td", { class: "empty" }, "");
      return element("td", {}, cellButton(held, states, `${payload.tasks[task].name}, ${payload.labels[label].name}`,
        () => showRuns(detail, held, payload, task, label)));
    })));
  return [payload.suites.length > 1 ? element("h3", {}, suite) : null,
    scrolling(`Coverage of ${suite}`, element("table", { class: "coverage" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "task"),
        columns.map((label) => element("th", { scope: "col" }, payload.labels[label].name)))),
      element("tbody", {}, rows)))];
}

function cellButton(held, states, name, onclick) {
  const having = held.filter((run) => run[5] > 0).length;
  const counts = {};
  for (const run of held) counts[states[run[3]]] = (counts[states[run[3]]] ?? 0) + 1;
  const said = Object.entries(counts).map(([state, count]) => `${count} ${state}`).join(", ");
  const signs = [];
  for (const state of Object.keys(SIGNS)) {
    if (counts[state]) signs.push(element("i", { class: `sign ${state}`, "aria-hidden": "true" }, SIGNS[state].repeat(Math.min(counts[state], 12)) + (counts[state] > 12 ? "…" : "")));
  }
  return element("button", { type: "button", class: having < held.length ? "cell short" : "cell", "aria-label": `${name}: ${having} of ${held.length} with data; ${said}`, onclick },
    element("span", { class: "count" }, `${having}/${held.length}`), signs);
}

function showRuns(detail, held, payload, task, label) {
  const { states, causes } = payload.coverage;
  const rows = held.slice(0, 200).map((run) => element("tr", {},
    element("th", { scope: "row" }, `seed ${run[2]}`),
    element("td", {}, element("i", { class: `sign ${states[run[3]]}`, "aria-hidden": "true" }, SIGNS[states[run[3]]]), ` ${states[run[3]]}`),
    element("td", {}, run[5] ? `${wholeText(run[5])} episodes, to frame ${wholeText(run[6] ?? 0)}` : "no episode"),
    element("td", {}, run[7] > 1 ? counted(run[7], "attempt") : ""),
    element("td", {}, causes[run[4]] ?? "")));
  detail.replaceChildren(
    element("h4", {}, `${payload.tasks[task].name} × ${payload.labels[label].name}`),
    scrolling("Runs of the cell", element("table", { class: "runs" }, element("tbody", {}, rows))));
}
