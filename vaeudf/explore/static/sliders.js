/** The sliders: one per dimension, or one per direction in which the items differ most. */

import { Correction } from "./correction.js";
import { along, coordinates } from "./directions.js";
import { byId, el, fill, icon, numberIn, press, toggle } from "./elements.js";
import { stop } from "./motion.js";
import { clamp, number, plain, round } from "./numbers.js";
import { decodedZ, moved, withElement } from "./state.js";

/** Outward to a tenth, so that the ends of the travel are numbers that people say. */
const outward = (low, high) => [Math.floor(low * 10) / 10, Math.ceil(high * 10) / 10];

const STEPS = {
  ArrowLeft: -0.1,
  ArrowDown: -0.1,
  ArrowRight: 0.1,
  ArrowUp: 0.1,
  PageDown: -0.5,
  PageUp: 0.5,
};

/** Directions of less of the variance are folded away. */
const LEAST_SHARE = 0.01;

class Row {
  /** @param {{name, title, index, low, high, far}} axis what the slider moves */
  constructor(axis, panel) {
    Object.assign(this, { axis, panel });
    const id = `slider-${panel.kind}-${axis.index}`;
    this.range = el("input", { type: "range", id, step: "0.0001" });
    this.value = el("input", {
      type: "number",
      step: "0.1",
      class: "value",
      "aria-label": `Value of ${axis.name}`,
    });
    this.ghost = el("span", { class: "ghost", hidden: true });
    this.strip = el("img", { class: "strip", alt: "", hidden: true, draggable: "false" });
    this.marks = el("span", { class: "marks" });
    this.rough = el("input", {
      type: "number",
      min: "0",
      step: "0.1",
      "aria-label": `Tolerance of ${axis.name}`,
    });
    this.correction = new Correction();
    this.roughly = el("label", { class: "roughly", hidden: true }, "± ", this.rough);
    this.element = el(
      "li",
      { class: "slider" },
      el(
        "div",
        { class: "line" },
        el("label", { for: id, title: axis.title }, axis.name),
        this.roughly,
        this.marks,
        this.value,
      ),
      this.correction.element,
      el("div", { class: "rail" }, this.ghost, this.range),
      this.strip,
    );
    this.range.addEventListener("input", () =>
      this.#set(round(this.range.valueAsNumber, 2), false),
    );
    this.range.addEventListener("change", () =>
      this.#set(round(this.range.valueAsNumber, 2), true),
    );
    this.range.addEventListener("keydown", (event) => this.#key(event));
    for (const kind of ["keyup", "blur"]) this.range.addEventListener(kind, () => this.#release());
    this.value.addEventListener("change", () => this.#typed());
    // The strip is a second way to say where; the slider above it is the one for keyboards.
    this.strip.addEventListener("click", (event) => {
      if (this.range.disabled) return;
      const { left, width } = this.strip.getBoundingClientRect();
      this.#set(
        round(this.low + ((event.clientX - left) / width) * (this.high - this.low), 2),
        true,
      );
    });
    for (const kind of ["pointerenter", "focusin"])
      this.element.addEventListener(kind, () => panel.onnear?.(this));
  }

  #set(value, settled) {
    stop();
    this.panel.set(this.axis.index, value, settled);
  }

  /** Take what was typed; one beyond the slider's reach is that end. */
  #typed() {
    const { far } = this.axis;
    const typed = numberIn(this.value);
    if (typed === null) {
      this.correct(() => this.correction.refuse(null, "a number", round(this.current, 4)));
    } else {
      const used = clamp(typed, -far, far);
      this.#set(used, true);
      if (used !== typed)
        this.correct(() =>
          this.correction.say(
            `${plain(typed)} is beyond the ends of this slider (${plain(-far)} and ${plain(far)}): ${plain(used)} is used.`,
          ),
        );
    }
    this.value.value = round(this.current, 4);
  }

