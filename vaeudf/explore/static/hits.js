/** The hits: a card for each, which stays the same element while the item stays among them. */

import { byId, el, icon, press, toggle } from "./elements.js";
import { NearnessLine } from "./nearness.js";
import { number } from "./numbers.js";
import { isAt } from "./state.js";

/** What a score is, in a word. */
const NAMES = { log_likelihood: "score", kl: "distance" };
const MEANINGS = {
  log_likelihood:
    "log q(z|x) in nats: how likely z is under the item's own Gaussian. Higher is better.",
  kl: "KL divergence from what is asked for to the item's Gaussian, in nats. Lower is nearer.",
};
const SIZE = { width: 320, height: 320 };

/** What a score is called; it may be below 0 where dislikes are taken off. */
function nameOf(score, state) {
  const name = NAMES[score] ?? score;
  return state.disliked.length ? `${name} less dislikes` : name;
}

/** A fact in words: numbers, truth values and dates say nothing without their column's name. */
function fact(name, value, kind) {
  if (kind === "date" || kind === "timestamp")
    return `${name} ${value.replace("T", " ").replace(/(Z|\+00:00)$/, "")}`;
  if (typeof value === "boolean") return value ? name : `not ${name}`;
  if (typeof value === "number") return `${name} ${Math.round(value * 1000) / 1000}`;
  return typeof value === "string" ? value : JSON.stringify(value);
}

class Card {
  constructor(hit, actions) {
    this.id = hit.item_id;
    this.hit = hit;
    const name = this.id;
    this.rank = el("span", { class: "rank" });
    this.like = toggle(`Like ${name}`, icon("more"), () => actions.like(this.hit), {
      class: "like",
    });
    this.unlike = toggle(`Dislike ${name}`, icon("less"), () => actions.unlike(this.hit), {
      class: "unlike",
    });
    this.ask = el(
      "button",
      {
        type: "button",
        "aria-expanded": "false",
        "aria-label": `Why ${name}`,
        title: "Why it is here",
        onclick: () => this.#toggle(),
      },
      "?",
    );
    this.why = el("div", { class: "why" });
    this.go = el("button", {
      type: "button",
      class: "go",
      "aria-label": `Go to ${name}`,
      title: "Set the sliders to this item",
      onclick: () => actions.go(this.hit),
    });
    this.facts = el("div", { class: "facts" });
    this.nearness = new NearnessLine();
    this.score = el("div", { class: "score" });
    this.element = el(
      "li",
      { class: "hit" },
      el(
        "div",
        { class: "shot" },
        this.go,
        this.rank,
        this.why,
        el("div", { class: "tools" }, this.like, this.unlike, this.ask),
      ),
      el("div", { class: "name", title: name }, name),
      this.facts,
      this.nearness.element,
      this.score,
    );
    for (const kind of ["pointerenter", "focusin"])
      this.element.addEventListener(kind, () => {
        this.#explain();
        actions.point(this.hit);
      });
    for (const kind of ["pointerleave", "focusout"])
      this.element.addEventListener(kind, () => actions.point(null));
  }

