/** A photo that need not be in the catalog: it is encoded, and the sliders go to its mean. */

import { byId, el, icon } from "./elements.js";
import { ServiceError } from "./latest.js";
import { goTo } from "./motion.js";
import { round, sentence } from "./numbers.js";
import { encode } from "./service.js";

/** Milliseconds until the comparison is asked for again; twice as long each time. */
const FIRST_PAUSE = 1000;

/** Whether the photo is like the catalog's pictures, where there is something to say of it. */
function whatIsSaid({ comparison, why_not_compared: whyNot, comparison_pending: pending }) {
  const hint = (text) => el("p", { class: "hint" }, text);
  if (pending)
    return hint("The catalog's pictures are being read; whether the photo is like them is said here in a moment.");
  if (comparison === null)
    return hint(`Whether it is like the catalog's pictures cannot be told. ${sentence(whyNot)}`);
  if (!comparison.unlike) return "";
  const { error, usual, limit, sampled, message } = comparison;
  const [own, theirs, most] = [error, usual, limit].map((value) => value.toPrecision(2));
  return el(
    "p",
    {
      class: "error",
      title: `Mean squared error of its reconstruction, levels from 0 to 1: ${own}. Of ${sampled} pictures of the catalog: ${theirs} (median). Unlike them is what is above ${most}.`,
    },
    message,
  );
}

export class Photo {
  /** What each photo was found to be; the state has the number of the one that is shown. */
  #taken = [];
  /** Of the comparison that is still to come. */
  #timer = 0;

  constructor(store, table, fail) {
    Object.assign(this, { store, table, fail });
    if (!table.can.encode) return;
    this.shown = byId("photo-shown");
    this.hint = byId("photo-hint");
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
    store.listen((state, previous) => {
      if (state.photo !== previous.photo) this.#show();
    });
  }

  async take(file) {
    this.hint.textContent = "The model looks at the photo …";
    try {
      this.#check(file);
      const found = await encode(file);
      const photo = this.#taken.push({ ...found, file, source: URL.createObjectURL(file) }) - 1;
      goTo(this.store, found.mu, { liked: [], photo });
    } catch (error) {
      this.fail(error);
    }
    this.hint.textContent = "or drop one on the page";
  }

  /** Refuse what the service would, before it is sent. */
  #check({ name, type, size }) {
    const { most_bytes: most, expected } = this.table.photos;
    const megabytes = round(size / 2 ** 20, 1);
    const found = type.startsWith("image/") ? size > most && `has ${megabytes} MB` : "is not a picture";
    if (found) throw new ServiceError(`“${name}” ${found}. ${expected}`);
  }

  /** Show the photo of the state, or none. */
  #show() {
    clearTimeout(this.#timer);
    const photo = this.#taken[this.store.state.photo];
    this.shown.hidden = photo === undefined;
    if (photo === undefined) {
      this.shown.replaceChildren();
      return;
    }
    const { source, reconstruction, mu } = photo;
    const said = el("div", { class: "said", role: "status" }, whatIsSaid(photo));
    const figure = (address, text) =>
      el("figure", {}, el("img", { src: address, alt: text }), el("figcaption", {}, text));
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
        onclick: () => this.store.change({ photo: null }),
      },
      icon("close"),
    );
    this.shown.replaceChildren(
      figure(source, "the photo"),
      ...(reconstruction ? [figure(reconstruction, "what its mean decodes to")] : []),
      said,
      el("div", { class: "bar" }, again, close),
    );
    this.#wait(photo, said, FIRST_PAUSE);
  }

  /** Ask again for a comparison that is pending, as long as the photo is shown. */
  #wait(photo, said, pause) {
    if (!photo.comparison_pending) return;
    this.#timer = setTimeout(async () => {
      try {
        const { comparison, why_not_compared, comparison_pending } = await encode(photo.file);
        Object.assign(photo, { comparison, why_not_compared, comparison_pending });
      } catch (error) {
        if (said.isConnected) this.fail(error);
        return;
      }
      if (!said.isConnected) return;
      said.replaceChildren(whatIsSaid(photo));
      this.#wait(photo, said, 2 * pause);
    }, pause);
  }
}
