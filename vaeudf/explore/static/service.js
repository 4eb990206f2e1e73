/** Talking to the service. */

/** The service's own words for why a request failed; status is null where there was no answer. */
export class ServiceError extends Error {
  constructor(message, status = null) {
    super(message);
    this.status = status;
  }
}

async function checked(response) {
  if (response.ok) return response;
  let reason = `The service answered ${response.status}.`;
  try {
    reason = (await response.json()).error ?? reason;
  } catch {
    // Not JSON: the status has to do.
  }
  throw new ServiceError(reason, response.status);
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service does not answer. Is it still running?");
  }
  return checked(response);
}

const posted = (body, signal) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

export const getTable = async () => (await request("/api/table")).json();

export const getItem = async (id) =>
  (await request(`/api/item?${new URLSearchParams({ id })}`)).json();

export const search = async (question, signal) =>
  (await request("/api/search", posted(question, signal))).json();

/** One z as a picture; the model's id lets the browser keep it. */
export const decode = async (z, model, signal) =>
  (
    await request(`/api/decode?${new URLSearchParams({ z: z.join(","), model: model ?? "" })}`, {
      signal,
    })
  ).blob();

/** Several z as one picture, side by side. */
export const decodeRow = async (rows, signal) =>
  (await request("/api/decode", posted({ z: rows }, signal))).blob();

export const encode = async (file) =>
  (
    await request("/api/encode", {
      method: "POST",
      headers: { "Content-Type": file.type },
      body: file,
    })
  ).json();

const asked = (path, parameters) => request(`${path}?${new URLSearchParams(parameters)}`);

export const getMap = async (method) => (await asked("/api/map", { method })).json();

export const getMapPoints = async (method) =>
  new Uint16Array(await (await asked("/api/map/points", { method })).arrayBuffer());

export const getMapColours = async (method, column) =>
  (await asked("/api/map/colors", { method, column })).json();

export const getItemAt = async (method, x, y) =>
  (await asked("/api/map/at", { method, x, y })).json();

/**
 * Sends at most one request at a time: the first at once, and after its answer the last of those that
 * came meanwhile. A request is aborted when a newer one waits and it takes longer than `patience`.
 */
export class Latest {
  #waiting = null;
  #running = null;
  #timer = 0;

  /**
   * @param {(argument: any, signal: AbortSignal) => Promise<any>} send
   * @param {(answer: any, argument: any) => void} receive
   * @param {(error: Error|null) => void} fail called with null after a success
   * @param {number} patience milliseconds
   */
  constructor(send, receive, fail, patience = 300) {
    Object.assign(this, { send, receive, fail, patience });
  }

  ask(argument) {
    this.#waiting = { argument };
    if (this.#running === null) this.#next();
    else this.#timer ||= setTimeout(() => this.#running?.abort(), this.patience);
  }

  get idle() {
    return this.#running === null && this.#waiting === null;
  }

  async #next() {
    while (this.#waiting !== null) {
      const { argument } = this.#waiting;
      const controller = new AbortController();
      this.#waiting = null;
      this.#running = controller;
      try {
        const answer = await this.send(argument, controller.signal);
        if (!controller.signal.aborted) {
          this.receive(answer, argument);
          this.fail(null);
        }
      } catch (error) {
        if (!controller.signal.aborted) this.fail(error);
      } finally {
        clearTimeout(this.#timer);
        this.#timer = 0;
        this.#running = null;
      }
    }
  }
}
