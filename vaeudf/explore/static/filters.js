/** Filters made from the table's columns. */

import { byId, el, fill, numberIn } from "./elements.js";
import { count } from "./numbers.js";
import { conditionOn } from "./question.js";

const FEW_VALUES = 14;
/** Every table has it; where a catalog is a folder, it says in which part of it an item is. */
const NAMES = { name: "item_id", kind: "text" };

/** @returns {(filter: object|undefined) => void} what shows a filter */
function numberField(column, field, put) {
  const step = column.integers ? "1" : "any";
  const ends = ["low", "high"].map((end) =>
    el("input", {
      type: "number",
      step,
      placeholder: column[end],
      "aria-label": end === "low" ? `${column.name} from` : `${column.name} to`,
    }),
  );
  const changed = () => {
    const [low, high] = ends.map(numberIn);
    put(low === null && high === null ? undefined : { low, high });
  };
  for (const input of ends) input.addEventListener("change", changed);
  field.append(el("span", { class: "ends" }, ends[0], " to ", ends[1]));
  return (filter) => ["low", "high"].forEach((end, i) => fill(ends[i], filter?.[end]));
}

function categoryField(column, field, put) {
  const boxes = column.values.map(({ value, count: items }) => {
    const box = el("input", { type: "checkbox", onchange: () => changed() });
    return {
      value,
      box,
      label: el("label", { class: "chip" }, box, `${value} `, el("small", {}, count(items))),
    };
  });
  const changed = () => {
    const values = boxes.filter(({ box }) => box.checked).map(({ value }) => value);
    put(values.length ? { values } : undefined);
  };
  const labels = boxes.map(({ label }) => label);
  field.append(el("span", { class: "chips" }, ...labels.slice(0, FEW_VALUES)));
  if (labels.length > FEW_VALUES) {
    const rest = el("span", { class: "chips" }, ...labels.slice(FEW_VALUES));
    field.append(el("details", {}, el("summary", {}, `${labels.length - FEW_VALUES} more`), rest));
  }
  return (filter) => {
    for (const { value, box } of boxes) box.checked = filter?.values?.includes(value) ?? false;
  };
}

function textField(column, field, put) {
  const input = el("input", {
    type: "search",
    placeholder: "contains …",
    "aria-label": `${column.name} contains`,
    onchange: () => put(input.value.trim() ? { text: input.value.trim() } : undefined),
  });
  field.append(input);
  return (filter) => fill(input, filter?.text);
}

const FIELDS = { number: numberField, category: categoryField, text: textField };

const usable = (column) =>
  (column.kind === "number" && column.low !== null) ||
  (column.kind === "category" && column.values.length > 1) ||
  (column.kind === "text" && /^(large_)?string/.test(column.type ?? "string"));

/** A condition on this table's own columns. */
function exampleOf({ columns }) {
  const number = columns.find((column) => column.kind === "number" && column.high !== null);
  const category = columns.find((column) => column.kind === "category" && column.values.length);
  const parts = [];
  if (number) parts.push(`${number.name} < ${number.high}`);
  if (category) parts.push(conditionOn(category.name, { values: [category.values[0].value] }));
  return parts.join(" AND ") || "item_id LIKE 'a%'";
}

export class Filters {
  constructor(store, table) {
    const form = byId("filters");
    const shows = [NAMES, ...table.columns].filter(usable).map((column) => {
      const field = el("fieldset", {}, el("legend", {}, column.name));
      const put = (filter) => {
        const filters = { ...store.state.filters };
        if (filter) filters[column.name] = filter;
        else delete filters[column.name];
        store.change({ filters });
      };
      const show = FIELDS[column.kind](column, field, put);
      form.append(field);
      return (state) => show(state.filters[column.name]);
    });
    this.sql = el("input", {
      type: "text",
      spellcheck: "false",
      autocomplete: "off",
      placeholder: exampleOf(table),
      "aria-describedby": "sql-error",
      onchange: () => store.change({ sql: this.sql.value.trim() }),
    });
    this.error = el("span", { id: "sql-error", class: "error", hidden: true });
    if (table.can.sql) form.append(el("label", { class: "wide" }, "Condition in SQL", this.sql), this.error);
    form.addEventListener("submit", (event) => event.preventDefault());
    const show = (state) => {
      for (const one of shows) one(state);
      fill(this.sql, state.sql);
      const active = Object.keys(state.filters).length + (state.sql ? 1 : 0);
      byId("narrowed").hidden = active === 0;
      byId("narrowed").textContent = active;
      byId("narrowed").title = active === 1 ? "1 filter" : `${active} filters`;
    };
    show(store.state);
    store.listen(show);
  }

  /** Show what is wrong with the condition, or null. */
  wrong(message) {
    this.error.hidden = message === null;
    this.error.textContent = message ?? "";
    this.sql.setAttribute("aria-invalid", String(message !== null));
    // What is wrong must be in sight.
    if (message !== null) byId("narrow").open = true;
  }
}
