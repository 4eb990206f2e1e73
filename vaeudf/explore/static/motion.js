/** Sliders that go somewhere by themselves: smoothly, unless the reader wants little motion. */

import { round } from "./numbers.js";
import { moved } from "./state.js";

const MILLISECONDS = 450;
const still = matchMedia("(prefers-reduced-motion: reduce)");
let frame = 0;

/** Four decimals are far below any sigma, and keep addresses and commands short. */
export const tidy = (z) => z.map((value) => round(value, 4));

export const moving = () => frame !== 0;

export function stop() {
  cancelAnimationFrame(frame);
  frame = 0;
}

/**
 * Move the sliders that are not locked.
 * @param {Store} store
 * @param {number[]} z where to
 * @param {object} patch what else changes
 */
export function goTo(store, z, patch = {}) {
  stop();
  const start = store.state.z;
  const end = moved(store.state, tidy(z));
  if (still.matches || document.hidden) {
    store.change({ ...patch, z: end });
    return;
  }
  const began = performance.now();
  const step = (now) => {
    const t = Math.min((now - began) / MILLISECONDS, 1);
    const eased = 1 - (1 - Math.max(t, 0)) ** 3;
    if (t === 1) {
      frame = 0;
      store.change({ ...patch, z: end });
      return;
    }
    store.change(
      { ...patch, z: start.map((value, i) => round(value + eased * (end[i] - value), 4)) },
      false,
    );
    frame = requestAnimationFrame(step);
  };
  frame = requestAnimationFrame(step);
}