  #toggle() {
    const open = this.element.classList.toggle("explained");
    this.ask.setAttribute("aria-expanded", String(open));
    if (open) this.#explain();
  }

  picture(source, reason) {
    if (source === this.source) return;
    this.source = source;
    if (!source) {
      this.#none(reason);
      return;
    }
    const image = el("img", { alt: "", decoding: "async", src: source, ...SIZE });
    image.addEventListener("error", async () => {
      // A picture that cannot be shown has an answer that says why.
      const answer = await fetch(source)
        .then((response) => response.json())
        .catch(() => ({}));
      if (this.source === source) this.#none(answer.error ?? "no picture");
    });
    this.go.replaceChildren(image);
  }

  #none(reason) {
    // In words of the style sheet: the button is named by what it does.
    const shown = reason.length > 60 ? "no picture" : reason;
    this.go.replaceChildren(el("span", { class: "none", title: reason, "data-reason": shown }));
  }

  show(hit, answer, table, state, kinds) {
    this.hit = hit;
    this.picture(table.can.pictures ? hit.picture : null, table.why_not.pictures ?? "no pictures");
    this.rank.textContent = hit.rank;
    press(this.like, state.liked.includes(this.id));
    press(this.unlike, state.disliked.includes(this.id));
    const facts = Object.entries(hit.columns).filter(([, value]) => value !== null);
    this.facts.replaceChildren(...facts.map(([name, value]) => el("span", {}, fact(name, value, kinds.get(name)))));
    // The card shows the first few of many.
    this.facts.title = facts.map(([name, value]) => `${name}: ${value}`).join("\n");
    this.nearness.show(hit);
    const reranked = hit.log_p_x_given_z !== undefined;
    this.score.textContent = reranked
      ? `${number(hit.log_p_x_given_z, 1)}`
      : number(hit[answer.score]);
    // In words of the style sheet: the number stays a number.
    this.score.dataset.name = reranked ? "match" : nameOf(answer.score, state);
    this.element.classList.toggle("here", state.liked.length === 0 && isAt(hit.mu, state));
    this.score.title = reranked
      ? `log p(x|z) in nats: how likely the decoder takes the item's own picture to be. Rank ${hit.candidate_rank} without.`
      : (MEANINGS[answer.score] ?? answer.score);
    this.answer = answer;
    this.state = state;
    // Most are never looked at, and a moving slider has new ones many times a second.
    this.why.replaceChildren();
    if (this.element.matches(".explained, :hover, :focus-within")) this.#explain();
  }

  /** Write what the score is made of. */
  #explain() {
    const { hit, answer } = this;
    const lines = [];
    const costs = (hit.costliest ?? []).filter(({ nats }) => nats > 0);
    if (costs.length) {
      const names = new Intl.ListFormat("en").format(costs.map((one) => `z${one.dimension}`));
      lines.push(el("p", {}, `It differs most in ${names}.`));
    }
    const line = (name, value, title) =>
      lines.push(el("div", { title }, el("span", {}, name), el("b", {}, number(value))));
    line(nameOf(answer.score, this.state), hit[answer.score], MEANINGS[answer.score]);
    if (hit.misfit !== undefined) {
      line("misfit", hit.misfit, "What the distance of z from the item's mean costs");
      line("volume", hit.volume, "What the narrowness of the item's Gaussian brings");
    }
    if (hit.squared_distance !== undefined) {
      const compared = answer.dimensions_compared;
      line(
        "d²/n",
        hit.squared_distance / compared,
        `Squared distance from the item's mean, in its own sigmas, by slider, over ${compared} of them. What its own Gaussian gives has 1 on average.`,
      );
    }
    const worst = Math.max(...(hit.costliest ?? []).map((cost) => Math.abs(cost.nats)), 1e-9);
    for (const { dimension, nats } of hit.costliest ?? []) {
      const bar = el("span", { class: "cost" });
      bar.style.setProperty("--part", Math.abs(nats) / worst);
      lines.push(
        el(
          "div",
          { title: `What z${dimension} costs` },
          el("span", {}, `z${dimension}`),
          bar,
          el("b", {}, number(-nats)),
        ),
      );
    }
    if (hit.picture_error !== undefined)
      line("picture error", hit.picture_error, "Mean squared difference from the decoded picture");
    this.why.replaceChildren(...lines);
  }
}

export class Hits {
  #cards = new Map();

  /** @param {{go, like, unlike, point}} actions called with a hit; point also with null */
  constructor(store, table, actions) {
    Object.assign(this, { store, table, actions });
    this.kinds = new Map(table.columns.map((column) => [column.name, column.kind]));
    this.list = byId("hits");
  }

  show(answer) {
    const { state } = this.store;
    const cards = new Map();
    for (const hit of answer.hits) {
      const card = this.#cards.get(hit.item_id) ?? new Card(hit, this.actions);
      card.show(hit, answer, this.table, state, this.kinds);
      cards.set(hit.item_id, card);
    }
    for (const [id, card] of this.#cards) if (!cards.has(id)) card.element.remove();
    let at = this.list.firstElementChild;
    for (const card of cards.values()) {
      // Moving an element takes the focus from what is in it.
      if (card.element === at) at = at.nextElementSibling;
      else this.list.insertBefore(card.element, at);
    }
    this.#cards = cards;
    this.list.classList.toggle("empty", cards.size === 0);
    this.list.dataset.empty = "Nothing passes the filters. Take one away, or shorten its word.";
  }
}
