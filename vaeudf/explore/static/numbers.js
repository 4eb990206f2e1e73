/** Numbers as people read them. */

/** Round to so many decimals; never −0. */
export function round(value, decimals) {
  const scale = 10 ** decimals;
  return Math.round(value * scale) / scale + 0;
}

const counts = new Intl.NumberFormat("en");

export const count = (value) => counts.format(value);

/** At most three significant digits after the point, with a true minus sign. */
export function number(value, decimals = 2) {
  return round(value, decimals).toFixed(decimals).replace("-", "−");
}

/** An expected number of items: two significant digits, and words where it is next to none. */
export function about(expected) {
  if (expected < 0.05) return "no";
  if (expected < 10) return `about ${round(expected, 1)}`;
  const scale = 10 ** (Math.floor(Math.log10(expected)) - 1);
  return `about ${count(Math.round(expected / scale) * scale)}`;
}

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
