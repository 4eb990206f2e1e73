/** The whole catalog in two dimensions, on a canvas: a point an item, the hits and z marked. */

import { byId, el } from "./elements.js";
import { goTo } from "./motion.js";
import { clamp } from "./numbers.js";
import { getItemAt, getMap, getMapColours, getMapPoints, Latest } from "./service.js";
import { decodedZ } from "./state.js";

const FULL = 65535;
/** Told apart on light and on dark ground, also by most who see few colours (after Okabe and Ito, 2008). */
const PALETTE = [
  [0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0],
  [86, 180, 233], [148, 103, 189], [140, 86, 75], [127, 160, 30], [220, 60, 80],
];
const GREY = [136, 146, 156];
const REST_MILLISECONDS = 90;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

function octets(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

export class MapPanel {
  #answer = null;
  #cursor = null;
  #timer = 0;

  constructor(store, table, fail) {
    Object.assign(this, { store, table, fail });
    this.section = byId("map");
    this.section.hidden = false;
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      this.#load();
    }).observe(this.section);
  }

  async #load() {
    try {
      [this.description, this.points] = await Promise.all([getMap(), getMapPoints()]);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.#build();
    this.#draw();
    new ResizeObserver(() => this.#draw()).observe(this.place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    this.store.listen(() => this.#mark());
  }

  #build() {
    this.ground = el("canvas", { "aria-hidden": "true" });
    this.marks = el("canvas", { "aria-hidden": "true" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.place = byId("map-place");
    this.place.append(this.ground, this.marks, this.tip);
    Object.entries({
      tabindex: "0",
      role: "application",
      "aria-label": "Map of all items. Arrow keys move a cross, Enter sets the sliders to the item nearest to it.",
    }).forEach(([name, value]) => this.place.setAttribute(name, value));
    byId("map-hint").textContent =
      (this.description.method === "pca"
        ? "Every item, along the two directions in which their means differ most. The ring is where the sliders are"
        : "Every item, neighbours side by side (UMAP). The ring is the best hit") + ", the dots are the hits. Click to go to an item.";
    this.nearest = new Latest(
      ({ at }) => getItemAt(...at),
      (item, { go }) => (go ? this.#go(item) : this.#show(item)),
      this.fail,
    );
    this.place.addEventListener("pointermove", (event) => this.#hover(event));
    this.place.addEventListener("pointerleave", () => this.#leave());
    this.place.addEventListener("click", (event) => this.nearest.ask({ at: this.#at(event), go: true }));
    this.place.addEventListener("keydown", (event) => this.#key(event));
    this.place.addEventListener("blur", () => this.#leave());
    this.#buildColours();
  }

  #buildColours() {
    const columns = this.table.columns.filter((column) => column.kind === "category" && column.values.length > 1);
    const choice = byId("colour");
    choice.append(el("option", { value: "" }, "nothing"), ...columns.map(({ name }) => el("option", { value: name }, name)));
    byId("colour-by").hidden = columns.length === 0;
    choice.addEventListener("change", () => this.#colour(choice.value));
    if (columns.length) {
      choice.value = columns[0].name;
      this.#colour(choice.value);
    }
  }

  async #colour(column) {
    this.codes = null;
    this.legend = [];
    try {
      if (column) {
        const { legend, codes } = await getMapColours(column);
        this.legend = legend;
        this.codes = octets(codes);
      }
    } catch (error) {
      this.fail(error);
    }
    byId("legend").replaceChildren(
      ...this.legend.slice(0, PALETTE.length).map((value, i) => {
        const sample = el("span", { class: "sample" });
        sample.style.setProperty("--colour", `rgb(${PALETTE[i].join(" ")})`);
        return el("li", {}, sample, String(value));
      }),
      ...(this.legend.length > PALETTE.length ? [el("li", {}, `grey: ${this.legend.length - PALETTE.length} others`)] : []),
    );
    this.#draw();
  }

  /** Lay the canvases out, and draw every point. */
  #draw() {
    const ratio = devicePixelRatio || 1;
    const [x0, x1, y0, y1] = this.description.bounds;
    const width = Math.max(Math.round(this.place.clientWidth * ratio), 1);
    const shape = clamp((y1 - y0) / (x1 - x0) || 1, 0.3, 0.62);
    const height = Math.round(width * shape);
    for (const canvas of [this.ground, this.marks]) Object.assign(canvas, { width, height });
    this.margin = 8 * ratio;
    const image = new ImageData(width, height);
    const { data } = image;
    const many = this.points.length / 2;
    const size = clamp(Math.round(Math.sqrt((width * height) / many) / 4), 1, Math.round(3 * ratio));
    const opacity = many > 50000 ? 0.5 : 0.75;
    for (let row = 0; row < many; row++) {
      const code = this.codes ? this.codes[row] : -1;
      const [red, green, blue] = PALETTE[code] ?? GREY;
      const [left, top] = this.#pixel(this.points[2 * row] / FULL, this.points[2 * row + 1] / FULL).map((v) => Math.floor(v - size / 2));
      for (let y = top; y < top + size; y++)
        for (let x = left; x < left + size; x++) {
          const at = 4 * (y * width + x);
          const under = data[at + 3] / 255;
          const alpha = opacity + under * (1 - opacity);
          const mixed = (old, own) => (own * opacity + old * under * (1 - opacity)) / alpha;
          data[at] = mixed(data[at], red);
          data[at + 1] = mixed(data[at + 1], green);
          data[at + 2] = mixed(data[at + 2], blue);
          data[at + 3] = 255 * alpha;
        }
    }
    this.ground.getContext("2d").putImageData(image, 0, 0);
    this.#mark();
  }

  /** Where a part of the map's width and height is on the canvas. */
  #pixel(u, v) {
    const { width, height } = this.marks;
    return [this.margin + u * (width - 2 * this.margin), height - this.margin - v * (height - 2 * this.margin)];
  }

  #pixelOf(row) {
    return this.#pixel(this.points[2 * row] / FULL, this.points[2 * row + 1] / FULL);
  }

  /** Where z is, as parts of the map; where UMAP cannot say it, where the best hit is. */
  #placeOfZ() {
    const { axes, mean, bounds: [x0, x1, y0, y1] } = this.description;
    if (axes) {
      const centred = decodedZ(this.store.state).map((value, i) => value - mean[i]);
      return this.#pixel(
        clamp((dot(axes[0], centred) - x0) / (x1 - x0), 0, 1),
        clamp((dot(axes[1], centred) - y0) / (y1 - y0), 0, 1),
      );
    }
    const best = this.#answer?.hits[0];
    return best ? this.#pixelOf(best.row) : null;
  }

  #mark() {
    const context = this.marks.getContext("2d");
    const ratio = devicePixelRatio || 1;
    const style = getComputedStyle(this.place);
    const [ink, paper, accent] = ["--ink", "--paper", "--accent"].map((name) => style.getPropertyValue(name));
    const ring = (x, y, radius, inside, edge, width) => {
      context.beginPath();
      context.arc(x, y, radius * ratio, 0, 2 * Math.PI);
      if (inside) {
        context.fillStyle = inside;
        context.fill();
      }
      context.lineWidth = width * ratio;
      context.strokeStyle = edge;
      context.stroke();
    };
    context.clearRect(0, 0, this.marks.width, this.marks.height);
    for (const { row } of this.#answer?.hits ?? []) ring(...this.#pixelOf(row), 4, ink, paper, 1.5);
    const z = this.#placeOfZ();
    if (z) {
      ring(...z, 10, null, paper, 6);
      ring(...z, 10, null, accent, 3);
    }
    if (this.#cursor) {
      const [x, y] = this.#pixel(...this.#cursor);
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [0, 1]]) {
        context.moveTo(x - 12 * dx * ratio, y - 12 * dy * ratio);
        context.lineTo(x + 12 * dx * ratio, y + 12 * dy * ratio);
      }
      context.lineWidth = 2 * ratio;
      context.strokeStyle = ink;
      context.stroke();
    }
  }

  /** Show the hits of an answer. */
  answered(answer) {
    this.#answer = answer;
    if (this.points) this.#mark();
  }

  #fromParts([u, v]) {
    const [x0, x1, y0, y1] = this.description.bounds;
    return [x0 + u * (x1 - x0), y0 + v * (y1 - y0)];
  }

  /** Where a pointer is, in the map's own units. */
  #at(event) {
    const { left, top, width, height } = this.marks.getBoundingClientRect();
    const margin = this.margin * (width / this.marks.width);
    const u = clamp((event.clientX - left - margin) / (width - 2 * margin), 0, 1);
    const v = clamp(1 - (event.clientY - top - margin) / (height - 2 * margin), 0, 1);
    return this.#fromParts([u, v]);
  }

  #hover(event) {
    const at = this.#at(event);
    const { left, width } = this.place.getBoundingClientRect();
    this.tip.style.setProperty("--x", `${event.offsetX}px`);
    this.tip.style.setProperty("--y", `${event.offsetY}px`);
    this.tip.classList.toggle("leftward", event.clientX - left > width / 2);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.nearest.ask({ at, go: false }), REST_MILLISECONDS);
  }

  #leave() {
    clearTimeout(this.#timer);
    this.tip.hidden = true;
    this.#cursor = null;
    this.#mark();
  }

  #show(item) {
    if (!this.place.matches(":hover, :focus")) return;
    const picture = this.table.can.pictures ? [el("img", { src: item.picture, alt: "" })] : [];
    this.tip.replaceChildren(...picture, el("span", {}, item.item_id));
    this.tip.hidden = false;
  }

  #go(item) {
    goTo(this.store, item.mu, { liked: [] });
  }

  #key(event) {
    if (event.key === "Enter" && this.#cursor) {
      this.nearest.ask({ at: this.#fromParts(this.#cursor), go: true });
      return;
    }
    const step = KEYS[event.key];
    if (!step) return;
    event.preventDefault();
    const [u, v] = this.#cursor ?? [0.5, 0.5];
    this.#cursor = [clamp(u + 0.02 * step[0], 0, 1), clamp(v + 0.02 * step[1], 0, 1)];
    this.#mark();
    const ratio = devicePixelRatio || 1;
    const [x, y] = this.#pixel(...this.#cursor);
    this.tip.style.setProperty("--x", `${x / ratio}px`);
    this.tip.style.setProperty("--y", `${y / ratio}px`);
    this.tip.classList.toggle("leftward", this.#cursor[0] > 0.5);
    this.nearest.ask({ at: this.#fromParts(this.#cursor), go: false });
  }
}
