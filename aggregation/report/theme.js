// Light, dark, or as the system has it.

import { element } from "./nodes.js";

const KEY = "dreamsweep-theme";

function stored() {
  try {
    return localStorage.getItem(KEY) ?? "auto";
  } catch {
    return "auto"; // a page from a file may have no storage
  }
}

function use(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function themeChooser() {
  const select = element("select", {
    "aria-label": "Colours",
    onchange: () => {
      use(select.value);
      try {
        localStorage.setItem(KEY, select.value);
      } catch {
        // then it holds for this visit
      }
    },
  }, ["auto", "light", "dark"].map((theme) => element("option", { value: theme, selected: theme === stored() }, theme)));
  use(stored());
  return element("label", { class: "chooser theme" }, element("span", {}, "Colours"), select);
}

/** Give each label its colour and dash, for both themes; the one that the legend points at stands out. */
export function styleLabels(labels) {
  const { sheet } = document.getElementById("style");
  labels.forEach((label, index) => {
    sheet.insertRule(`.line-${index} { --line: ${label.light}; --line-dark: ${label.dark}; --dash: ${label.dash}; }`);
    sheet.insertRule(`[data-pointed="${index}"] .stage :is(.curve, .band):not(.line-${index}) { opacity: .12; }`);
  });
}
