/** Questions as lines of `vaeudf query_topk`. */

/** A word of a command line, quoted for a POSIX shell where that is needed. */
export const word = (text) =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;

/**
 * The line for questions about a table.
 * @param {object} table
 * @param {string[]} about what is asked: a z, items, or a file of queries
 * @param {Record<string, unknown>} flags by name; null and "" are left out
 */
export function commandLine(table, about, flags) {
  const words = ["vaeudf", "query_topk", "--table", table.table, ...about];
  const all = { version: table.pinned ? table.version : null, ...flags };
  for (const [name, value] of Object.entries(all))
    if (value !== null && value !== undefined && value !== "") words.push(`--${name}=${value}`);
  return words.map((one) => word(String(one))).join(" ");
}
