// The replay-ratio study: what each ratio scores for the same expense, what a score costs, and which ratio to take.

import { Choices } from "./choices.js";
import { chooser } from "./choosers.js";
import { chartFigure } from "./figure.js";
import { LineChart } from "./line_chart.js";
import { breakable, element, scrolling } from "./nodes.js";
import { counted, ratioText, scoreText, shortNumber } from "./numbers.js";

const KINDS = { frames: "environment frames", updates: "gradient updates", gpu_hours: "GPU hours", wall_hours: "hours of running" };
const METRICS = { mean: "mean", median: "median", iqm: "interquartile mean" };

export function ratioSection(payload) {
  if (payload.ratio.length === 0) return null;
  const places = new Map(payload.labels.map((label, index) => [label.name, index]));
  return payload.ratio.map((study) => studyBlock(study, payload, study.labels.map((name) => places.get(name))));
}

function studyBlock(study, payload, places) {
  const label = (ratio) => places[study.ratios.indexOf(ratio)];
  const kinds = Object.keys(KINDS).filter((kind) => study.tasks.some((task) => task.budgets.some((budget) => budget.kind === kind)));
  const fractions = [...new Set(study.tasks.flatMap((task) => task.frontiers.map((each) => each.fraction)))];
  const costs = { updates: KINDS.updates, ...(study.hours ? { hours: KINDS[study.hours] } : {}) };
  const choices = new Choices({ kind: kinds[0], metric: "mean", cost: "updates", fraction: String(fractions.includes(0.75) ? 0.75 : fractions[0]) });
  const context = { study, payload, label, choices };
  const isMany = study.tasks.length > 1;
  return element("div", { class: "study" },
    element("h3", {}, `${study.name} on ${study.suite}`),
    study.notes.map((note) => element("p", { class: "note" }, note)),
    element("div", { class: "choosers" },
      chooser("After the same", "kind", Object.fromEntries(kinds.map((kind) => [kind, KINDS[kind]])), choices),
      isMany ? chooser("Over tasks", "metric", METRICS, choices) : null),
    element("div", { class: isMany ? "pair" : null }, isMany ? wholeScores(context) : null, chances(context)),
    element("h4", { class: "over" }, "Which ratio to take"),
    advice(context),
    element("h4", { class: "over" }, "Score against train ratio"),
    element("div", { class: "panels" }, study.tasks.map((task) => taskScores(task, context))),
    fractions.length === 0 ? null : [
      element("h4", { class: "over" }, "What a score costs: frames against compute"),
      element("div", { class: "choosers" },
        chooser("Compute", "cost", costs, choices),
        chooser("To come", "fraction", Object.fromEntries(fractions.map((each) => [each, `${each * 100} % of the way to the best ratio's score`])), choices)),
      element("p", { class: "note" }, "Frames and compute until the runs of a ratio first had the score, the median over its runs. Lower left is better; a ring marks ratios that no other beats in both."),
      element("div", { class: "panels" }, study.tasks.map((task) => taskCosts(task, context))),
    ]);
}

/** Each ratio as a dot with its interval, and a thin line through them. */
function dots(points, label) {
  const there = points.filter((point) => point.y !== null);
  const line = { label: null, xs: there.map((point) => point.x), ys: there.map((point) => point.y) };
  return [line, ...there.map((point) => ({
    label: label(point.ratio), xs: [point.x], ys: [point.y], lows: [point.low], highs: [point.high], seeds: point.seeds, tag: point.tag, isBest: point.isBest,
  }))];
}

function wholeScores({ study, payload, label, choices }) {
  const chart = new LineChart({ title: "All tasks", labels: payload.labels, ratio: 0.58 });
  const note = element("p");
  const update = () => {
    const held = study.aggregate.find((each) => each.kind === choices.get("kind"));
    const metric = choices.get("metric");
    note.textContent = held ? counted(held.tasks.length, "task") : "";
    chart.show(dots((held?.ratios ?? []).map((each) => ({
      ratio: each.ratio, x: each.ratio, y: each[metric].point, low: each[metric].low, high: each[metric].high, seeds: each.runs,
    })), label), { xTitle: "train ratio", yTitle: study.unit, isLog: true, ticks: study.ratios, dots: true });
  };
  choices.onChange(update);
  update();
  return chartFigure(chart, note);
}

