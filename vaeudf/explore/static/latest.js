/** Requests of which only the last counts, and why they fail. */

/** The service's own words for why a request failed; status is null where there was no answer. */
export class ServiceError extends Error {
  constructor(message, status = null) {
    super(message);
    this.status = status;
  }
}

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
    let deliver = null;
    while (this.#waiting !== null) {
      const { argument } = this.#waiting;
      const controller = new AbortController();
      this.#waiting = null;
      this.#running = controller;
      const sent = this.send(argument, controller.signal);
      // What is thrown before it is awaited below is not unhandled.
      sent.catch(() => {});
      // The service works on this one while the page shows the answer before it.
      deliver?.();
      deliver = null;
      try {
        const answer = await sent;
        if (!controller.signal.aborted)
          deliver = () => this.#receive(answer, argument);
      } catch (error) {
        if (!controller.signal.aborted) deliver = () => this.fail(error);
      } finally {
        clearTimeout(this.#timer);
        this.#timer = 0;
      }
    }
    this.#running = null;
    deliver?.();
  }

  #receive(answer, argument) {
    try {
      this.receive(answer, argument);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.fail(null);
  }
}
