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

/** A number as it was typed, with a true minus sign. */
export const plain = (value) => String(value).replaceAll("-", "−");

/**
 * An expected number of items in words: whole numbers, of two significant digits.
 * @param {number} expected how many are at a place
 * @param {number} matching how many pass the filters
 * @param {number} all how many there are
 */
export function howMany(expected, matching, all) {
  if (matching === 1) {
    const only = all === 1 ? "The only item" : "The only item that passes the filters";
    return `${only} is ${expected < 1 ? "not " : ""}at this place.`;
  }
  const among = `of the ${count(matching)} items${matching === all ? "" : " that pass the filters"}`;
  if (expected < 0.05) return `None ${among} is at this place.`;
  if (expected < 1) return `The nearest ${among} are close to this place, but not at it.`;
  const scale = 10 ** Math.max(Math.floor(Math.log10(expected)) - 1, 0);
  const about = Math.round(expected / scale) * scale;
  return `About ${count(about)} ${among} ${about === 1 ? "is" : "are"} at this place.`;
}

/**
 * A message of the service with a capital letter, as a sentence has it; a name that comes first, such as z,
 * k or item_id, stays.
 */
export const sentence = (message) =>
  message.replace(/^[a-z][a-z'’]+(?=[ ,;:.]|$)/, (word) => word[0].toUpperCase() + word.slice(1));

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
