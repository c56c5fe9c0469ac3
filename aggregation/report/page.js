// Puts the page together from its payload.

import { coverageSection } from "./coverage.js";
import { curvesSection } from "./curves.js";
import { failuresSection } from "./failures.js";
import { drawAll } from "./line_chart.js";
import { element } from "./nodes.js";
import { commandsSection, originSection } from "./origin.js";
import { ratioSection } from "./ratio.js";
import { scoresSection } from "./score_table.js";
import { styleLabels, themeChooser } from "./theme.js";

const SECTIONS = [
  ["scores", "Scores", scoresSection],
  ["curves", "Curves", curvesSection],
  ["ratio", "Replay ratio", ratioSection],
  ["coverage", "Coverage", coverageSection],
  ["failures", "Failures", failuresSection],
  ["origin", "Origin", originSection],
  ["commands", "Commands", commandsSection],
];

function summary(payload) {
  const { counts, total, about } = payload.progress;
  const bar = element("div", { class: "progress", role: "img", "aria-label": counts.map((each) => `${each.count} ${each.state}`).join(", ") },
    counts.map((each) => {
      const part = element("span", { class: `part ${each.state}` });
      part.style.setProperty("width", `${(each.count / Math.max(1, total)) * 100}%`);
      return part;
    }));
  return [bar, element("p", { class: "progress-text" }, about),
    payload.notes.map((note) => element("p", { class: "warning" }, note))];
}

function build(payload) {
  styleLabels(payload.labels);
  document.getElementById("theme").append(themeChooser());
  document.getElementById("summary").append(...summary(payload).flat());
  const main = document.getElementById("sections");
  const menu = document.getElementById("menu");
  for (const [name, title, make] of SECTIONS) {
    const content = make(payload);
    if (content === null) continue;
    main.append(element("section", { id: name, "aria-labelledby": `${name}-title` },
      element("h2", { id: `${name}-title` }, title), ...[content].flat(Infinity).filter((part) => part !== null)));
    menu.append(element("li", {}, element("a", { href: `#${name}` }, title)));
  }
  window.addEventListener("beforeprint", drawAll);
  matchMedia("print").addEventListener("change", drawAll);
}

build(JSON.parse(document.getElementById("payload").textContent));
