/** Filters made from the table's columns. */

import { fieldOf } from "./column_fields.js";
import { byId, el, fill, hintFor } from "./elements.js";
import { conditionOn } from "./question.js";

/** A condition on this table's own columns. */
function exampleOf({ columns, folders }) {
  const number = columns.find((column) => column.kind === "number" && column.high !== null);
  const category = columns.find((column) => column.kind === "category" && column.values.length);
  const parts = [];
  if (number) parts.push(`${number.name} < ${number.high}`);
  if (category) parts.push(conditionOn(category.name, { values: [category.values[0].value] }));
  if (parts.length === 0 && folders.length)
    parts.push(conditionOn("item_id", { folders: [folders[0].value] }));
  return parts.join(" AND ") || "item_id LIKE 'a%'";
}

/** Why a condition is refused, without the condition, which stands in the field, and all columns' names. */
function reasonOf(message) {
  const reason = /^where is .*, which is not a condition on the table's columns .*?: (.*)$/s;
  return message.replace(reason, "This is not a condition: $1");
}

export class Filters {
  constructor(store, table) {
    const form = byId("filters");
    // Every table has it; where a catalog is a folder, it says in which part of it an item is.
    const names = { name: "item_id", kind: "name", values: table.folders };
    const shows = [names, ...table.columns].flatMap((column) => {
      const put = (filter, settled = true) => {
        const filters = { ...store.state.filters };
        if (filter) filters[column.name] = filter;
        else delete filters[column.name];
        store.change({ filters }, settled);
      };
      const made = fieldOf(column, put);
      if (made === null) return [];
      form.append(made.field);
      return [(state) => made.show(state.filters[column.name])];
    });
    this.sql = el("input", {
      type: "text",
      spellcheck: "false",
      autocomplete: "off",
      placeholder: exampleOf(table),
      onchange: () => store.change({ sql: this.sql.value.trim() }),
    });
    const means = hintFor(this.sql, "sql-means", "Asked once you press Enter.");
    // The hint first, then what is wrong.
    this.sql.setAttribute("aria-describedby", "sql-means sql-error");
    this.error = el("span", { id: "sql-error", class: "error", hidden: true });
    const label = el("label", {}, "Condition in SQL", this.sql);
    if (table.can.sql) form.append(el("div", { class: "field wide" }, label, means, this.error));
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

  /** Show what the service says is wrong with the condition, or null. */
  wrong(message) {
    this.error.hidden = message === null;
    this.error.textContent = message === null ? "" : reasonOf(message);
    this.sql.setAttribute("aria-invalid", String(message !== null));
    // What is wrong must be in sight.
    if (message !== null) byId("narrow").open = true;
  }
}
