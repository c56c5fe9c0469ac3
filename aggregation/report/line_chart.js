// One chart of lines with bands: hover, zoom by dragging, and the same with the keyboard.

import { linearScale, logScale } from "./axis.js";
import { announce, drawn, element } from "./nodes.js";
import { ratioText, scoreText, shortNumber } from "./numbers.js";
import { at } from "./series.js";

const TICK_PIXELS = { x: 70, y: 38 };
const LEAST_DRAG = 6;
const NARROW = 520;
let clips = 0;

const charts = new Set();
const seen = new IntersectionObserver(
  (entries) => entries.forEach((entry) => entry.target.chart.come(entry.isIntersecting)),
  { rootMargin: "400px" },
);
const sized = new ResizeObserver((entries) => entries.forEach((entry) => entry.target.chart.resize()));

document.addEventListener("pointerdown", (event) => {
  for (const chart of charts) if (!chart.node.contains(event.target)) chart.leave();
});

/** Draw also what was not looked at yet; for print. */
export function drawAll() {
  for (const chart of charts) chart.refresh();
}

/** The place of the value in an ascending list that is nearest to `x`. */
export function nearest(xs, x) {
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle;
    else high = middle;
  }
  return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
}

export class LineChart {
  /**
   * @param {string} title names the chart, for screen readers too.
   * @param {Array} labels of the payload: name and style.
   * @param {number} ratio height over width.
   */
  constructor({ title, labels, ratio = 0.68 }) {
    Object.assign(this, { title, labels, ratio, lines: [], view: null, isNear: false, isStale: false, width: 0 });
    this.clip = `clip-${++clips}`;
    this.tip = element("div", { class: "tip", hidden: true });
    this.reset = element("button", { type: "button", class: "quiet reset", hidden: true, onclick: () => this.zoom(null) },
      "reset zoom");
    this.stage = element("div", {
      class: "stage",
      tabindex: "0",
      role: "group",
      "aria-roledescription": "chart",
      "aria-label": `${title}. Arrow keys read values, plus and minus zoom, 0 resets.`,
      onkeydown: (event) => this.press(event),
      onblur: () => this.leave(),
    });
    this.node = element("div", { class: "chart" }, this.stage, this.tip, this.reset);
    this.stage.chart = this.node.chart = this;
    this.hold();
    this.listen();
    charts.add(this);
    seen.observe(this.node);
    sized.observe(this.node);
  }

  /**
   * Show other lines: {label, xs, ys, lows, highs, seeds, tag, isBest}. One without a label is a thin line that guides
   * the eye. Options: xTitle, yTitle, isLog and isLogY for logarithmic axes, ticks below, dots for a dot
   * at every point.
   */
  show(lines, options) {
    const isOtherAxis = options.xTitle !== this.options?.xTitle;
    this.lines = lines;
    this.options = options;
    if (isOtherAxis) this.view = null;
    this.isStale = true;
    if (this.isNear) this.draw();
  }

  /** It came near to what the reader sees, or went away from it: only what is near is drawn at once. */
  come(isNear) {
    this.isNear = isNear;
    if (isNear) this.refresh();
  }

  refresh() {
    if (this.isStale || (this.node.clientWidth && this.node.clientWidth !== this.width)) this.draw();
  }

  resize() {
    if (this.isNear && this.node.clientWidth && this.node.clientWidth !== this.width) this.draw();
  }

  /** Take another shape. */
  reshape(ratio) {
    this.ratio = ratio;
    if (this.isNear) this.draw();
    else this.hold();
  }

  /** Hold the place before it is drawn, so that nothing moves under the reader. */
  hold() {
    this.stage.style.setProperty("aspect-ratio", `1 / ${this.ratioFor(innerWidth)}`);
  }

  zoom(view) {
    this.view = view;
    this.leave();
    this.draw();
  }

  // -- what is shown

  ratioFor(width) {
    return width < NARROW ? Math.max(this.ratio, 0.68) : this.ratio;
  }

  domain() {
    const xs = this.lines.flatMap((line) => line.xs.filter((_, index) => line.ys[index] !== null));
    const [low, high] = extremes(xs);
    if (this.options.isLog) return [low / 1.3, high * 1.3];
    return [Math.min(low, 0), high > 0 ? high : 1];
  }

  reach([from, to]) {
    let [low, high] = [Infinity, -Infinity];
    for (const line of this.lines) {
      line.xs.forEach((x, index) => {
        if (x < from || x > to || line.ys[index] === null) return;
        low = Math.min(low, line.ys[index], line.lows?.[index] ?? Infinity);
        high = Math.max(high, line.ys[index], line.highs?.[index] ?? -Infinity);
      });
    }
    if (!(high >= low)) return [0, 1];
    if (this.options.isLogY) return [low / 1.25, high * 1.25];
    const margin = (high - low || Math.abs(high) || 1) * 0.05;
    return [low - margin, high + margin];
  }

