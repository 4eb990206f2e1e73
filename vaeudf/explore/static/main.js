/** Puts the page together: the table, the state, the question, the answer. */

import { fromAddress, toAddress } from "./address.js";
import { Command } from "./command.js";
import { byId, el } from "./elements.js";
import { Filters } from "./filters.js";
import { Hits } from "./hits.js";
import { Intro } from "./intro.js";
import { Latest, ServiceError } from "./latest.js";
import { Likes } from "./likes.js";
import { MapPanel } from "./map.js";
import { goTo, moving, stop } from "./motion.js";
import { count, round, sentence } from "./numbers.js";
import { Options } from "./options.js";
import { Photo } from "./photo.js";
import { questionOf } from "./question.js";
import { SavedPlaces } from "./saved_places.js";
import { getTable, search } from "./service.js";
import { Sliders } from "./sliders.js";
import { Stage } from "./stage.js";
import { initialState, Store } from "./state.js";
import { Strips } from "./strips.js";
import { Walk } from "./walk.js";

const ADDRESS_MILLISECONDS = 100;
const SETTLED_MILLISECONDS = 120;
const STATUS_MILLISECONDS = 800;
const AGAIN_MILLISECONDS = 2000;

/** Why what failed, by what it was: a search, a picture, or something that was done once. */
const failures = new Map();

function showFailures() {
  const [first] = failures.values();
  const message = first && sentence(first);
  byId("error").hidden = message === undefined;
  if (byId("error").textContent !== message) byId("error").textContent = message ?? "";
}

/** Say why what is shown does not answer the question; null if it does. */
function unanswered(why) {
  const { classList } = byId("main");
  classList.toggle("unanswered", why !== null);
  const some = byId("hits").childElementCount > 0;
  const shown = some ? "These items still answer the question before it." : "No items are shown.";
  byId("unanswered").textContent = why === null ? "" : `${why} ${shown}`;
  byId("unanswered").hidden = why === null;
  byId("copy").disabled = why !== null;
}

/** Return what takes the failures of one kind of request, or null once one has succeeded. */
const failureOf = (kind) => (error) => {
  failures.delete(kind);
  if (error) failures.set(kind, error instanceof ServiceError ? error.message : String(error));
  showFailures();
};

/** Whether the same request may succeed a little later. */
const passes = (error) => error && (error.status === null || error.status === 503);

/** A function that calls another once nobody has called it for so long. */
function calmly(milliseconds, call) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), milliseconds);
  };
}

/** A sample of N(0, 1), by Box and Muller (1958). */
const normal = () =>
  Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

function introduce(table) {
  document.title = `Explore ${table.title}`;
  byId("title").textContent = `Explore ${table.title}`;
  byId("lead").textContent = table.can.decode
    ? "Move the sliders: the picture follows, and so do the items of the catalog that are most like it."
    : "Move the sliders: the items of the catalog that are most like them follow.";
  const version = table.version === null ? "" : `, version ${table.version}`;
  byId("about").textContent =
    `${count(table.items)} items of ${table.table}${version}. ` + fitted(table);
}

/** What a page without the decoder says of its pictures. */
function fitted({ picture_error: error }) {
  if (error === undefined) return "";
  const percent = Math.max(error * 100, 0.1).toFixed(1);
  return ` The pictures of the sliders are a fit of the decoder, whose levels are off by ${percent} % (root mean square) for z of the prior.`;
}

const MEANINGS = {
  log_likelihood:
    "Score is log q(z|x) in nats, the logarithm of the density of z under the item's own Gaussian: higher is better",
  kl: "Distance is the KL divergence from what you like to the item's own Gaussian, in nats: lower is nearer",
  pictures:
    "Match is log p(x|z) in nats, how likely the decoder takes the item's own picture to be: higher is better",
};

/** Say what the numbers of an answer are. */
function explain({ score, hits }) {
  const reranked = hits[0]?.log_p_x_given_z !== undefined;
  const meaning = MEANINGS[reranked ? "pictures" : score];
  byId("meaning").textContent = meaning
    ? `${meaning}, and only differences within one answer mean something.`
    : "";
}

/** Say what of an address was not understood; nothing if all was. */
function misread(notes) {
  byId("misread").hidden = notes.length === 0;
  byId("misread").textContent = notes.length ? `In the address, ${notes.join(" ")}` : "";
}

function renewed(version) {
  byId("renewed").hidden = false;
  byId("renewed").replaceChildren(
    `Version ${version} of the table has come, and the items are from it. `,
    el("button", { type: "button", onclick: () => location.reload() }, "Renew sliders and filters"),
  );
}

