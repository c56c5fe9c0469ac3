// From the payload's statistics of one curve to a line with its band, as the reader chose.

import { SMOOTHINGS } from "./smoothing.js";

export const CENTRES = { mean: "mean", median: "median", iqm: "interquartile mean" };

/** What the line is, in words. The interquartile mean needs more runs than a task has seeds. */
export const CENTRE_CAPTIONS = {
  mean: "mean over seeds",
  median: "median over seeds",
  iqm: "interquartile mean over the runs of all tasks, and the mean over seeds where there is one task",
};

/** Every band by name. */
export const BANDS = {
  std: "one standard deviation",
  sem: "one standard error",
  bootstrap: "95 % bootstrap interval",
  quantiles: "middle half (quartiles)",
  range: "lowest to highest",
  none: "no band",
};

/** Positions of a series on an axis: a list, or even ones up to `end`; null where it has no place on the axis. */
export function positions(series, axis) {
  const held = series.x[axis];
  if (held === undefined || held === null) return null;
  if (Array.isArray(held)) return held;
  return Array.from({ length: held.count }, (_, index) => Math.min(held.end, (index + 1) * held.width));
}

/** The statistics of a series on an axis: those over frames, where the axis only stretches them. */
function statistics(series, axis) {
  return series.over?.[axis] ?? series;
}

export const at = (values, index) => (Array.isArray(values) ? values[index] : values);

function edges(held, centre, band) {
  const both = (low, high) => (held[low] && held[high] ? [held[low], held[high]] : [null, null]);
  if (band === "quantiles") return both("quartile_low", "quartile_high");
  if (band === "range") return both("least", "most");
  if (band === "bootstrap") return both(`${centre}_low`, `${centre}_high`);
  if (band === "none" || !held.std) return [null, null];
  const shifted = (sign) => held[centre].map((value, index) => {
    const count = at(held.count, index);
    const std = held.std[index];
    if (value === null || std === null || std === undefined || count < 2) return null;
    return value + sign * (band === "std" ? std : std / Math.sqrt(count - 1));
  });
  return [shifted(-1), shifted(1)];
}

/** The line of a series, or null where it has no such axis: {label, xs, ys, lows, highs, seeds}. */
export function lineOf(series, choices) {
  const axis = choices.get("axis");
  const xs = positions(series, axis);
  if (xs === null) return null;
  const held = statistics(series, axis);
  // Of a single seed all of them are the same.
  const centre = held[choices.get("centre")] ? choices.get("centre") : "mean";
  const smooth = SMOOTHINGS[choices.get("smoothing")].apply;
  const [lows, highs] = edges(held, centre, choices.get("band"));
  return {
    label: series.label,
    xs,
    ys: smooth(held[centre]),
    lows: lows && smooth(lows),
    highs: highs && smooth(highs),
    seeds: held.runs ?? held.count,
  };
}
