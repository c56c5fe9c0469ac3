// What the numbers were made with, and the commands that make them again.

import { announce, element } from "./nodes.js";

export function originSection(payload) {
  const { facts, texts } = payload.origin;
  return [
    element("dl", { class: "facts" }, facts.map((fact) => [element("dt", {}, fact.name), element("dd", {}, fact.value)])),
    texts.map((text) => element("details", {}, element("summary", {}, text.title), element("pre", { tabindex: "0", "aria-label": text.title }, text.text))),
  ];
}

export function commandsSection(payload) {
  return payload.commands.map((command) => {
    const code = element("pre", { class: "command", tabindex: "0", "aria-label": command.about }, command.text);
    const copy = async () => {
      getSelection().selectAllChildren(code);
      try {
        await navigator.clipboard.writeText(command.text);
        announce("Copied.");
      } catch {
        announce("Selected; copy it with the keyboard.");
      }
    };
    return element("div", { class: "copied" }, element("p", {}, command.about), code,
      element("button", { type: "button", class: "quiet", onclick: copy }, "copy"));
  });
}
