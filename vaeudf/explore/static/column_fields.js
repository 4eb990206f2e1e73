/** The fields of filters: one kind for each kind of column. */

import { el, fill, numberIn } from "./elements.js";
import { count } from "./numbers.js";

const FEW_VALUES = 14;
const TYPING_MILLISECONDS = 250;

/** Call back while somebody types, and once more when that is settled: it is one step for undo. */
function listen(input, changed) {
  let timer = 0;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => changed(false), TYPING_MILLISECONDS);
  });
  input.addEventListener("change", () => {
    clearTimeout(timer);
    changed(true);
  });
}

// Each takes a column of /api/table, the element for its inputs, and what to call with a new filter, and
// returns what shows a filter.

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
  const changed = (settled) => {
    const [low, high] = ends.map(numberIn);
    put(low === null && high === null ? undefined : { low, high }, settled);
  };
  for (const input of ends) listen(input, changed);
  field.append(el("span", { class: "ends" }, ends[0], " to ", ends[1]));
  return (filter) => ["low", "high"].forEach((end, i) => fill(ends[i], filter?.[end]));
}

/** Boxes for values; returns their element, what is ticked, and what ticks some. */
function boxesFor(values, changed) {
  const boxes = values.map(({ value, count: items }) => {
    const box = el("input", { type: "checkbox", onchange: changed });
    const label = el("label", { class: "chip" }, box, `${value} `, el("small", {}, count(items)));
    return { value, box, label };
  });
  const labels = boxes.map(({ label }) => label);
  const element = el("div", {}, el("span", { class: "chips" }, ...labels.slice(0, FEW_VALUES)));
  if (labels.length > FEW_VALUES) {
    const rest = el("span", { class: "chips" }, ...labels.slice(FEW_VALUES));
    const more = el("summary", {}, `${labels.length - FEW_VALUES} more`);
    element.append(el("details", {}, more, rest));
  }
  return {
    element,
    ticked: () => boxes.filter(({ box }) => box.checked).map(({ value }) => value),
    tick: (some) => {
      for (const { value, box } of boxes) box.checked = some?.includes(value) ?? false;
    },
  };
}

function categoryField(column, field, put) {
  const boxes = boxesFor(column.values, () => {
    const values = boxes.ticked();
    put(values.length ? { values } : undefined);
  });
  field.append(boxes.element);
  return (filter) => boxes.tick(filter?.values);
}

function textInput(column, changed) {
  const input = el("input", {
    type: "search",
    placeholder: "contains …",
    "aria-label": `${column.name} contains`,
  });
  listen(input, changed);
  return input;
}

function textField(column, field, put) {
  const input = textInput(column, (settled) => {
    const text = input.value.trim();
    put(text ? { text } : undefined, settled);
  });
  field.append(input);
  return (filter) => fill(input, filter?.text);
}

/** The folders that items are in, and a text within their names. */
function nameField(column, field, put) {
  const changed = (settled) => {
    const folders = boxes.ticked();
    const text = input.value.trim();
    const filter = { ...(folders.length && { folders }), ...(text && { text }) };
    put(folders.length || text ? filter : undefined, settled);
  };
  const boxes = boxesFor(column.values, () => changed(true));
  const input = textInput(column, changed);
  if (column.values.length) field.append(boxes.element);
  field.append(input);
  return (filter) => {
    boxes.tick(filter?.folders);
    fill(input, filter?.text);
  };
}

const DAY = 10;
/** The first and the last moment of a day, as a condition has them. */
const MIDNIGHT = " 00:00:00";
const LAST = " 23:59:59.999999";

/** What there is to choose from, to whole seconds: a field of a date shows no such hint itself. */
const rangeOf = ({ low, high }) => el("small", {}, `${low.slice(0, 19)} to ${high.slice(0, 19)}`);

/** Two days; of a column of times, from the first moment of one to the last of the other. */
function dayField(column, field, put) {
  const times = column.kind === "timestamp";
  const ends = ["low", "high"].map((end) =>
    el("input", {
      type: "date",
      min: column.low.slice(0, DAY),
      max: column.high.slice(0, DAY),
      "aria-label": `${column.name} ${end === "low" ? "from" : "to"}`,
    }),
  );
  const changed = (settled) => {
    const [low, high] = ends.map((input) => input.value || null);
    const filter = times
      ? { low: low && low + MIDNIGHT, high: high && high + LAST }
      : { low, high };
    put(low === null && high === null ? undefined : filter, settled);
  };
  for (const input of ends) listen(input, changed);
  field.append(el("span", { class: "ends" }, ends[0], " to ", ends[1]), rangeOf(column));
  return (filter) =>
    ["low", "high"].forEach((end, i) => fill(ends[i], filter?.[end]?.slice(0, DAY)));
}

/** Two times within one day, in UTC. */
function timeField(column, field, put) {
  const day = column.low.slice(0, DAY);
  const ends = ["low", "high"].map((end) =>
    el("input", {
      type: "time",
      step: 1,
      "aria-label": `${column.name} on ${day} ${end === "low" ? "from" : "to"}, UTC`,
    }),
  );
  const changed = (settled) => {
    // Without seconds where somebody has set none.
    const [low, high] = ends.map(({ value }) => value && (value.length === 5 ? `${value}:00` : value));
    const filter = {
      low: low ? `${day} ${low}` : null,
      high: high ? `${day} ${high}.999999` : null,
    };
    put(low || high ? filter : undefined, settled);
  };
  for (const input of ends) listen(input, changed);
  field.append(el("span", { class: "ends" }, ends[0], " to ", ends[1]), rangeOf(column));
  return (filter) =>
    ["low", "high"].forEach((end, i) => fill(ends[i], filter?.[end]?.slice(DAY + 1, DAY + 9)));
}

const timestampField = (column, ...rest) =>
  (column.low.slice(0, DAY) === column.high.slice(0, DAY) ? timeField : dayField)(column, ...rest);

const FIELDS = {
  number: numberField,
  category: categoryField,
  date: dayField,
  timestamp: timestampField,
  text: textField,
  name: nameField,
};

/** The one value of a column in words, or that it has none; null where there is something to choose. */
function onlyValue(column) {
  const value = column.kind === "category" ? column.values[0]?.value : column.low;
  if (value == null) return "no values";
  const one = column.kind === "category" ? column.values.length === 1 : column.low === column.high;
  if (!one) return null;
  return column.nulls ? `${value}, or none (${count(column.nulls)} items)` : `${value} (all items)`;
}

/**
 * Make what chooses items by a column.
 * @param {object} column of /api/table
 * @param {(filter: object|undefined, settled?: boolean) => void} put called with a new filter
 * @returns {{field: HTMLElement, show: (filter: object|undefined) => void}|null} null where there is no filter
 */
export function fieldOf(column, put) {
  const text = column.kind === "text";
  if (text && !/^(large_)?string/.test(column.type ?? "string")) return null;
  const times = column.kind === "timestamp" ? `${column.name} (UTC)` : column.name;
  const field = el("fieldset", {}, el("legend", {}, times));
  const only = text || column.kind === "name" ? null : onlyValue(column);
  if (only === null) return { field, show: FIELDS[column.kind](column, field, put) };
  field.append(el("span", { class: "only" }, only));
  return { field, show: () => {} };
}
