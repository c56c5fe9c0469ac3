// Scales and their ticks. A scale takes a value to pixels; `invert` takes it back.

/** Round positions within `low` to `high`, about `count` of them. */
export function linearTicks(low, high, count) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / Math.max(1, count);
  const magnitude = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * magnitude).find((each) => each >= raw * 0.999);
  const ticks = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) {
    ticks.push(Number((index * step).toPrecision(12)));
  }
  return ticks;
}

/** Powers of ten, or of two where few tens lie within. */
export function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  const base = decades >= 2.5 ? 10 : 2;
  const first = Math.ceil(Math.log(low) / Math.log(base) - 1e-9);
  const last = Math.floor(Math.log(high) / Math.log(base) + 1e-9);
  const stride = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, count)));
  const ticks = [];
  for (let power = first; power <= last; power += stride) ticks.push(Number((base ** power).toPrecision(12)));
  return ticks.length > 1 ? ticks : linearTicks(low, high, count);
}

function made(forth, back, [low, high], [from, to], ticks) {
  const first = forth(low);
  const span = forth(high) - first || 1;
  const scale = (value) => from + ((forth(value) - first) / span) * (to - from);
  scale.invert = (pixel) => back(first + ((pixel - from) / (to - from)) * span);
  scale.domain = [low, high];
  scale.ticks = (count) => ticks(low, high, count);
  return scale;
}

export function linearScale(domain, range) {
  return made((value) => value, (value) => value, domain, range, linearTicks);
}

export function logScale(domain, range) {
  return made(Math.log, Math.exp, domain, range, logTicks);
}
