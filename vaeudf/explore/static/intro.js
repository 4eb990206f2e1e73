/** What the page is, in three lines: shown at the first visit, and by Help. */

import { byId } from "./elements.js";

const KEY = "vaeudf explore introduced";

/** Whether this browser has seen it; a browser that keeps nothing sees it each time. */
function wasSeen() {
  try {
    return localStorage.getItem(KEY) !== null;
  } catch {
    return false;
  }
}

function keep() {
  try {
    localStorage.setItem(KEY, "yes");
  } catch {
    // A browser may forbid it.
  }
}

export class Intro {
  constructor(table) {
    this.panel = byId("intro");
    this.button = byId("help");
    byId("intro-move").textContent = table.can.decode
      ? "Move a slider. The picture shows what a model of the catalog imagines there; the strip below a slider shows what it changes."
      : "Move a slider. Each is one of the numbers by which a model describes an item.";
    this.button.addEventListener("click", () => this.#show(this.panel.hidden));
    byId("intro-close").addEventListener("click", () => {
      keep();
      this.#show(false);
      this.button.focus();
    });
    this.#show(!wasSeen());
  }

  #show(shown) {
    this.panel.hidden = !shown;
    this.button.setAttribute("aria-expanded", String(shown));
  }
}
