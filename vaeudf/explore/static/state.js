/**
 * What is asked: one plain object, never changed in place.
 *
 * z            a number per dimension, also where it is open (it comes back when that is taken back)
 * open         dimensions that do not matter
 * locked       dimensions that nothing moves but their owner
 * rough        a tolerance of its own per dimension, or null
 * liked, disliked   item ids; while any is liked, the query is these items and z stands at their mean
 * filters      by column: {values: […]}, {low, high}, numbers or dates as text, or {text}
 * per, distinct   one of them at most
 * photo        the number of the photo that is shown, or null; not in the address
 */

export function initialState(table) {
  const n = table.latent_dim;
  return {
    z: Array(n).fill(0),
    open: Array(n).fill(false),
    locked: Array(n).fill(false),
    rough: Array(n).fill(null),
    liked: [],
    disliked: [],
    filters: {},
    sql: "",
    k: 24,
    tolerance: table.tolerance,
    per: null,
    distinct: null,
    rerank: false,
    photo: null,
  };
}

/** Return a copy of a list with one element replaced. */
export function withElement(list, index, value) {
  const copy = [...list];
  copy[index] = value;
  return copy;
}

/** Return z as another place says, except where it is locked. */
export const moved = (state, z) => state.z.map((old, i) => (state.locked[i] ? old : z[i]));

/** What a mean is off by once it has been rounded for the sliders. */
const ROUNDED = 1e-4;

/** Whether the sliders stand at an item's mean. */
export const isAt = (mu, { z, open }) =>
  z.every((value, i) => open[i] || Math.abs(value - mu[i]) <= ROUNDED);

/** The z that is decoded: 0, the prior's mean, stands for what is open. */
export const decodedZ = (state, z = state.z) => z.map((value, i) => (state.open[i] ? 0 : value));

const MOST_STEPS = 200;

/** Holds the state, tells who listens, and remembers the steps. */
export class Store {
  #listeners = [];
  #before = null;
  #past = [];
  #future = [];

  constructor(state) {
    this.state = state;
  }

  /** Call back after every change with (state, previous state, whether it is settled). */
  listen(listener) {
    this.#listeners.push(listener);
  }

  /**
   * Change some of the state.
   * @param {object} patch
   * @param {boolean} settled false while a hand is still moving: such changes make no step
   */
  change(patch, settled = true) {
    const previous = this.state;
    this.#before ??= previous;
    this.state = Object.freeze({ ...previous, ...patch });
    if (settled) this.#step();
    this.#tell(previous, settled);
  }

  #step() {
    if (JSON.stringify(this.#before) !== JSON.stringify(this.state)) {
      this.#past = [...this.#past, this.#before].slice(-MOST_STEPS);
      this.#future = [];
    }
    this.#before = null;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  undo() {
    this.#go(this.#past, this.#future);
  }

  redo() {
    this.#go(this.#future, this.#past);
  }

  #go(from, to) {
    if (this.#before !== null) this.change({});
    const target = from.pop();
    if (target === undefined) return;
    const previous = this.state;
    to.push(previous);
    this.state = target;
    this.#tell(previous, true);
  }

  #tell(previous, settled) {
    for (const listener of this.#listeners) listener(this.state, previous, settled);
  }
}
