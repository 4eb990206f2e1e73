/** The state in the page's address, so that a link or a bookmark brings it back. */

import { initialState } from "./state.js";

const numbers = (text) => text.split(",").map(Number);
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

/** Return the state that an address means; what it does not say, or says wrongly, is as usual. */
export function fromAddress(hash, table) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const state = initialState(table);
  const n = table.latent_dim;
  const z = numbers(parts.get("z") ?? "");
  if (z.length === n && z.every(Number.isFinite)) state.z = z;
  for (const [name, key] of [
    ["open", "open"],
    ["lock", "locked"],
  ]) {
    if (!parts.has(name)) continue;
    for (const i of numbers(parts.get(name))) if (i in state[key]) state[key][i] = true;
  }
  for (const pair of parts.get("rough")?.split(",") ?? []) {
    const [i, tau] = pair.split(":").map(Number);
    if (i in state.rough && tau >= 0) state.rough[i] = tau;
  }
  state.liked = parts.getAll("like");
  state.disliked = parts.getAll("unlike");
  state.filters = filtersOf(parts.get("filters"), table);
  state.sql = (table.can.sql && parts.get("where")) || "";
  const k = Number(parts.get("k"));
  if (Number.isInteger(k) && k >= 1 && k <= 200) state.k = k;
  const tolerance = Number.parseFloat(parts.get("tolerance"));
  if (tolerance >= 0) state.tolerance = tolerance;
  const [, column, most] = /^(.+):(\d+)$/.exec(parts.get("per") ?? "") ?? [];
  if (Number(most) >= 1) state.per = { column, count: Number(most) };
  const distinct = Number.parseFloat(parts.get("distinct"));
  if (distinct > 0 && state.per === null) state.distinct = distinct;
  state.rerank = parts.get("rerank") === "picture" && table.can.rerank;
  return state;
}

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

function filtersOf(text, table) {
  let found;
  try {
    found = JSON.parse(text ?? "{}");
  } catch {
    return {};
  }
  const kinds = new Map(table.columns.map((column) => [column.name, column.kind]));
  kinds.set("item_id", "name");
  const fits = ([name, filter]) => FITS[kinds.get(name)]?.(filter ?? {});
  return Object.fromEntries(Object.entries(found ?? {}).filter(fits));
}
