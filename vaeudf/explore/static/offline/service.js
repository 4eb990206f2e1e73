/** What the service answers, from the data that the page carries: it needs no service. */

import { blendMean, UNLIKE_WEIGHT } from "../blends.js";
import { commandLine } from "../command_line.js";
import { ServiceError } from "../latest.js";
import { conditionOf } from "../question.js";
import { FittedDecoder } from "./decoder.js";
import { entropies, membersOf, Posteriors } from "./scores.js";

const data = JSON.parse(document.getElementById("data").textContent);

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);

const { table, ids, columns, pictures, map } = data;
const posteriors = new Posteriors(floats(data.mu), floats(data.log_var), table.latent_dim);
const rows = new Map(ids.map((id, row) => [id, row]));
const all = ids.map((_, row) => row);
const sources = new Map();
const decoder =
  data.decoder &&
  new FittedDecoder({
    ...data.decoder,
    ...Object.fromEntries(["frequencies", "phases", "weights", "mean", "scales"].map((name) => [name, floats(data.decoder[name])])),
    axes: new Int8Array(bytes(data.decoder.axes).buffer),
  });

function rowOf(id) {
  if (!rows.has(id)) throw new ServiceError(`There is no item ${id} on this page.`, 404);
  return rows.get(id);
}

/** A picture's address, made when it is first shown. */
function source(row) {
  if (!sources.has(row)) {
    const [type, content] = pictures[row] ?? ["image/svg+xml", ""];
    sources.set(row, URL.createObjectURL(new Blob([bytes(content)], { type })));
  }
  return sources.get(row);
}

/** There is no larger one. */
export const larger = (picture) => picture;

export const pictureOf = (id) => source(rowOf(id));

const payload = (row) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[row]]));

function item(row) {
  return { item_id: ids[row], row, mu: posteriors.meanOf(row), columns: payload(row), picture: source(row) };
}

export const getTable = async () => table;

export const getItem = async (id) => item(rowOf(id));

const blob = (canvas) => new Promise((resolve) => canvas.toBlob(resolve));

export const decode = async (z) => blob(decoder.draw([z]));

export const decodeRow = async (points) => blob(decoder.draw(points));

export const encode = async () => {
  throw new ServiceError("This page has no encoder.");
};

/** Whether a value passes a filter; what is missing passes none. */
function passes(value, filter) {
  if (value === null) return false;
  if (filter.values) return filter.values.includes(value);
  if (filter.folders) {
    if (!filter.folders.some((folder) => value.startsWith(`${folder}/`))) return false;
    if (!filter.text) return true;
  }
  if (filter.text) return String(value).toLowerCase().includes(filter.text.toLowerCase());
  const at = typeof value === "string" ? value.replace("T", " ").replace("+00:00", "") : value;
  return (filter.low == null || filter.low <= at) && (filter.high == null || at <= filter.high);
}

const matches = (row, filters) => filters.every(([name, filter]) => passes(name === "item_id" ? ids[row] : columns[name][row], filter));

/** The best k rows of a ranking, with the rules of --per and --distinct. */
function chosen(ranked, { k, per, distinct }, taus) {
  const [column, most] = per ? [per.slice(0, per.lastIndexOf(":")), Number(per.slice(per.lastIndexOf(":") + 1))] : [];
  const counts = new Map();
  const found = [];
  for (const row of ranked) {
    if (found.length === k) break;
    const value = column && columns[column][row];
    if (column && (counts.get(value) ?? 0) >= most) continue;
    if (distinct && found.some((hit) => posteriors.bhattacharyya(hit, row, taus) < distinct)) continue;
    counts.set(value, (counts.get(value) ?? 0) + 1);
    found.push(row);
  }
  return found;
}

function command(question, state) {
  const about = [];
  if (question.z) about.push(`--z=${question.z.map((value) => value ?? "*").join(",")}`);
  about.push(
    ...(question.like ?? []).map((id) => `--like=${id}`),
    ...(question.unlike ?? []).map((id) => `--unlike=${id}`),
  );
  if (!question.unlike && (question.like ?? []).length > 1) about.push("--blend");
  if (question.exclude_self) about.push("--exclude-self");
  const taus = [question.tolerance].flat();
  return commandLine(table, about, {
    k: question.k,
    tolerance: taus.some(Boolean) ? taus.join(",") : null,
    where: conditionOf(state),
    per: question.per,
    distinct: question.distinct,
  });
}

/** @param {object} question the body of POST /api/search  @param {object} state whose filters it has as SQL */
export async function search(question, _signal, state) {
  const taus = Array.isArray(question.tolerance) ? question.tolerance : Array(table.latent_dim).fill(question.tolerance);
  const about = { like: (question.like ?? []).map(rowOf), unlike: (question.unlike ?? []).map(rowOf) };
  const members = membersOf(posteriors, { z: question.z, unlikeWeight: UNLIKE_WEIGHT, ...about });
  const matching = all.filter((row) => matches(row, Object.entries(state.filters)));
  const own = new Set(question.exclude_self ? [...about.like, ...about.unlike] : []);
  const values = new Float64Array(ids.length);
  for (const row of matching) values[row] = posteriors.logDensity(row, members, taus);
  // Equal scores by item_id: rows are in that order.
  const ranked = matching.filter((row) => !own.has(row)).sort((a, b) => values[b] - values[a] || a - b);
  const score = question.z ? "log_likelihood" : "kl";
  const shift = question.z ? 0 : entropies(members);
  const means = (some) => some.map((row) => posteriors.meanOf(row));
  const at = question.z ?? blendMean(means(about.like), means(about.unlike));
  const compared = table.dimensions.filter(({ index, collapsed }) => at[index] !== null && !collapsed).map(({ index }) => index);
  const hits = chosen(ranked, question, taus).map((row, place) => ({
    ...item(row),
    rank: place + 1,
    [score]: question.z ? values[row] : -values[row] - shift,
    ...(question.z ? posteriors.parts(row, members, taus) : {}),
    ...posteriors.distances(row, at, taus, compared, data.radii[compared.length - 1]),
  }));
  const isPoint = question.z && !question.unlike;
  const sigmas = table.dimensions.map(({ sigma }) => sigma);
  return {
    version: table.version,
    score,
    matching: matching.length,
    here: isPoint ? posteriors.here(question.z, taus, sigmas, matching) : null,
    dimensions_compared: compared.length,
    hits,
    command: command(question, state),
  };
}

export const getMap = async () => map.description;

export const getMapPoints = async () => new Uint16Array(bytes(map.points).buffer);

export const getMapColours = async (_method, column) => map.colors[column];

export async function getItemAt(_method, x, y) {
  const points = await getMapPoints();
  const [x0, x1, y0, y1] = map.description.bounds;
  const apart = (row) => Math.hypot((points[2 * row] / 65535) * (x1 - x0) + x0 - x, (points[2 * row + 1] / 65535) * (y1 - y0) + y0 - y);
  return item(all.reduce((best, row) => (apart(row) < apart(best) ? row : best)));
}
