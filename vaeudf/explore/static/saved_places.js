/** Places that are saved: to go back to, and for a bulk query, queries.csv as query_topk reads it. */

import { commandLine } from "./command_line.js";
import { byId, el, icon } from "./elements.js";
import { conditionOf } from "./question.js";
import { moved } from "./state.js";

/** A field of a CSV file. */
const field = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

/**
 * The file's text. Open dimensions are empty; a tolerance per dimension is given if any place has one.
 * @param {{name: string, z: (number|null)[], tolerance: number|number[]}[]} entries
 */
export function csvOf(entries) {
  const n = entries[0].z.length;
  const each = entries.some(({ tolerance }) => Array.isArray(tolerance));
  const columns = Array.from({ length: n }, (_, i) => i);
  const taus = each ? columns.map((i) => `tolerance${i}`) : ["tolerance"];
  const lines = [["query_id", ...columns.map((i) => `z${i}`), ...taus]];
  for (const { name, z, tolerance } of entries) {
    const own = each
      ? columns.map((i) => (Array.isArray(tolerance) ? tolerance[i] : tolerance))
      : [tolerance];
    lines.push([field(name), ...z.map((value) => value ?? ""), ...own]);
  }
  return lines.map((line) => `${line.join(",")}\n`).join("");
}

/** The command that asks for all places of the file. */
export function commandFor(table, state, entries) {
  // Pictures are compared with what a z decodes to: one with open dimensions decodes to nothing.
  const whole = entries.every(({ z }) => !z.includes(null));
  return commandLine(table, ["--queries", "queries.csv"], {
    k: state.k,
    where: conditionOf(state),
    per: state.per && `${state.per.column}:${state.per.count}`,
    distinct: state.distinct,
    rerank: state.rerank && whole ? "picture" : null,
    output: "answers",
    report: "page",
  });
}

export class SavedPlaces {
  constructor(store, table) {
    Object.assign(this, { store, table });
    // What browsers have under this key stays.
    this.key = `vaeudf basket ${table.model_id}`;
    this.entries = this.#load();
    this.place = byId("saved");
    byId("save").addEventListener("click", () => {
      this.add();
      this.place.scrollIntoView({ block: "nearest" });
    });
    this.show();
    store.listen((_state, _previous, settled) => settled && this.#command());
  }

  #load() {
    try {
      const found = JSON.parse(localStorage.getItem(this.key)) ?? [];
      return found.filter((entry) => entry.z.length === this.table.latent_dim);
    } catch {
      return [];
    }
  }

  #changed() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.entries));
    } catch {
      // A browser may forbid it; the places then last as long as the page.
    }
    this.show();
  }

  add() {
    const { z, open, rough, tolerance } = this.store.state;
    const own = rough.some((tau) => tau !== null);
    this.entries.push({
      name: this.#unused(),
      z: z.map((value, i) => (open[i] ? null : value)),
      tolerance: own ? rough.map((tau) => tau ?? tolerance) : tolerance,
    });
    this.#changed();
  }

  #unused() {
    const names = new Set(this.entries.map(({ name }) => name));
    let number = this.entries.length + 1;
    while (names.has(`place-${number}`)) number += 1;
    return `place-${number}`;
  }

  show() {
    this.place.hidden = this.entries.length === 0;
    URL.revokeObjectURL(this.file);
    if (this.place.hidden) return;
    const rows = this.entries.map((entry) => {
      const name = el("input", {
        type: "text",
        value: entry.name,
        "aria-label": "Name in the file",
        spellcheck: "false",
      });
      name.addEventListener("change", () => {
        const wanted = name.value.trim();
        const taken = this.entries.some((other) => other !== entry && other.name === wanted);
        if (wanted && !taken) entry.name = wanted;
        this.#changed();
      });
      const back = el("button", { type: "button", onclick: () => this.#open(entry) }, "Open");
      const remove = el(
        "button",
        {
          type: "button",
          "aria-label": `Remove ${entry.name}`,
          onclick: () => this.#remove(entry),
        },
        icon("close"),
      );
      return el("li", {}, name, back, remove);
    });
    this.file = URL.createObjectURL(new Blob([csvOf(this.entries)], { type: "text/csv" }));
    this.command = el("pre", {
      tabindex: "0",
      "aria-label": "The command for all saved places",
    });
    this.place.replaceChildren(
      el("h4", { id: "saved-title" }, "Saved places"),
      el("ul", { "aria-labelledby": "saved-title" }, ...rows),
      el(
        "a",
        { class: "button", href: this.file, download: "queries.csv" },
        "Download queries.csv",
      ),
      this.command,
    );
    this.#command();
  }

  #command() {
    if (this.command) this.command.textContent = commandFor(this.table, this.store.state, this.entries);
  }

  #remove(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
    this.#changed();
  }

  #open({ z, tolerance }) {
    const each = Array.isArray(tolerance);
    this.store.change({
      z: moved(
        this.store.state,
        z.map((value, i) => value ?? this.store.state.z[i]),
      ),
      open: z.map((value) => value === null),
      rough: each ? tolerance : z.map(() => null),
      tolerance: each ? this.store.state.tolerance : tolerance,
      liked: [],
    });
  }
}
