// The labels with a piece of their line each: a pointer makes one stand out in every chart, a click hides or shows it.

import { element } from "./nodes.js";
import { swatch } from "./line_chart.js";

/** Buttons for all labels. `notes` by label says more, for example the number of seeds. */
export function legend(labels, choices, notes = []) {
  const buttons = labels.map((label, index) => element("button", {
    type: "button",
    class: "label",
    "aria-pressed": "true",
    title: "Click to hide or show, double-click to show alone",
    onpointerenter: () => { document.documentElement.dataset.pointed = index; },
    onpointerleave: () => { delete document.documentElement.dataset.pointed; },
    onclick: () => choices.toggle(index),
    ondblclick: () => choices.hide(labels.keys().filter((other) => other !== index)),
  }, swatch(index), element("span", {}, label.name), notes[index] ? element("small", {}, notes[index]) : null));
  const all = element("button", { type: "button", class: "quiet", onclick: () => choices.hide([]) }, "all");
  const none = element("button", { type: "button", class: "quiet", onclick: () => choices.hide(labels.keys()) }, "none");
  choices.onChange(() => buttons.forEach((button, index) => button.setAttribute("aria-pressed", choices.isShown(index))));
  return element("div", { class: "legend", role: "group", "aria-label": "Labels to show" },
    labels.length > 8 ? [all, none] : null, buttons, labels.length > 2 && labels.length <= 8 ? [all, none] : null);
}
