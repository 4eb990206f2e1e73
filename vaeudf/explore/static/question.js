/** From the state to what the service is asked. */

const quoted = (name) => `\`${name.replaceAll("`", "``")}\``;

/** A value as Spark SQL writes it. */
function literal(value) {
  if (typeof value !== "string") return String(value);
  return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

/** The end of a range, which is a number, a date or a date with a time. */
function endOf(value) {
  if (typeof value !== "string") return value;
  return `${value.includes(" ") ? "TIMESTAMP" : "DATE"} ${literal(value)}`;
}

/** The condition that a filter makes. */
export function conditionOn(name, filter) {
  const column = quoted(name);
  if (filter.values) return `${column} IN (${filter.values.map(literal).join(", ")})`;
  if (filter.folders) {
    const starts = filter.folders.map((folder) => `startswith(${column}, ${literal(`${folder}/`)})`);
    const inOne = starts.length > 1 ? `(${starts.join(" OR ")})` : starts[0];
    return filter.text ? `${inOne} AND ${conditionOn(name, { text: filter.text })}` : inOne;
  }
  if (filter.text) return `contains(lower(${column}), ${literal(filter.text.toLowerCase())})`;
  const bounds = [];
  if (filter.low != null) bounds.push(`${column} >= ${endOf(filter.low)}`);
  if (filter.high != null) bounds.push(`${column} <= ${endOf(filter.high)}`);
  return bounds.join(" AND ");
}

/** The condition that the filters make, in the SQL of query_topk's --where; "" if there is none. */
export function conditionOf(state) {
  const parts = Object.entries(state.filters).map(([name, filter]) => conditionOn(name, filter));
  if (state.sql.trim()) parts.push(parts.length ? `(${state.sql.trim()})` : state.sql.trim());
  return parts.filter(Boolean).join(" AND ");
}

/** Why pictures cannot be compared with this question; null if they can. */
export function whyNotRerank(state) {
  if (state.disliked.length || state.liked.length > 1)
    return "Pictures are compared with that of one z, and this is a blend";
  if (state.liked.length === 0 && state.open.includes(true))
    return "Pictures are compared with that of a z without open dimensions";
  return null;
}

/** The body of POST /api/search. */
export function questionOf(state) {
  const question = { k: state.k };
  if (state.liked.length) question.like = state.liked;
  else question.z = state.z.map((value, i) => (state.open[i] ? null : value));
  if (state.disliked.length) question.unlike = state.disliked;
  if (state.liked.length || state.disliked.length) question.exclude_self = true;
  const rough = state.liked.length === 0 && state.rough.some((tau) => tau !== null);
  if (rough) question.tolerance = state.rough.map((tau) => tau ?? state.tolerance);
  else question.tolerance = state.tolerance;
  const where = conditionOf(state);
  if (where) question.where = where;
  if (state.per) question.per = `${state.per.column}:${state.per.count}`;
  if (state.distinct) question.distinct = state.distinct;
  if (state.rerank && whyNotRerank(state) === null) question.rerank = "picture";
  return question;
}
