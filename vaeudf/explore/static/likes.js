/** Items that are liked and disliked: together they are the query, and z stands at their mean. */

import { blendMean } from "./blends.js";
import { byId, el, icon } from "./elements.js";
import { goTo } from "./motion.js";
import { getItem, pictureOf } from "./service.js";

const without = (list, id) => list.filter((one) => one !== id);

export class Likes {
  #items = new Map();

  constructor(store, table, fail) {
    Object.assign(this, { store, table, fail });
    this.tray = byId("likes");
    store.listen(() => this.show());
    this.show();
  }

  /** Learn what an item is, from a hit, so that it need not be asked for. */
  know(item) {
    if (item.mu) this.#items.set(item.item_id, item);
  }

  async #item(id) {
    if (!this.#items.has(id)) this.#items.set(id, await getItem(id));
    return this.#items.get(id);
  }

  like(hit) {
    const { liked, disliked } = this.store.state;
    const on = !liked.includes(hit.item_id);
    this.know(hit);
    return this.#put(
      on ? [...liked, hit.item_id] : without(liked, hit.item_id),
      without(disliked, hit.item_id),
    );
  }

  unlike(hit) {
    const { liked, disliked } = this.store.state;
    const on = !disliked.includes(hit.item_id);
    this.know(hit);
    return this.#put(
      without(liked, hit.item_id),
      on ? [...disliked, hit.item_id] : without(disliked, hit.item_id),
    );
  }

  async #put(liked, disliked) {
    if (liked.length === 0) {
      this.store.change({ liked, disliked });
      return;
    }
    try {
      const [likes, unlikes] = await Promise.all(
        [liked, disliked].map((ids) =>
          Promise.all(ids.map(async (id) => (await this.#item(id)).mu)),
        ),
      );
      goTo(this.store, blendMean(likes, unlikes), { liked, disliked });
    } catch (error) {
      this.fail(error);
    }
  }

  show() {
    const { liked, disliked } = this.store.state;
    this.tray.hidden = liked.length + disliked.length === 0;
    const chip = (id, kind, remove) => {
      const picture = this.table.can.pictures
        ? [el("img", { src: this.#source(id), alt: "" })]
        : [];
      const button = el(
        "button",
        {
          type: "button",
          "aria-label": `No longer ${kind} ${id}`,
          title: "Remove",
          onclick: remove,
        },
        icon("close"),
      );
      return el("li", { class: kind }, ...picture, el("span", { title: id }, id), button);
    };
    const struck = disliked.length ? ", away from those struck out" : "";
    const text = liked.length
      ? `The items are those most like these${struck}; the sliders stand at their mean. Moving one asks from there instead.`
      : "The items are those most like the sliders, away from those struck out.";
    this.tray.replaceChildren(
      el("p", { class: "hint" }, text),
      el(
        "ul",
        { "aria-label": "Liked and disliked" },
        ...liked.map((id) => chip(id, "like", () => this.like({ item_id: id }))),
        ...disliked.map((id) => chip(id, "dislike", () => this.unlike({ item_id: id }))),
      ),
    );
  }

  #source(id) {
    return this.#items.get(id)?.picture ?? pictureOf(id);
  }
}
