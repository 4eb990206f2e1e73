/** The whole catalog in two dimensions, on a canvas: a point an item, the hits and z marked. */

import { byId, el } from "./elements.js";
import { Latest } from "./latest.js";
import { GREY, onRamp, PALETTE } from "./map_colours.js";
import { goTo } from "./motion.js";
import { FINGER, nearestPoint } from "./nearest_point.js";
import { clamp, count, round } from "./numbers.js";
import { getItemAt, getMap, getMapColours, getMapPoints } from "./service.js";
import { decodedZ } from "./state.js";

const FULL = 65535;
const REST_MILLISECONDS = 90;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

function octets(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

export class MapPanel {
  #answer = null;
  #cursor = null;
  /** The point that the pointer or a finger has chosen, as parts of the map's width and height. */
  #chosen = null;
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

  async #load(method = "pca") {
    try {
      [this.description, this.points] = await Promise.all([getMap(method), getMapPoints(method)]);
    } catch (error) {
      this.fail(error);
      return;
    }
    if (!this.place) this.#build();
    this.#describe();
    await this.#colour();
  }

  #build() {
    this.colours = [];
    this.ground = el("canvas", { "aria-hidden": "true" });
    this.marks = el("canvas", { "aria-hidden": "true" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.place = byId("map-place");
    this.place.append(this.ground, this.marks, this.tip);
    Object.entries({
      tabindex: "0",
      role: "application",
      "aria-label":
        "Map of all items. Arrow keys move a cross, Enter sets the sliders to the item nearest to it.",
    }).forEach(([name, value]) => this.place.setAttribute(name, value));
    this.nearest = new Latest(
      ({ at }) => getItemAt(this.description.method, ...at),
      (item, { go, touched }) => {
        if (go) this.#go(item);
        if (touched) byId("map-said").textContent = `Chosen: ${item.item_id}`;
        if (touched || !go) this.#show(item, touched);
      },
      this.fail,
    );
    this.place.addEventListener("pointermove", (event) => this.#hover(event));
    this.place.addEventListener("pointerleave", () => this.#leave());
    // Not all browsers say with a click what it was made with.
    this.place.addEventListener("pointerdown", ({ pointerType }) => (this.pointer = pointerType));
    this.place.addEventListener("click", (event) => this.#click(event));
    this.place.addEventListener("keydown", (event) => this.#key(event));
    this.place.addEventListener("blur", () => this.#leave());
    this.#buildChoices();
    new ResizeObserver(() => this.#draw()).observe(this.place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    this.store.listen(() => this.#mark());
  }

  #buildChoices() {
    const columns = this.table.columns.filter(
      (column) =>
        (column.kind === "category" && column.values.length > 1) ||
        (column.kind === "number" && column.low !== null),
    );
    const colour = byId("colour");
    colour.append(
      el("option", { value: "" }, "nothing"),
      ...columns.map(({ name }) => el("option", { value: name }, name)),
    );
    colour.addEventListener("change", () => this.#colour());
    colour.value = columns.find((column) => column.kind === "category")?.name ?? "";
    byId("colour-by").hidden = columns.length === 0;
    const method = byId("method");
    const names = { pca: "principal components", umap: "UMAP" };
    method.append(
      ...this.description.methods.map((value) => el("option", { value }, names[value])),
    );
    method.addEventListener("change", () => this.#load(method.value));
    byId("made-by").hidden = this.description.methods.length < 2;
  }

  #describe() {
    const { method, count: shown, items } = this.description;
    const some = shown < items ? `${count(shown)} of the ${count(items)} items` : "Every item";
    byId("map-hint").textContent =
      (method === "pca"
        ? `${some}, along the two directions in which the items differ most. The ring is where the sliders are`
        : `${some}, like beside like (UMAP). The ring is the best hit`) +
      ", the dots are the hits. Click or tap an item to go to it.";
  }

  /** Colour the points by the column that is chosen. */
  async #colour() {
    const column = byId("colour").value;
    this.codes = null;
    this.colours = [];
    const entries = [];
    if (column) {
      try {
        const { kind, legend, codes } = await getMapColours(this.description.method, column);
        this.codes = octets(codes);
        this.colours = legend.map((_, i) =>
          kind === "number" ? onRamp(i / Math.max(legend.length - 1, 1)) : PALETTE[i],
        );
        // Of many steps, some say enough.
        const every = kind === "number" ? Math.ceil(legend.length / 8) : 1;
        legend.forEach((value, i) => {
          if (this.colours[i] && i % every === 0)
            entries.push([
              this.colours[i],
              kind === "number" ? `from ${round(value, 3)}` : String(value),
            ]);
        });
        if (this.codes.some((code) => !this.colours[code])) entries.push([GREY, "others"]);
      } catch (error) {
        this.fail(error);
      }
    }
    byId("legend").replaceChildren(
      ...entries.map(([colour, text]) => {
        const sample = el("span", { class: "sample" });
        sample.style.setProperty("--colour", `rgb(${colour.map(Math.round).join(" ")})`);
        return el("li", {}, sample, text);
      }),
    );
    this.#draw();
  }

  /** Lay the canvases out, and draw every point. */
  #draw() {
    const ratio = devicePixelRatio || 1;
    const [x0, x1, y0, y1] = this.description.bounds;
    const width = Math.max(Math.round(this.place.clientWidth * ratio), 1);
    const shape = clamp((y1 - y0) / (x1 - x0) || 1, 0.3, 0.5);
    const height = Math.round(width * shape);
    for (const canvas of [this.ground, this.marks]) Object.assign(canvas, { width, height });
    this.margin = 8 * ratio;
    const image = new ImageData(width, height);
    const { data } = image;
    const many = this.points.length / 2;
    // Few items are dots, many are single pixels.
    const radius = clamp(Math.sqrt((width * height) / many) / 10, 0.5, 5 * ratio);
    const opacity = many > 50000 ? 0.5 : 0.75;
    for (let row = 0; row < many; row++) {
      const [red, green, blue] = this.colours[this.codes?.[row]] ?? GREY;
      const [middle, centre] = this.#pixel(
        this.points[2 * row] / FULL,
        this.points[2 * row + 1] / FULL,
      );
      for (let y = Math.floor(centre - radius); y <= centre + radius; y++)
        for (let x = Math.floor(middle - radius); x <= middle + radius; x++) {
          if ((x + 0.5 - middle) ** 2 + (y + 0.5 - centre) ** 2 > radius ** 2 + 0.5) continue;
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
    return [
      this.margin + u * (width - 2 * this.margin),
      height - this.margin - v * (height - 2 * this.margin),
    ];
  }

  /** Where a vector is, by the map's axes. */
  #project(vector) {
    const {
      axes,
      mean,
      bounds: [x0, x1, y0, y1],
    } = this.description;
    const centred = vector.map((value, i) => value - mean[i]);
    return this.#pixel(
      clamp((dot(axes[0], centred) - x0) / (x1 - x0), 0, 1),
      clamp((dot(axes[1], centred) - y0) / (y1 - y0), 0, 1),
    );
  }

  /** Where a hit is; null if UMAP was not given it, for a large table's map shows every so many items. */
  #placeOf(hit) {
    const { axes, count: shown, items } = this.description;
    if (axes) return this.#project(hit.mu);
    const step = Math.ceil(items / shown);
    const point = (hit.row - Math.floor(step / 2)) / step;
    if (!Number.isInteger(point) || point < 0 || point >= shown) return null;
    return this.#pixel(this.points[2 * point] / FULL, this.points[2 * point + 1] / FULL);
  }

  /** Where z is; where UMAP cannot say it, where the best hit is. */
  #placeOfZ() {
    if (this.description.axes) return this.#project(decodedZ(this.store.state));
    const best = this.#answer?.hits[0];
    return best ? this.#placeOf(best) : null;
  }

  #mark() {
    const context = this.marks.getContext("2d");
    const ratio = devicePixelRatio || 1;
    const style = getComputedStyle(this.place);
    const [ink, paper, accent] = ["--ink", "--paper", "--accent"].map((name) =>
      style.getPropertyValue(name),
    );
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
    for (const hit of this.#answer?.hits ?? []) {
      const at = this.#placeOf(hit);
      if (at) ring(...at, 4, ink, paper, 1.5);
    }
    const z = this.#placeOfZ();
    if (z) {
      ring(...z, 10, null, paper, 6);
      ring(...z, 10, null, accent, 3);
    }
    if (this.#chosen) ring(...this.#pixel(...this.#chosen), 7, accent, paper, 2.5);
    if (this.#cursor) {
      const [x, y] = this.#pixel(...this.#cursor);
      context.beginPath();
      for (const [dx, dy] of [
        [1, 0],
        [0, 1],
      ]) {
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
    if (this.place) this.#mark();
  }

  #fromParts([u, v]) {
    const [x0, x1, y0, y1] = this.description.bounds;
    return [x0 + u * (x1 - x0), y0 + v * (y1 - y0)];
  }

  /** The point that is nearest to a pointer, and how far that is in CSS pixels. */
  #under({ clientX, clientY }) {
    const { left, top } = this.marks.getBoundingClientRect();
    const ratio = devicePixelRatio || 1;
    const pixelOf = (x, y) => this.#pixel(x / FULL, y / FULL).map((value) => value / ratio);
    return nearestPoint(this.points, pixelOf, [clientX - left, clientY - top]);
  }

  /** Highlight a point, and ask what it is; go there or only show it. */
  #choose(point, go, touched = false) {
    this.#chosen = [this.points[2 * point] / FULL, this.points[2 * point + 1] / FULL];
    this.#mark();
    this.#putTip(this.#chosen);
    this.nearest.ask({ at: this.#fromParts(this.#chosen), go, touched });
  }

  #click(event) {
    clearTimeout(this.#timer);
    const { point, apart } = this.#under(event);
    const touched = this.pointer === "touch";
    if (touched && apart > FINGER) {
      this.#leave();
      byId("map-said").textContent = "There is no item within a finger's width. Tap nearer to a point.";
      return;
    }
    this.#choose(point, true, touched);
  }

  #hover(event) {
    // A finger that moves scrolls the page.
    if (event.pointerType === "touch") return;
    const { point } = this.#under(event);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#choose(point, false), REST_MILLISECONDS);
  }

  /** Put the tip beside a place on the map. */
  #putTip(parts) {
    const ratio = devicePixelRatio || 1;
    const [x, y] = this.#pixel(...parts);
    this.tip.style.setProperty("--x", `${x / ratio}px`);
    this.tip.style.setProperty("--y", `${y / ratio}px`);
    this.tip.classList.toggle("leftward", parts[0] > 0.5);
  }

  #leave() {
    clearTimeout(this.#timer);
    this.tip.hidden = true;
    this.#cursor = null;
    this.#chosen = null;
    byId("map-said").textContent = "";
    this.#mark();
  }

  #show(item, touched = false) {
    if (!touched && !this.place.matches(":hover, :focus")) return;
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
    this.#chosen = null;
    this.#mark();
    this.#putTip(this.#cursor);
    this.nearest.ask({ at: this.#fromParts(this.#cursor), go: false });
  }
}