function taskScores(task, { study, payload, label, choices }) {
  const chart = new LineChart({ title: task.task, labels: payload.labels });
  const note = element("p");
  const update = () => {
    const budget = task.budgets.find((each) => each.kind === choices.get("kind"));
    note.textContent = budget ? `after ${shortNumber(budget.value)} ${KINDS[budget.kind]}` : "";
    note.title = budget?.chosen ?? "";
    chart.show(dots((budget?.ratios ?? []).map((each) => ({
      ratio: each.ratio, x: each.ratio, y: each.mean, low: each.low, high: each.high, seeds: each.seeds,
    })), label), { xTitle: "train ratio", yTitle: "episode score", isLog: true, ticks: study.ratios, dots: true });
  };
  choices.onChange(update);
  update();
  return chartFigure(chart, note, { canChange: true });
}

function taskCosts(task, { study, payload, label, choices }) {
  const chart = new LineChart({ title: task.task, labels: payload.labels });
  const note = element("p");
  const update = () => {
    const cost = choices.get("cost");
    const held = task.frontiers.find((each) => String(each.fraction) === choices.get("fraction"));
    const reached = (held?.ratios ?? []).filter((each) => each[cost] !== null && each.frames !== null && each[cost] > 0);
    const never = (held?.ratios ?? []).filter((each) => each.frames === null).map((each) => ratioText(each.ratio));
    note.textContent = held ? `to ${scoreText(held.score)}${never.length ? `; half of the runs at ${never.join(", ")} never` : ""}` : "";
    const [, ...points] = dots(reached.map((each) => ({
      ratio: each.ratio, x: each[cost], y: each.frames, low: null, high: null, seeds: each.runs, tag: ratioText(each.ratio), isBest: each[`is_best_of_${cost}`],
    })), label);
    chart.show(points, { xTitle: `${cost === "hours" ? KINDS[study.hours] : KINDS.updates} to it`, yTitle: "frames to it", isLog: true, isLogY: true, dots: true });
  };
  choices.onChange(update);
  update();
  return chartFigure(chart, note, { canChange: true });
}

const between = (low, high) => (low === null ? "" : `${scoreText(low)} to ${scoreText(high)}`);

/** The ratio to take on each task, and how sure that is. */
function advice({ study, choices }) {
  const body = element("tbody");
  const update = () => {
    body.replaceChildren(...study.tasks.flatMap((task) => {
      const held = task.recommended.find((each) => each.kind === choices.get("kind"));
      if (!held) return [];
      const others = held.not_seen_worse.filter((ratio) => ratio !== held.ratio).map(ratioText).join(", ");
      return [element("tr", {},
        element("th", { scope: "row" }, breakable(task.task)),
        element("td", { class: "best" }, element("span", { class: "value" }, ratioText(held.ratio))),
        element("td", {}, scoreText(held.mean), element("span", { class: "seeds" }, counted(held.seeds, "seed"))),
        element("td", {}, held.next_best === null ? "–" : [`${ratioText(held.next_best)}: ${scoreText(held.next_mean)}`, element("span", { class: "seeds" }, counted(held.next_seeds, "seed"))]),
        element("td", {}, held.difference === null ? "–" : [scoreText(held.difference), element("span", { class: "span" }, between(held.low, held.high))]),
        element("td", {}, held.verdict),
        element("td", {}, others || "–"))];
    }));
  };
  choices.onChange(update);
  update();
  return scrolling("Recommended ratio", element("table", { class: "advice" },
    element("thead", {}, element("tr", {}, ["task", "best ratio", "score", "next best", "difference", "evidence", "not seen to be worse"].map((name) => element("th", { scope: "col" }, name)))), body));
}

/** How likely a run at one ratio beats the one of the same task and seed at another. */
function chances({ study, choices }) {
  const body = element("tbody");
  const update = () => {
    const held = study.aggregate.find((each) => each.kind === choices.get("kind"));
    body.replaceChildren(...(held?.pairs ?? []).map((pair) => element("tr", {},
      element("th", { scope: "row" }, `${ratioText(pair.other)} beats ${ratioText(pair.ratio)}`),
      element("td", { class: "value" }, `${((1 - pair.chance) * 100).toFixed(0)} %`),
      element("td", {}, pair.low === null ? "" : `${((1 - pair.high) * 100).toFixed(0)} to ${((1 - pair.low) * 100).toFixed(0)} %`),
      element("td", {}, `${counted(pair.pairs, "pair")} on ${counted(pair.tasks, "task")}`))));
    if (!body.children.length) body.append(element("tr", {}, element("td", {}, "No pair of runs shares task and seed here.")));
  };
  choices.onChange(update);
  update();
  return element("div", {}, element("h4", {}, "Chance that a run beats the one of the same task and seed"),
    scrolling("Paired chances", element("table", { class: "chances" }, body)));
}
