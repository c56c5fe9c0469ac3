// Numbers as texts.

const SCALES = [[1e9, "B"], [1e6, "M"], [1e3, "k"]];

const trimmed = (value, digits) => String(Number(value.toPrecision(digits)));

/** A tick's text: `250`, `1.5k`, `40M`. */
export function shortNumber(value) {
  for (const [scale, suffix] of SCALES) {
    if (Math.abs(value) >= scale) return trimmed(value / scale, 4) + suffix;
  }
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(1);
  return trimmed(value, 4);
}

/** A train ratio as it stands in configs and labels: `1024`, not `1.024k`. */
export function ratioText(value) {
  return trimmed(value, 12);
}

/** A score, with as many digits as say something: `12,345`, `631`, `45.2`, `0.512`; a dash for none. */
export function scoreText(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const decimals = size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  const text = value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return text.replace("-", "−");
}

/** A whole number with separators. */
export function wholeText(value) {
  return Math.round(value).toLocaleString("en");
}

/** `1 run`, `2 runs`. */
export function counted(count, noun) {
  return `${wholeText(count)} ${noun}${count === 1 ? "" : "s"}`;
}
