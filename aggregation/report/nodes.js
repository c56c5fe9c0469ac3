// Builds the page's nodes. Text only ever becomes a text node, so that no name from outside turns into markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An HTML element. `onclick` and its like are listeners, null and false leave an attribute or a child out. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** A name that may break behind its underscores. */
export function breakable(name) {
  return name.split(/(?<=_)/).flatMap((part, place) => (place === 0 ? [part] : [element("wbr"), part]));
}

/** A wide thing that scrolls sideways by itself, also with the keyboard. */
export function scrolling(name, ...children) {
  return element("div", { class: "scrolling", role: "region", "aria-label": name, tabindex: "0" }, ...children);
}

/** Says something to screen readers. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Offers a text as a file, without any request. */
export function download(name, kind, text) {
  const address = URL.createObjectURL(new Blob([text], { type: kind }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
