/** How hits are chosen: how many, how precisely z is meant, how alike they may be. */

import { Correction } from "./correction.js";
import { byId, el, fill, hintFor, numberIn } from "./elements.js";
import { sentence } from "./numbers.js";
import { whyNotRerank } from "./question.js";

const COMPARED =
  "Slower: ranks the 200 best items again by how well their own pictures match the picture of the sliders.";
const USUAL_DISTINCT = 0.5;

export class Options {
  constructor(store, table) {
    const form = byId("options");
    const numeric = (key, label, hint, attributes, expected, valid) => {
      const correction = new Correction();
      const input = el("input", {
        type: "number",
        ...attributes,
        onchange: () => {
          const value = numberIn(input);
          correction.clear();
          if (value !== null && valid(value)) {
            store.change({ [key]: value });
            return;
          }
          correction.refuse(value, expected, store.state[key]);
          input.value = store.state[key];
        },
      });
      const means = hintFor(input, `${key}-means`, hint);
      form.append(el("div", { class: "field" }, el("label", {}, label, input), correction.element, means));
      return (state) => fill(input, state[key]);
    };
    const shows = [
      numeric(
        "k",
        "Items to show",
        "The best ones, from 1 to 200.",
        { min: 1, max: 200, step: 1 },
        "a whole number from 1 to 200",
        (k) => Number.isInteger(k) && k >= 1 && k <= 200,
      ),
      numeric(
        "tolerance",
        "Tolerance",
        "How far off an item may be on every slider, at little cost. 0 takes the sliders literally.",
        { min: 0, step: 0.1 },
        "a number of at least 0",
        (tau) => tau >= 0,
      ),
      perField(store, table, form),
      distinctField(store, form),
      rerankField(store, table, form),
    ];
    form.addEventListener("submit", (event) => event.preventDefault());
    const show = (state) => {
      for (const one of shows) one(state);
    };
    show(store.state);
    store.listen(show);
  }
}

function perField(store, table, form) {
  const categories = table.columns.filter(
    (column) => column.kind === "category" && column.values.length > 1,
  );
  const column = el(
    "select",
    { "aria-label": "Variety by" },
    el("option", { value: "" }, "any number of each"),
    ...categories.map(({ name }) => el("option", { value: name }, `of each ${name}`)),
  );
  const most = el("input", {
    type: "number",
    min: 1,
    step: 1,
    value: 1,
    "aria-label": "At most so many of each",
  });
  const correction = new Correction();
  const changed = () => {
    const number = numberIn(most);
    const valid = Number.isInteger(number) && number >= 1;
    const before = store.state.per?.count ?? 1;
    correction.clear();
    if (!valid) {
      correction.refuse(number, "a whole number of at least 1", before);
      most.value = before;
    }
    const per = column.value ? { column: column.value, count: valid ? number : before } : null;
    store.change(per ? { per, distinct: null } : { per });
  };
  for (const input of [column, most]) input.addEventListener("change", changed);
  if (categories.length)
    form.append(
      el(
        "div",
        { class: "field" },
        "At most",
        el("span", { class: "ends" }, most, column),
        correction.element,
        hintFor(column, "per-means", "For variety: so many items with the same value, and no more. Instead of “Hide near copies”."),
      ),
    );
  return ({ per }) => {
    column.value = per?.column ?? "";
    most.disabled = per === null;
    if (per) fill(most, per.count);
  };
}

function distinctField(store, form) {
  const box = el("input", { type: "checkbox" });
  const least = el("input", {
    type: "number",
    min: 0,
    step: 0.1,
    value: USUAL_DISTINCT,
    "aria-label": "Least distance between hits, in nats",
  });
  const correction = new Correction();
  const changed = () => {
    const nats = numberIn(least);
    correction.clear();
    if (!(nats > 0)) {
      const before = store.state.distinct ?? USUAL_DISTINCT;
      correction.refuse(nats, "a number above 0", before);
      least.value = before;
    }
    if (box.checked) store.change({ distinct: least.valueAsNumber, per: null });
    else store.change({ distinct: null });
  };
  for (const input of [box, least]) input.addEventListener("change", changed);
  const means = hintFor(
    box,
    "distinct-means",
    "Leaves out items nearer than this to a better one. A larger distance hides more.",
  );
  least.title = "Bhattacharyya distance of two items' Gaussians, in nats";
  const label = el("label", { class: "check" }, box, " Hide near copies");
  form.append(el("div", { class: "field" }, el("span", { class: "ends" }, label, least), correction.element, means));
  return ({ distinct }) => {
    box.checked = distinct !== null;
    least.disabled = distinct === null;
    if (distinct !== null) fill(least, distinct);
  };
}

function rerankField(store, table, form) {
  const box = el("input", {
    type: "checkbox",
    onchange: () => store.change({ rerank: box.checked }),
  });
  const means = hintFor(box, "rerank-means");
  const label = el("label", { class: "check" }, box, " Rank by comparing pictures");
  form.append(el("div", { class: "field" }, label, means));
  return (state) => {
    const now = table.can.rerank ? whyNotRerank(state) : sentence(table.why_not.rerank);
    box.checked = state.rerank;
    box.disabled = now !== null;
    means.textContent = now ?? COMPARED;
  };
}
