/** The directions in which the items differ most: principal components of their means. */

import { round } from "./numbers.js";

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

/** Where z stands along each direction. */
export function coordinates(z, { axes, mean }) {
  const centred = z.map((value, i) => value - mean[i]);
  return axes.map((axis) => dot(axis, centred));
}

/** Return z moved along one direction until it stands at `target` there. */
export function along(z, { axes, mean }, index, target) {
  const axis = axes[index];
  const step =
    target -
    dot(
      axis,
      z.map((value, i) => value - mean[i]),
    );
  return z.map((value, i) => round(value + step * axis[i], 4));
}