  draw() {
    this.isStale = false;
    this.width = this.node.clientWidth || 320;
    const width = this.width;
    const height = Math.round(Math.max(150, width * this.ratioFor(width)));
    this.stage.style.removeProperty("aspect-ratio");
    if (this.lines.every((line) => line.ys.every((y) => y === null))) {
      this.x = null;
      this.stage.replaceChildren(element("p", { class: "nothing" }, "No data here."));
      return;
    }
    const domain = this.view?.x ?? this.domain();
    const reach = this.view?.y ?? this.reach(domain);
    const upright = this.options.isLogY ? logScale : linearScale;
    const rows = upright(reach, [height, 0]).ticks(height / TICK_PIXELS.y);
    const left = 14 + Math.max(...rows.map((tick) => shortNumber(tick).length)) * 6.6 + (this.options.yTitle ? 15 : 0);
    const box = { left, right: width - 16, top: 8, bottom: height - (this.options.xTitle ? 38 : 22) };
    this.box = box;
    this.x = (this.options.isLog ? logScale : linearScale)(domain, [box.left, box.right]);
    this.y = upright(reach, [box.bottom, box.top]);
    this.marks = drawn("g", { class: "marks" });
    this.rectangle = drawn("rect", { class: "zooming", visibility: "hidden" });
    const shown = this.labelled().map((line) => `${this.labels[line.label].name} ${lastText(line)}`).join(", ");
    const svg = drawn("svg", {
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": `${this.title}: ${this.options.yTitle ?? "score"} over ${this.options.xTitle}. At the end: ${shown}.`,
    },
      drawn("clipPath", { id: this.clip },
        drawn("rect", { x: box.left, y: box.top - 2, width: box.right - box.left, height: box.bottom - box.top + 4 })),
      this.grid(box),
      drawn("g", { "clip-path": `url(#${this.clip})` },
        this.options.dots ? null : this.lines.map((line) => this.band(line)),
        this.lines.map((line) => this.line(line))),
      this.marks, this.rectangle);
    this.stage.replaceChildren(svg);
    this.reset.hidden = this.view === null;
  }

  grid(box) {
    const parts = [];
    for (const tick of this.y.ticks((box.bottom - box.top) / TICK_PIXELS.y)) {
      const y = this.y(tick);
      parts.push(drawn("line", { class: "rule", x1: box.left, x2: box.right, y1: y, y2: y }),
        drawn("text", { class: "tick", x: box.left - 6, y: y + 4, "text-anchor": "end" }, shortNumber(tick)));
    }
    for (const tick of this.options.ticks ?? this.x.ticks((box.right - box.left) / TICK_PIXELS.x)) {
      if (tick < this.x.domain[0] || tick > this.x.domain[1]) continue;
      const x = this.x(tick);
      parts.push(drawn("line", { class: "rule", x1: x, x2: x, y1: box.top, y2: box.bottom }),
        drawn("text", { class: "tick", x, y: box.bottom + 15, "text-anchor": "middle" }, this.xText(tick)));
    }
    parts.push(drawn("path", { class: "frame", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }));
    const middle = (box.top + box.bottom) / 2;
    if (this.options.xTitle) {
      parts.push(drawn("text", { class: "axis", x: (box.left + box.right) / 2, y: box.bottom + 32, "text-anchor": "middle" },
        this.options.xTitle));
    }
    if (this.options.yTitle) {
      parts.push(drawn("text", { class: "axis", "text-anchor": "middle", transform: `translate(11 ${middle}) rotate(-90)` },
        this.options.yTitle));
    }
    return drawn("g", {}, parts);
  }

  band(line) {
    if (!line.lows) return null;
    const pieces = stretches(line, (index) => line.lows[index] !== null && line.highs[index] !== null && line.ys[index] !== null);
    const d = pieces.map((piece) => {
      const above = piece.map((index) => this.point(line.xs[index], line.highs[index]));
      const below = piece.map((index) => this.point(line.xs[index], line.lows[index])).reverse();
      return `M${[...above, ...below].join("L")}Z`;
    }).join("");
    return drawn("path", { class: `band line-${line.label}`, d });
  }

