/** The picture that the sliders decode to, and how many items are there. */

import { byId, el } from "./elements.js";
import { Latest } from "./latest.js";
import { count, howMany } from "./numbers.js";
import { decode } from "./service.js";
import { decodedZ } from "./state.js";

/** As many as a tablet has room for; a phone shows fewer. */
const MINI = 6;

export class Stage {
  #asked = "";

  constructor(store, table, fail) {
    this.store = store;
    this.table = table;
    this.image = byId("decoded");
    if (!table.can.decode) {
      byId("no-decoder").hidden = false;
      byId("no-decoder").textContent = table.why_not.decode;
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
    const { here, hits, matching } = answer;
    byId("here").textContent = here === null || matching === 0 ? "" : howMany(here, matching);
    byId("matching").textContent =
      matching === this.table.items
        ? ""
        : `${count(matching)} of ${count(this.table.items)} pass the filters`;
    // On small screens the hits may be out of sight while the sliders move.
    const mini = this.table.can.pictures ? hits.slice(0, MINI) : [];
    byId("mini").replaceChildren(...mini.map((hit) => el("img", { src: hit.picture, alt: "" })));
  }
}
