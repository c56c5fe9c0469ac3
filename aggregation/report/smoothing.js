// Smoothing of curves. Empty points stay empty and lend no weight to their neighbours.

/** The choices, as they are named in the page and in captions. */
export const SMOOTHINGS = {
  none: { title: "none", apply: (values) => values },
  average5: { title: "moving average, 5 points", apply: (values) => movingAverage(values, 5) },
  average15: { title: "moving average, 15 points", apply: (values) => movingAverage(values, 15) },
  exponential6: { title: "exponential, weight 0.6", apply: (values) => exponential(values, 0.6) },
  exponential9: { title: "exponential, weight 0.9", apply: (values) => exponential(values, 0.9) },
};

/** The mean of the `width` points around each; fewer at both ends. */
export function movingAverage(values, width) {
  const half = Math.floor(width / 2);
  return values.map((value, index) => {
    if (value === null) return null;
    let sum = 0;
    let count = 0;
    for (const each of values.slice(Math.max(0, index - half), index + half + 1)) {
      if (each !== null) {
        sum += each;
        count += 1;
      }
    }
    return sum / count;
  });
}

/** Each point and the ones before it, which count `weight` times less with each step; free of the bias to the start. */
export function exponential(values, weight) {
  let sum = 0;
  let mass = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return sum / mass;
  });
}