  line(line) {
    const pieces = stretches(line, (index) => line.ys[index] !== null);
    const name = line.label === null ? "guide" : `line-${line.label}`;
    const d = pieces.map((piece) => `M${piece.map((index) => this.point(line.xs[index], line.ys[index])).join("L")}`).join("");
    const parts = [];
    parts.push(drawn("path", { class: `curve ${name}`, d }));
    for (const piece of pieces) {
      if (line.label === null || (!this.options.dots && piece.length > 1)) continue;
      for (const index of piece) parts.push(this.dot(line, index, name));
    }
    return drawn("g", { "data-label": line.label }, parts);
  }

  dot(line, index, name) {
    const [x, y] = [this.x(line.xs[index]), this.y(line.ys[index])];
    const parts = [drawn("circle", { class: `dot ${name}`, cx: x, cy: y, r: this.options.dots ? 4.5 : 3.5 })];
    if (line.isBest) parts.push(drawn("circle", { class: `ring ${name}`, cx: x, cy: y, r: 7.5 }));
    if (line.tag) parts.push(drawn("text", { class: "tick", x: x + 10, y: y - 6 }, line.tag));
    if (line.lows?.[index] !== null && line.lows?.[index] !== undefined) {
      parts.unshift(drawn("line", { class: `whisker ${name}`, x1: x, x2: x, y1: this.y(line.lows[index]), y2: this.y(line.highs[index]) }));
    }
    return drawn("g", {}, parts);
  }

  labelled() {
    return this.lines.filter((line) => line.label !== null);
  }

  point(x, y) {
    return `${this.x(x).toFixed(1)} ${this.y(y).toFixed(1)}`;
  }

  // -- what the reader does

