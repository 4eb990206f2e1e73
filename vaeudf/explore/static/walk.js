/** Two places, A and B: go to either, and walk from one to the other. */

import { byId, el } from "./elements.js";
import { goTo, stop } from "./motion.js";
import { round } from "./numbers.js";
import { decode, decodeRow } from "./service.js";
import { decodedZ, moved } from "./state.js";

const PICTURES = 7;
const PLAY_MILLISECONDS = 4000;

class End {
  constructor(walk, name) {
    Object.assign(this, { walk, name, state: null });
    this.go = el(
      "button",
      {
        type: "button",
        class: "go",
        disabled: true,
        "aria-label": `Go to ${name}`,
        onclick: () => this.#back(),
      },
      name,
    );
    this.put = el("button", { type: "button", onclick: () => this.#take() }, `Set ${name}`);
    byId(`end-${name.toLowerCase()}`).append(this.go, this.put);
  }

  #back() {
    const { z, open, rough, liked, disliked } = this.state;
    goTo(this.walk.store, z, { open, rough, liked, disliked });
  }

  async #take() {
    stop();
    this.state = this.walk.store.state;
    this.go.disabled = false;
    if (this.walk.table.can.decode) {
      try {
        const blob = await decode(decodedZ(this.state), this.walk.table.model_id);
        this.go.replaceChildren(
          el("img", { src: URL.createObjectURL(blob), alt: "" }),
          el("span", { class: "rank" }, this.name),
        );
      } catch (error) {
        this.walk.fail(error);
      }
    }
    this.walk.ready();
  }
}

export class Walk {
  #frame = 0;

  constructor(store, table, fail) {
    Object.assign(this, { store, table, fail });
    this.a = new End(this, "A");
    this.b = new End(this, "B");
    this.range = el("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.01,
      "aria-label": "From A to B",
    });
    this.range.addEventListener(
      "input",
      () => this.#pause() || this.#at(this.range.valueAsNumber, false),
    );
    this.range.addEventListener("change", () => this.#at(this.range.valueAsNumber, true));
    this.strip = el("img", { class: "strip", alt: "From A to B", hidden: true });
    this.play = el(
      "button",
      { type: "button", onclick: () => (this.#frame ? this.#pause() : this.#play()) },
      "Walk",
    );
    byId("between").append(this.strip, this.range, this.play);
  }

  #between(t) {
    const [a, b] = [this.a.state.z, this.b.state.z];
    return a.map((value, i) => round(value + t * (b[i] - value), 4));
  }

  #at(t, settled) {
    stop();
    this.store.change({ z: moved(this.store.state, this.#between(t)), liked: [] }, settled);
  }

  #pause() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.play.textContent = "Walk";
  }

  #play() {
    const from = this.range.valueAsNumber >= 1 ? 0 : this.range.valueAsNumber;
    const began = performance.now();
    this.play.textContent = "Stop";
    const step = (now) => {
      const t = Math.min(from + Math.max(now - began, 0) / PLAY_MILLISECONDS, 1);
      this.range.value = t;
      this.#at(t, t === 1);
      if (t === 1) this.#pause();
      else this.#frame = requestAnimationFrame(step);
    };
    this.#frame = requestAnimationFrame(step);
  }

  async ready() {
    if (!this.a.state || !this.b.state) return;
    this.#pause();
    byId("between").hidden = false;
    this.range.value = 0;
    if (!this.table.can.decode) return;
    const { open } = this.b.state;
    const z = Array.from({ length: PICTURES }, (_, i) =>
      decodedZ({ z: this.#between(i / (PICTURES - 1)), open }),
    );
    try {
      const blob = await decodeRow(z);
      URL.revokeObjectURL(this.strip.src);
      this.strip.src = URL.createObjectURL(blob);
      this.strip.hidden = false;
    } catch (error) {
      this.fail(error);
    }
  }
}