  /** Say something of a field of this slider, until its value changes. */
  correct(say) {
    this.corrected = this.current;
    say();
  }

  #key(event) {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const fine = event.shiftKey ? 0.1 : 1;
    // A key that is held is one step for undo, as a drag is.
    this.held = true;
    this.#set(clamp(round(this.current + step * fine, 4), this.low, this.high), false);
  }

  #release() {
    if (this.held) this.#set(this.current, true);
    this.held = false;
  }

  /** Show the state. */
  show(state, further) {
    const { axis } = this;
    this.current = this.panel.valueOf(state, axis.index);
    const [low, high] = further ? [-axis.far, axis.far] : outward(axis.low, axis.high);
    [this.low, this.high] = outward(Math.min(low, this.current), Math.max(high, this.current));
    Object.assign(this.range, { min: this.low, max: this.high });
    this.range.valueAsNumber = this.current;
    this.range.setAttribute("aria-valuetext", number(this.current));
    fill(this.value, round(this.current, 4));
    this.element.style.setProperty("--zero", this.#place(0));
    if (this.corrected !== this.current) this.correction.clear();
    this.panel.showMarks?.(this, state);
  }

  /** Where a value stands on the rail, from 0 to 1. */
  #place(value) {
    return clamp((value - this.low) / (this.high - this.low), 0, 1);
  }

  /** Show where another place, such as an item's mean, stands; null to hide it. */
  point(value) {
    this.ghost.hidden = value === null;
    if (value !== null) this.ghost.style.setProperty("--at", this.#place(value));
  }
}

/** Sliders of single dimensions, most informative first. */
class DimensionPanel {
  kind = "z";

  constructor(store, table) {
    Object.assign(this, { store, table });
    const sorted = [...table.dimensions].sort((a, b) => b.kl - a.kl || a.index - b.index);
    this.rows = sorted.map((dimension) => this.#row(dimension));
    this.active = this.rows.filter((row) => !row.axis.collapsed);
    this.collapsed = this.rows.filter((row) => row.axis.collapsed);
  }

  #row(dimension) {
    const name = `z${dimension.index}`;
    const title = `${number(dimension.kl)} nats of information about an item; typical sigma ${number(dimension.sigma)}`;
    const row = new Row({ ...dimension, name, title }, this);
    const flag = (key, patch) => () => {
      const { state } = this.store;
      this.store.change({
        [key]: withElement(state[key], dimension.index, !state[key][dimension.index]),
        ...patch,
      });
    };
    row.lock = toggle(`Lock ${name}: it stays where it is`, icon("lock"), flag("locked"));
    row.any = toggle(`Any ${name}: every value will do`, "any", flag("open", { liked: [] }));
    row.about = toggle(`About ${name}: it may be a little off`, "≈", () => {
      const { state } = this.store;
      const now = state.rough[dimension.index];
      const usual = Math.max(0.5, 2 * state.tolerance);
      this.store.change({
        rough: withElement(state.rough, dimension.index, now === null ? usual : null),
        liked: [],
      });
    });
    row.marks.append(row.about, row.any, row.lock);
    row.rough.addEventListener("change", () => {
      const tau = numberIn(row.rough);
      const { rough } = this.store.state;
      row.correction.clear();
      if (tau !== null && tau >= 0) {
        this.store.change({ rough: withElement(rough, dimension.index, tau) });
        return;
      }
      row.correct(() => row.correction.refuse(tau, "a number of at least 0", rough[dimension.index]));
      row.rough.value = rough[dimension.index];
    });
    return row;
  }

  valueOf(state, index) {
    return state.z[index];
  }

  set(index, value, settled) {
    const { state } = this.store;
    this.store.change({ z: withElement(state.z, index, value), liked: [] }, settled);
  }

  /** z with one value replaced, as it is decoded. */
  variant(index, value) {
    return withElement(decodedZ(this.store.state), index, value);
  }

