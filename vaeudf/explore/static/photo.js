/** A photo that need not be in the catalog: it is encoded, and the sliders go to its mean. */

import { byId, el, icon } from "./elements.js";
import { ServiceError } from "./latest.js";
import { goTo } from "./motion.js";
import { encode } from "./service.js";

export class Photo {
  constructor(store, table, fail) {
    Object.assign(this, { store, fail });
    if (!table.can.encode) return;
    this.shown = byId("photo-shown");
    const input = byId("photo-file");
    byId("photo").hidden = false;
    byId("photo-pick").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      if (input.files.length) this.take(input.files[0]);
      input.value = "";
    });
    const over = (event) => {
      if (![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      document.body.classList.toggle("dropping", event.type === "dragover");
    };
    for (const kind of ["dragover", "dragleave"]) addEventListener(kind, over);
    addEventListener("drop", (event) => {
      over(event);
      if (event.dataTransfer.files.length) this.take(event.dataTransfer.files[0]);
    });
  }

  async take(file) {
    try {
      if (!file.type.startsWith("image/")) throw new ServiceError(`${file.name} is not a picture.`);
      const { mu, reconstruction } = await encode(file);
      this.#show(file, reconstruction, mu);
      goTo(this.store, mu, { liked: [] });
    } catch (error) {
      this.fail(error);
    }
  }

  #show(file, reconstruction, mu) {
    URL.revokeObjectURL(this.source);
    this.source = URL.createObjectURL(file);
    const figure = (source, text) =>
      el("figure", {}, el("img", { src: source, alt: text }), el("figcaption", {}, text));
    const again = el(
      "button",
      { type: "button", onclick: () => goTo(this.store, mu, { liked: [] }) },
      "Back to the photo",
    );
    const close = el(
      "button",
      {
        type: "button",
        "aria-label": "Put the photo away",
        onclick: () => (this.shown.hidden = true),
      },
      icon("close"),
    );
    this.shown.hidden = false;
    this.shown.replaceChildren(
      figure(this.source, "the photo"),
      ...(reconstruction ? [figure(reconstruction, "what its mean decodes to")] : []),
      el("div", { class: "bar" }, again, close),
    );
  }
}
