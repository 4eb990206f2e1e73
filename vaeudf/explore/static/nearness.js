/**
 * How near an item is, in words and as a bar: from how far this place is from its mean, in units of the
 * radius that 95 % of the item's own Gaussian is within (vaeudf/explore/nearness.py).
 */

import { el } from "./elements.js";
import { number } from "./numbers.js";

/** Words, and up to which distance they are right. */
const WORDS = [
  [1, "very near"],
  [2, "near"],
  [4, "far"],
  [Infinity, "very far"],
];

/** The word for a distance. */
export const nearnessWord = (distance) => WORDS.find(([most]) => distance <= most)[1];

/** How much of its bar a distance fills: all at the mean, half at the radius, and never nothing. */
export const nearnessPart = (distance) => 1 / (1 + distance);

/** The line of a card that says it. */
export class NearnessLine {
  constructor() {
    this.bar = el("span", { class: "part", "aria-hidden": "true" });
    this.word = el("span", { class: "word" });
    this.element = el("div", { class: "nearness" }, this.bar, this.word);
  }

  show({ relative_distance: distance }) {
    this.element.hidden = distance === undefined;
    if (distance === undefined) return;
    this.word.textContent = nearnessWord(distance);
    this.bar.style.setProperty("--part", nearnessPart(distance));
    this.element.title = `${number(distance)} times the radius that 95 % of the item's own Gaussian is within`;
  }
}
