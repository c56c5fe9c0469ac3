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

/** Powers of ten, with twice and five times them where there is room. */
export function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  const factors = decades * 3 <= count + 1 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil((decades * factors.length) / Math.max(2, count)));
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += factors.length > 1 ? 1 : stride) {
    for (const factor of factors) {
      const tick = Number((factor * 10 ** power).toPrecision(12));
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
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
