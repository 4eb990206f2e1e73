/**
 * Below each slider, what it does: pictures along its travel, decoded when nothing else is asked.
 * A picture stands below the place of the knob that it belongs to.
 */

import { decodeRow } from "./service.js";

const PICTURES = 7;
const QUIET_MILLISECONDS = 180;

export class Strips {
  #sliders;
  #timer = 0;
  #near = null;
  #controller = null;
  #visible = new Set();
  #shown = new WeakMap();
  #observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries)
      if (isIntersecting) this.#visible.add(target);
      else this.#visible.delete(target);
    this.soon();
  });

  /** @param {Sliders} sliders */
  constructor(sliders) {
    this.#sliders = sliders;
    sliders.onlay = () => this.soon();
    this.observe();
  }

  observe() {
    for (const row of this.#sliders.rows) this.#observer.observe(row.element);
  }

  /** The slider whose strip is wanted first. */
  near(row) {
    this.#near = row;
  }

  /** Something has changed: stop, and begin again once it is quiet. */
  soon() {
    this.#controller?.abort();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#draw(), QUIET_MILLISECONDS);
  }

  async #draw() {
    this.observe();
    const controller = (this.#controller = new AbortController());
    const rows = this.#sliders.rows.filter((row) => this.#visible.has(row.element));
    rows.sort((a, b) => (b === this.#near) - (a === this.#near));
    for (const row of rows) {
      const { low, high, axis, panel } = row;
      const at = (i) => low + ((i + 0.5) / PICTURES) * (high - low);
      const wanted = Array.from({ length: PICTURES }, (_, i) => panel.variant(axis.index, at(i)));
      const key = JSON.stringify(wanted);
      if (this.#shown.get(row) === key) continue;
      try {
        const blob = await decodeRow(wanted, controller.signal);
        if (controller.signal.aborted) return;
        URL.revokeObjectURL(row.strip.src);
        row.strip.src = URL.createObjectURL(blob);
        row.strip.alt = `What ${axis.name} does, from ${low} to ${high}`;
        row.strip.hidden = false;
        this.#shown.set(row, key);
      } catch {
        // Aborted, or the service is gone, which the picture in the middle says.
        return;
      }
    }
  }
}
