/** Which of the map's points is nearest to a place on the screen. */

/** How far off a finger may be, in CSS pixels: half of what it covers. */
export const FINGER = 22;

/**
 * The nearest point, the first of those at the same place.
 * @param {Uint16Array} points x and y of each
 * @param {(x: number, y: number) => [number, number]} pixelOf where a point is; linear in both
 * @param {[number, number]} place
 * @returns {{point: number, apart: number}} its number, and how many pixels it is away
 */
export function nearestPoint(points, pixelOf, [x, y]) {
  const [x0, y0] = pixelOf(0, 0);
  const [x1, y1] = pixelOf(1, 1);
  let [point, least] = [-1, Infinity];
  for (let i = 0; i < points.length / 2; i++) {
    const dx = x0 + points[2 * i] * (x1 - x0) - x;
    const dy = y0 + points[2 * i + 1] * (y1 - y0) - y;
    const apart = dx * dx + dy * dy;
    if (apart < least) [point, least] = [i, apart];
  }
  return { point, apart: Math.sqrt(least) };
}