function start(table) {
  const { state, notes } = fromAddress(location.hash, table);
  const store = new Store(Object.freeze(state));
  misread(notes);
  introduce(table);
  new Intro(table);

  const sliders = new Sliders(store, table, (row) => strips?.near(row));
  const strips = table.can.decode ? new Strips(sliders) : null;
  const again = calmly(AGAIN_MILLISECONDS, () => {
    ask();
    stage.ask();
  });
  const pictureFailed = failureOf("picture");
  const go = (hit) => goTo(store, hit.mu, { liked: [] });
  const stage = new Stage(
    store,
    table,
    (error) => {
      pictureFailed(error);
      if (passes(error)) again();
    },
    go,
  );
  const once = failureOf("once");
  const likes = new Likes(store, table, once);
  const filters = new Filters(store, table);
  const map = new MapPanel(store, table, once);
  const command = new Command();
  new Options(store, table);
  new SavedPlaces(store, table);
  new Photo(store, table, once);
  new Walk(store, table, once);
  const hits = new Hits(store, table, {
    go,
    like: (hit) => likes.like(hit),
    unlike: (hit) => likes.unlike(hit),
    point: (hit) => sliders.point(hit?.mu ?? null),
  });

  const say = calmly(STATUS_MILLISECONDS, (answer) => {
    const best = answer.hits.length ? `, the best is ${answer.hits[0].item_id}` : "";
    byId("status").textContent = `${answer.hits.length} items${best}. ${byId("here").textContent}`;
  });
  let asked = "";
  const searchFailed = failureOf("search");
  const searches = new Latest(
    // A page without a service takes the filters as they are, and not as SQL.
    async ({ question, state }, signal) => {
      if (state.open.every(Boolean) && state.liked.length === 0)
        throw new ServiceError("Every slider is on “any”. Switch one of them back, or like an item.", 400);
      return search(question, signal, state);
    },
    (answer) => {
      unanswered(null);
      for (const hit of answer.hits) likes.know(hit);
      hits.show(answer);
      stage.answered(answer);
      map.answered(answer);
      command.show(answer.command);
      explain(answer);
      say(answer);
      byId("hits").setAttribute("aria-busy", "false");
      if (answer.version !== table.version && byId("renewed").hidden) renewed(answer.version);
    },
    (error) => {
      const condition = error?.status === 400 && error.message.startsWith("where is");
      searchFailed(condition ? null : error);
      filters.wrong(condition ? error.message : null);
      if (!error) return;
      unanswered(condition ? "The condition in SQL is wrong." : "The last question has no answer.");
      asked = "";
      byId("hits").setAttribute("aria-busy", "false");
      if (passes(error)) again();
    },
  );
  const ask = () => {
    const question = questionOf(store.state);
    const wanted = JSON.stringify(question);
    if (wanted === asked) return;
    asked = wanted;
    byId("hits").setAttribute("aria-busy", "true");
    searches.ask({ question, state: store.state });
  };

  // For who drives the page by a program: nothing moves, and nothing is on its way.
  const settled = calmly(SETTLED_MILLISECONDS, () => {
    if (moving() || !searches.idle || !stage.idle) settled();
    else document.body.dataset.settled = "true";
  });
  const unsettled = () => {
    document.body.dataset.settled = "false";
    settled();
  };
  const remember = calmly(ADDRESS_MILLISECONDS, () => {
    history.replaceState(null, "", `#${toAddress(store.state, table)}`);
  });
  const steps = () => {
    byId("undo").disabled = !store.canUndo;
    byId("redo").disabled = !store.canRedo;
  };
  store.listen((_state, _previous, done) => {
    unsettled();
    ask();
    if (done) {
      once(null);
      misread([]);
      remember();
    }
    steps();
  });
  addEventListener("hashchange", () => {
    stop();
    const link = fromAddress(location.hash, table);
    store.change(link.state);
    misread(link.notes);
  });

  byId("undo").addEventListener("click", () => (stop(), store.undo()));
  byId("redo").addEventListener("click", () => (stop(), store.redo()));
  byId("reset").addEventListener("click", () => (stop(), store.change(initialState(table))));
  byId("random").addEventListener("click", () =>
    goTo(
      store,
      store.state.z.map(() => round(normal(), 2)),
      { liked: [] },
    ),
  );
  addEventListener("keydown", (event) => {
    const typing = event.target.matches?.(
      "input:not([type=range], [type=checkbox]), select, textarea",
    );
    if (typing || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    byId(event.shiftKey ? "redo" : "undo").click();
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    // The address holds the state, so the link must not change it.
    event.preventDefault();
    byId("sliders-title").focus();
  });
  steps();
  unsettled();
  ask();
  remember();
}

try {
  start(await getTable());
} catch (error) {
  failureOf("table")(error);
}
