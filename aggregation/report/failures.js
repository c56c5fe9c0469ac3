// What failed, by cause: how often, an example, and the end of its log.

import { element } from "./nodes.js";
import { counted } from "./numbers.js";

export function failuresSection(payload) {
  const { groups, held, warnings, early } = payload.failures;
  const parts = [];
  for (const text of warnings) parts.push(element("p", { class: "warning" }, text));
  for (const each of held) {
    parts.push(element("p", { class: "warning" }, element("b", {}, "Held back "), `${each.group}: ${each.why}`));
  }
  if (groups.length === 0) {
    parts.push(payload.failures.is_known
      ? element("p", { class: "good" }, "No run failed.")
      : element("p", { class: "note" }, "The sources do not tell of failures."));
  }
  for (const [place, group] of groups.entries()) {
    parts.push(element("details", { class: "failure", open: place === 0 },
      element("summary", {}, element("b", {}, counted(group.runs, "run")), " ", element("span", { class: "outcome" }, group.outcome), ` ${group.cause}`),
      element("p", {}, "For example ", element("code", {}, group.example)),
      group.lines.length ? element("pre", { tabindex: "0", "aria-label": "End of the log" }, group.lines.join("\n")) : null,
      group.log ? element("p", { class: "where" }, group.log) : null));
  }
  if (early.length > 0) {
    parts.push(element("h3", {}, "Early warnings"),
      element("p", { class: "note" }, "What lies outside what its references did at the same step, and what may be the cause."),
      early.map((each) => element("p", { class: "warning" }, each.text,
        each.causes.map((cause) => element("span", { class: "cause" }, `perhaps ${cause}`)))));
  }
  return parts;
}
