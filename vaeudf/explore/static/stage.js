/** The picture that the sliders decode to, and how many items are there. */

import { byId, el } from "./elements.js";
import { Latest } from "./latest.js";
import { count, howMany, sentence } from "./numbers.js";
import { decode, larger } from "./service.js";
import { decodedZ, isAt } from "./state.js";

/** The misfit of an item 4 sigma away, which counts as 0.0003. */
const NEAR = -8;
/** As many as a tablet has room for; a phone shows fewer. */
const MINI = 6;

export class Stage {
  #asked = "";

  /**
   * @param {Store} store
   * @param {object} table the answer of /api/table
   * @param {(error: Error|null) => void} fail called when a picture has failed, or has come
   * @param {(hit: object) => void} go called with the hit that the sliders are to go to
   */
  constructor(store, table, fail, go) {
    this.store = store;
    this.table = table;
    this.image = byId("decoded");
    byId("nearest").addEventListener("click", () => go(this.nearest));
    if (!table.can.decode) {
      byId("no-decoder").hidden = false;
      byId("no-decoder").textContent = sentence(table.why_not.decode);
      return;
    }
    this.image.hidden = false;
    if (table.picture)
      Object.assign(this.image, { width: table.picture.width, height: table.picture.height });
    this.latest = new Latest(
      (z, signal) => decode(z, table.model_id, signal),
      (blob) => this.#show(blob),
      (error) => {
        if (error) this.#asked = "";
        fail(error);
      },
    );
    store.listen(() => this.ask());
    this.ask();
  }

  ask() {
    const z = decodedZ(this.store.state);
    const wanted = z.join(",");
    if (wanted === this.#asked) return;
    this.#asked = wanted;
    this.latest.ask(z);
  }

  #show(blob) {
    const old = this.image.src;
    this.image.src = URL.createObjectURL(blob);
    URL.revokeObjectURL(old);
  }

  get idle() {
    return this.latest?.idle ?? true;
  }

  /** Show what an answer says of the place. */
  answered(answer) {
    const { hits, matching } = answer;
    const here = this.#here(answer);
    const far = here !== null && here < 1;
    byId("here").textContent = here === null ? "" : howMany(here, matching, this.table.items);
    byId("here-means").textContent = far
      ? this.table.can.decode
        ? "The model imagines this picture. The items shown are the nearest to it."
        : "The items shown are the nearest to it."
      : "";
    this.nearest = hits[0];
    this.#own(answer);
    const button = byId("nearest");
    const focused = document.activeElement === button;
    button.hidden = !far || hits.length === 0;
    // Whoever went there by keyboard goes on from here.
    if (focused && button.hidden) byId("here").focus();
    byId("matching").textContent =
      matching === this.table.items
        ? ""
        : `${count(matching)} of ${count(this.table.items)} pass the filters`;
    // On small screens the hits may be out of sight while the sliders move.
    const mini = this.table.can.pictures ? hits.slice(0, MINI) : [];
    byId("mini").replaceChildren(...mini.map((hit) => el("img", { src: hit.picture, alt: "" })));
  }

  /** How many items are at the place; null where the question is of no place. */
  #here({ here, hits, matching }) {
    if (here === null || matching === 0) return null;
    const { per, distinct, rerank } = this.store.state;
    const near = hits.filter(({ misfit }) => misfit >= NEAR).length;
    // If nothing is left out, all that are near are among the hits, but for wide ones, which count little.
    const isAll = near > 0 && near < hits.length && !per && !distinct && !rerank;
    const most = isAll ? near : Infinity;
    // A wide item counts as less than 1 even where its mean is, and a narrow one as more.
    if (this.#at(hits)) return Math.max(Math.min(here, most), 1);
    return Math.min(here, most);
  }

  /** The item whose mean the sliders stand at. */
  #at(hits) {
    return hits.find(({ mu }) => isAt(mu, this.store.state));
  }

  /** Show the photo and the whole name of the item at the place. */
  #own({ here, hits }) {
    const item = here === null ? undefined : this.#at(hits);
    byId("own").hidden = item === undefined;
    if (item === undefined) return;
    const picture = byId("own-picture");
    picture.hidden = !this.table.can.pictures;
    if (!picture.hidden) picture.src = larger(item.picture);
    byId("own-name").textContent = item.item_id;
  }
}