  listen() {
    let start = null;
    const place = (event) => {
      const bounds = this.stage.getBoundingClientRect();
      const factor = this.width / bounds.width;
      return [(event.clientX - bounds.left) * factor, (event.clientY - bounds.top) * factor];
    };
    this.stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.x) return;
      if (event.pointerType === "touch") {
        this.pointAt(place(event));
        return;
      }
      start = place(event);
      this.stage.setPointerCapture(event.pointerId);
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (!this.x) return;
      if (start) this.stretch(start, place(event));
      else this.pointAt(place(event));
    });
    this.stage.addEventListener("pointerup", (event) => {
      if (!start) return;
      const end = place(event);
      const from = start;
      start = null;
      this.rectangle.setAttribute("visibility", "hidden");
      this.take(from, end);
    });
    this.stage.addEventListener("pointercancel", () => { start = null; });
    // What a finger pointed at stays until it points elsewhere.
    this.stage.addEventListener("pointerleave", (event) => start || event.pointerType === "touch" || this.leave());
    this.stage.addEventListener("dblclick", () => this.zoom(null));
  }

  pointAt([x]) {
    this.hover(this.x.invert(Math.min(this.box.right, Math.max(this.box.left, x))));
  }

  /** The part of the box between two corners; its whole height where the drag was flat. */
  corners([x0, y0], [x1, y1]) {
    const within = (value, low, high) => Math.min(high, Math.max(low, value));
    const { left, right, top, bottom } = this.box;
    const isFlat = Math.abs(y1 - y0) < 24;
    const ys = isFlat ? [top, bottom] : [within(Math.min(y0, y1), top, bottom), within(Math.max(y0, y1), top, bottom)];
    return { xs: [within(Math.min(x0, x1), left, right), within(Math.max(x0, x1), left, right)], ys, isFlat };
  }

  stretch(from, to) {
    const { xs, ys } = this.corners(from, to);
    const shape = { x: xs[0], y: ys[0], width: xs[1] - xs[0], height: ys[1] - ys[0], visibility: "visible" };
    for (const [name, value] of Object.entries(shape)) this.rectangle.setAttribute(name, value);
    this.tip.hidden = true;
  }

  take(from, to) {
    const { xs, ys, isFlat } = this.corners(from, to);
    if (xs[1] - xs[0] < LEAST_DRAG) return;
    this.zoom({ x: xs.map(this.x.invert), y: isFlat ? null : [this.y.invert(ys[1]), this.y.invert(ys[0])] });
  }

  press(event) {
    if (!this.x) return;
    const all = [...new Set(this.lines.flatMap((line) => line.xs))].sort((one, other) => one - other)
      .filter((x) => x >= this.x.domain[0] && x <= this.x.domain[1]);
    const now = this.cursor === undefined ? -1 : nearest(all, this.cursor);
    const stride = Math.max(1, Math.round(all.length / 60));
    const go = (index) => this.hover(all[Math.min(all.length - 1, Math.max(0, index))], true);
    const centre = this.cursor ?? (this.x.domain[0] + this.x.domain[1]) / 2;
    const scaled = (factor) => this.zoom({ x: this.x.domain.map((edge) => centre + (edge - centre) * factor), y: null });
    const actions = {
      ArrowRight: () => go(now + stride),
      ArrowLeft: () => go(now < 0 ? all.length - 1 : now - stride),
      Home: () => go(0),
      End: () => go(all.length - 1),
      "+": () => scaled(0.5),
      "=": () => scaled(0.5),
      "-": () => (this.view ? scaled(2) : null),
      0: () => this.zoom(null),
      Escape: () => (this.view ? this.zoom(null) : this.leave()),
    };
    if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  }

  /** Show the values at `x`: of each line the point nearest to it, where the line reaches as far. */
  hover(x, isSpoken = false) {
    this.cursor = x;
    const points = [];
    for (const line of this.labelled()) {
      const index = nearest(line.xs, x);
      const apart = Math.abs(this.x(line.xs[index]) - this.x(x));
      const spacing = line.xs.length > 1 ? Math.abs(this.x(line.xs[Math.min(index + 1, line.xs.length - 1)]) - this.x(line.xs[Math.max(0, index - 1)])) : 12;
      if (line.ys[index] === null || apart > Math.max(12, spacing)) continue;
      points.push({ line, index, x: line.xs[index], y: line.ys[index], low: line.lows?.[index], high: line.highs?.[index] });
    }
    if (points.length === 0) return this.leave();
    points.sort((one, other) => other.y - one.y);
    const position = this.x(points[0].x);
    this.marks.replaceChildren(
      drawn("line", { class: "cursor", x1: position, x2: position, y1: this.box.top, y2: this.box.bottom }),
      ...points.map((point) => drawn("circle", { class: `dot line-${point.line.label}`, cx: this.x(point.x), cy: this.y(point.y), r: 3.5 })));
    this.tell(points, position);
    if (isSpoken) {
      announce(`${this.place(points[0].x)}: ` +
        points.map((point) => `${this.labels[point.line.label].name} ${scoreText(point.y)}`).join(", "));
    }
    return undefined;
  }

  /** Given ticks are values that were chosen, and stand as they are; others are measures, and may be short. */
  xText(x) {
    return this.options.ticks ? ratioText(x) : shortNumber(x);
  }

  place(x) {
    return this.options.isLog ? `${this.options.xTitle} ${this.xText(x)}` : `${shortNumber(x)} ${this.options.xTitle}`;
  }

  tell(points, position) {
    const rows = points.slice(0, 14).map((point) => {
      const seeds = at(point.line.seeds, point.index);
      const span = point.low === null || point.low === undefined ? "" : `${scoreText(point.low)} to ${scoreText(point.high)}`;
      return element("tr", {},
        element("th", { scope: "row" }, swatch(point.line.label), this.labels[point.line.label].name),
        element("td", { class: "value" }, scoreText(point.y)),
        element("td", {}, span),
        element("td", {}, seeds === undefined || seeds === null ? "" : `n=${seeds}`));
    });
    const more = points.length > 14 ? [element("p", {}, `and ${points.length - 14} more`)] : [];
    this.tip.replaceChildren(element("p", {}, this.place(points[0].x)),
      element("table", {}, element("tbody", {}, rows)), ...more);
    this.tip.hidden = false;
    const bounds = this.stage.getBoundingClientRect();
    const factor = bounds.width / this.width;
    const width = this.tip.offsetWidth;
    const x = position * factor;
    const room = document.documentElement.clientWidth - 8;
    let left = x + 14;
    if (bounds.left + left + width > room) left = x - 14 - width;
    left = Math.min(Math.max(left, 8 - bounds.left), room - width - bounds.left);
    const isAside = left >= x + 10 || left + width <= x - 10;
    this.tip.style.setProperty("left", `${left}px`);
    this.tip.style.setProperty("top", isAside ? "8px" : `${this.stage.offsetHeight + 4}px`);
  }

  leave() {
    this.cursor = undefined;
    this.tip.hidden = true;
    this.marks?.replaceChildren();
  }
}

/** A piece of a label's line, for legends and tips. */
export function swatch(label) {
  return drawn("svg", { class: "swatch", viewBox: "0 0 26 10", "aria-hidden": "true" },
    drawn("path", { class: `curve line-${label}`, d: "M1 5H25" }));
}

function extremes(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

function lastText(line) {
  for (let index = line.ys.length - 1; index >= 0; index--) {
    if (line.ys[index] !== null) return scoreText(line.ys[index]);
  }
  return "nothing";
}

/** The indices of each unbroken stretch of points. */
function stretches(line, isThere) {
  const pieces = [];
  let piece = null;
  line.xs.forEach((_, index) => {
    if (!isThere(index)) {
      piece = null;
    } else if (piece) {
      piece.push(index);
    } else {
      piece = [index];
      pieces.push(piece);
    }
  });
  return pieces;
}
