/** A line near a field: what was typed that will not do, and what is used instead. */

import { el } from "./elements.js";
import { plain } from "./numbers.js";

export class Correction {
  constructor() {
    this.element = el("small", { class: "correction", role: "status", hidden: true });
  }

  say(text) {
    this.element.hidden = false;
    this.element.textContent = text;
  }

  /**
   * @param {number|null} typed what was found; null if it is no number
   * @param {string} expected
   * @param {number} stays what was there before
   */
  refuse(typed, expected, stays) {
    const found = typed === null ? "That is not a number" : `${plain(typed)} will not do`;
    this.say(`${found}: expected ${expected}. ${plain(stays)} stays.`);
  }

  clear() {
    this.element.hidden = true;
    this.element.textContent = "";
  }
}