  pointOf(mu, index) {
    return mu[index];
  }

  showMarks(row, state) {
    const i = row.axis.index;
    press(row.lock, state.locked[i]);
    press(row.any, state.open[i]);
    press(row.about, state.rough[i] !== null);
    row.about.disabled = state.open[i];
    row.element.classList.toggle("open", state.open[i]);
    row.element.classList.toggle("locked", state.locked[i]);
    row.range.disabled = row.value.disabled = state.locked[i] || state.open[i];
    row.roughly.hidden = state.rough[i] === null || state.open[i];
    if (state.rough[i] !== null) fill(row.rough, state.rough[i]);
  }
}

/** Sliders along principal components. */
class DirectionPanel {
  kind = "direction";

  constructor(store, table) {
    Object.assign(this, { store, table });
    const { axes, share, low, high } = table.components;
    const far = Math.max(...table.dimensions.map((dimension) => dimension.far));
    this.rows = axes.map((_, index) => {
      const percent = `${number(100 * share[index], 0)} %`;
      const title = `${percent} of how the items' means differ`;
      const name = `Direction ${index + 1} · ${percent}`;
      return new Row({ index, name, title, low: low[index], high: high[index], far }, this);
    });
    this.active = this.rows.filter((row) => share[row.axis.index] >= LEAST_SHARE);
    this.collapsed = this.rows.filter((row) => share[row.axis.index] < LEAST_SHARE);
  }

  valueOf(state, index) {
    return coordinates(state.z, this.table.components)[index];
  }

  set(index, value, settled) {
    const { state } = this.store;
    this.store.change(
      { z: moved(state, along(state.z, this.table.components, index, value)), liked: [] },
      settled,
    );
  }

  variant(index, value) {
    const { state } = this.store;
    return decodedZ(state, moved(state, along(state.z, this.table.components, index, value)));
  }

  pointOf(mu, index) {
    return coordinates(mu, this.table.components)[index];
  }
}

export class Sliders {
  #panels;
  #panel;

  /**
   * @param {Store} store
   * @param {object} table the answer of /api/table
   * @param {(row: Row) => void} onnear called when a slider comes under the pointer or into focus
   */
  constructor(store, table, onnear) {
    this.store = store;
    this.#panels = [new DimensionPanel(store, table), new DirectionPanel(store, table)];
    for (const panel of this.#panels) panel.onnear = onnear;
    this.further = byId("further");
    this.directions = byId("components");
    byId("components-switch").hidden = table.components.axes.length === 0;
    this.further.addEventListener("change", () => this.show());
    this.directions.addEventListener("change", () => this.lay());
    this.lay();
    store.listen(() => this.show());
  }

  /** The rows that there are, those of collapsed dimensions last. */
  get rows() {
    return this.#panel.rows;
  }

  lay() {
    this.#panel = this.#panels[this.directions.checked ? 1 : 0];
    const { active, collapsed } = this.#panel;
    byId("sliders").replaceChildren(...active.map((row) => row.element));
    byId("collapsed").hidden = collapsed.length === 0;
    byId("collapsed-sliders").replaceChildren(...collapsed.map((row) => row.element));
    const some =
      collapsed.length === 1 ? "1 slider that changes" : `${collapsed.length} sliders that change`;
    byId("collapsed").querySelector("summary").textContent =
      `${some} ${this.directions.checked ? "little" : "nothing"}`;
    byId("sliders-hint").textContent = this.directions.checked
      ? "What the items differ in most comes first. The percentage is its share of all differences."
      : "What tells most of an item comes first.";
    this.show();
    this.onlay?.();
  }

  show() {
    for (const row of this.rows) row.show(this.store.state, this.further.checked);
    this.onlay?.();
  }

  /** Show where an item's mean stands on every slider, or null to hide it. */
  point(mu) {
    for (const row of this.rows) row.point(mu && this.#panel.pointOf(mu, row.axis.index));
  }
}
