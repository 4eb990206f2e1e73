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
