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

/** An expected number of items in words: whole numbers, of two significant digits. */
export function howMany(expected, all) {
  const total = count(all);
  if (expected < 0.05) return `none of the ${total} items are here: those shown are the nearest`;
  if (expected < 1) return `fewer than one of the ${total} items is here`;
  const scale = 10 ** Math.max(Math.floor(Math.log10(expected)) - 1, 0);
  return `about ${count(Math.round(expected / scale) * scale)} of the ${total} items are here`;
}

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
