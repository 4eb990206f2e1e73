/** The state in the page's address, so that a link or a bookmark brings it back. */

import { initialState } from "./state.js";

const numbers = (text) => text.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
const indices = (flags) => flags.flatMap((flag, i) => (flag ? [i] : [])).join(",");

/** Return the part of the address after #. */
export function toAddress(state, table) {
  const usual = initialState(table);
  const parts = new URLSearchParams();
  const put = (name, value) => {
    if (value !== "" && value != null) parts.set(name, value);
  };
  put("z", state.z.join(","));
  put("open", indices(state.open));
  put("lock", indices(state.locked));
  put("rough", state.rough.flatMap((tau, i) => (tau === null ? [] : [`${i}:${tau}`])).join(","));
  for (const id of state.liked) parts.append("like", id);
  for (const id of state.disliked) parts.append("unlike", id);
  if (Object.keys(state.filters).length) put("filters", JSON.stringify(state.filters));
  put("where", state.sql);
  if (state.k !== usual.k) put("k", state.k);
  if (state.tolerance !== usual.tolerance) put("tolerance", state.tolerance);
  if (state.per) put("per", `${state.per.column}:${state.per.count}`);
  put("distinct", state.distinct);
  if (state.rerank) put("rerank", "picture");
  return parts.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}

/**
 * Return the state that an address means, and notes on what it says wrongly, which is as usual.
 * @returns {{state: object, notes: string[]}}
 */
export function fromAddress(hash, table) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const state = initialState(table);
  const notes = [];
  const n = table.latent_dim;
  const note = (name, found, expected, used) =>
    notes.push(`${name} is “${shortened(found)}”; expected ${expected}. ${used}`);
  /** Take a part of the address, or note that it will not do. */
  const take = (name, read, expected, used) => {
    if (!parts.has(name)) return;
    const found = parts.get(name);
    if (!read(found)) note(name, found, expected, used);
  };
  const isDimension = (i) => Number.isInteger(i) && i in state.z;

  take(
    "z",
    (text) => {
      const z = numbers(text);
      if (z.length !== n || !z.every(Number.isFinite)) return false;
      state.z = z;
      return true;
    },
    n === 1 ? "a number" : `${n} numbers with commas between`,
    "The sliders stand at 0.",
  );
  for (const [name, key] of [
    ["open", "open"],
    ["lock", "locked"],
  ])
    take(
      name,
      (text) => {
        const found = numbers(text);
        for (const i of found.filter(isDimension)) state[key][i] = true;
        return found.every(isDimension);
      },
      `numbers of sliders, from 0 to ${n - 1}`,
      "The others are left out.",
    );
  take(
    "rough",
    (text) => {
      const pairs = text.split(",").map((pair) => pair.split(":").map(Number));
      const fits = ([i, tau]) => isDimension(i) && tau >= 0 && tau < Infinity;
      for (const [i, tau] of pairs.filter(fits)) state.rough[i] = tau;
      return pairs.every(fits);
    },
    "a slider's number, a colon and a tolerance of at least 0",
    "The others are left out.",
  );
  state.liked = parts.getAll("like");
  state.disliked = parts.getAll("unlike");
  take(
    "filters",
    (text) => {
      const { fitting, all } = filtersOf(text, table);
      state.filters = fitting;
      return all;
    },
    "filters on this table's columns",
    "The others are left out.",
  );
  take(
    "where",
    (text) => {
      if (table.can.sql) state.sql = text;
      return table.can.sql;
    },
    "none, for this page has no conditions in SQL",
    "It is left out.",
  );
  const number = (name, key, fits, expected) =>
    take(
      name,
      (text) => {
        const value = text.trim() === "" ? NaN : Number(text);
        if (!fits(value)) return false;
        state[key] = value;
        return true;
      },
      expected,
      state[key] === null ? "It is left out." : `${state[key]} is used.`,
    );
  const isWhole = (value) => Number.isInteger(value) && value >= 1;
  number("k", "k", (k) => isWhole(k) && k <= 200, "a whole number from 1 to 200");
  number("tolerance", "tolerance", (tau) => tau >= 0 && tau < Infinity, "a number of at least 0");
  take(
    "per",
    (text) => {
      const [, column, most] = /^(.+):(\d+)$/.exec(text) ?? [];
      if (!isWhole(Number(most))) return false;
      state.per = { column, count: Number(most) };
      return true;
    },
    "a column, a colon and a whole number of at least 1",
    "It is left out.",
  );
  if (state.per === null)
    number("distinct", "distinct", (nats) => nats > 0 && nats < Infinity, "a number above 0");
  else take("distinct", () => false, "none beside per", "It is left out.");
  take(
    "rerank",
    (text) => {
      state.rerank = text === "picture" && table.can.rerank;
      return state.rerank;
    },
    table.can.rerank ? "picture" : "none, for this page cannot compare pictures",
    "It is left out.",
  );
  return { state, notes };
}

const shortened = (text) => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

const isEnd = (value) => value == null || Number.isFinite(value);

const isMoment = (value) => value == null || /^\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d+)?)?$/.test(value);

/** Whether a filter is one of a kind of column. */
const FITS = {
  category: ({ values }) => Array.isArray(values) && values.length > 0,
  number: ({ low, high }) => isEnd(low) && isEnd(high),
  date: ({ low, high }) => isMoment(low) && isMoment(high),
  timestamp: ({ low, high }) => isMoment(low) && isMoment(high),
  text: ({ text }) => typeof text === "string" && text !== "",
  name: ({ text, folders }) =>
    (text === undefined || FITS.text({ text })) &&
    (folders === undefined || FITS.category({ values: folders })) &&
    (text ?? folders) !== undefined,
};

/** The filters of a text that fit the table's columns, and whether all do. */
function filtersOf(text, table) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    return { fitting: {}, all: false };
  }
  const kinds = new Map(table.columns.map((column) => [column.name, column.kind]));
  kinds.set("item_id", "name");
  const entries = Object.entries(found ?? {});
  const fitting = entries.filter(([name, filter]) => FITS[kinds.get(name)]?.(filter ?? {}));
  return { fitting: Object.fromEntries(fitting), all: fitting.length === entries.length };
}
