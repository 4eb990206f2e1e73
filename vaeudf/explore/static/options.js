/** How hits are chosen: how many, how precisely z is meant, how alike they may be. */

import { byId, el, fill, numberIn } from "./elements.js";
import { whyNotRerank } from "./question.js";

const TITLE =
  "Rank the best again by how likely the decoder takes their own pictures to be: log p(x|z)";
const USUAL_DISTINCT = 0.5;

export class Options {
  constructor(store, table) {
    const form = byId("options");
    const numeric = (key, label, title, attributes, valid) => {
      const input = el("input", {
        type: "number",
        ...attributes,
        onchange: () => {
          const value = numberIn(input);
          if (value !== null && valid(value)) store.change({ [key]: value });
          else input.value = store.state[key];
        },
      });
      form.append(el("label", { title }, label, input));
      return (state) => fill(input, state[key]);
    };
    const shows = [
      numeric(
        "k",
        "Items to show",
        "k",
        { min: 1, max: 200, step: 1 },
        (k) => Number.isInteger(k) && k >= 1 && k <= 200,
      ),
      numeric(
        "tolerance",
        "Tolerance",
        "How far off a slider may be, in units of z. 0 takes z literally.",
        { min: 0, step: 0.1 },
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
  const changed = () => {
    const number = numberIn(most);
    const valid = Number.isInteger(number) && number >= 1;
    if (!valid) most.value = store.state.per?.count ?? 1;
    store.change({
      per: column.value ? { column: column.value, count: valid ? number : 1 } : null,
    });
  };
  for (const input of [column, most]) input.addEventListener("change", changed);
  if (categories.length)
    form.append(
      el("span", { class: "field" }, "At most", el("span", { class: "ends" }, most, column)),
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
  const changed = () => {
    const nats = numberIn(least);
    if (!(nats > 0)) least.value = store.state.distinct ?? USUAL_DISTINCT;
    store.change({ distinct: box.checked ? least.valueAsNumber : null });
  };
  for (const input of [box, least]) input.addEventListener("change", changed);
  const title =
    "Leave out items whose Gaussian is nearer than this to that of a better hit (Bhattacharyya distance, nats)";
  form.append(
    el(
      "span",
      { class: "field", title },
      el("label", { class: "check" }, box, " Hide near copies"),
      least,
    ),
  );
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
  const label = el("label", { class: "check" }, box, " Compare pictures");
  form.append(label);
  return (state) => {
    const now = table.can.rerank ? whyNotRerank(state) : table.why_not.rerank;
    box.checked = state.rerank;
    box.disabled = now !== null;
    label.title = now ?? TITLE;
  };
}
