/** The colours of the map's points. */

/** Told apart on light and on dark ground, also by most who see few colours (after Okabe and Ito, 2008). */
export const PALETTE = [
  [0, 114, 178],
  [213, 94, 0],
  [0, 158, 115],
  [204, 121, 167],
  [230, 159, 0],
  [86, 180, 233],
  [148, 103, 189],
  [140, 86, 75],
  [127, 160, 30],
  [220, 60, 80],
];
/** From few to many, equally bright steps (viridis, by Smith and van der Walt, 2015), without its ends. */
const RAMP = [
  [70, 50, 126],
  [54, 92, 141],
  [39, 127, 142],
  [31, 161, 135],
  [74, 193, 109],
  [160, 218, 57],
];
export const GREY = [136, 146, 156];

/** A colour of the ramp, from 0 to 1. */
export function onRamp(part) {
  const at = part * (RAMP.length - 1);
  const i = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[i].map((value, channel) => value + (at - i) * (RAMP[i + 1][channel] - value));
}
