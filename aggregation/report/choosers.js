// Drop-down lists that change a choice.

import { element } from "./nodes.js";

/** A list with its caption. `options` by name: a title, or null for one that cannot be chosen. */
export function chooser(title, name, options, choices) {
  const select = element("select", { "data-choice": name, onchange: () => choices.set(name, select.value) },
    Object.entries(options).map(([value, text]) =>
      element("option", { value, selected: value === choices.get(name) }, text)));
  choices.onChange(() => { select.value = choices.get(name); });
  return element("label", { class: "chooser" }, element("span", {}, title), select);
}
