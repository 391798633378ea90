/** The page's end of the worker. */

/** @typedef {{resolve: () => void, reject: (reason: Error) => void}} Waiting */

/** Separates one song at a time; loads the model with the first. */
export class Separator {
  /**
   * @param {Model} model
   * @param {number} threads
   */
  constructor(model, threads) {
    this.model = model;
    this.threads = threads;
    /** @type {Worker | null} */
    this.worker = null;
    /** @type {Promise<void> | null} */
    this.loading = null;
    /** @type {Promise<void>} */
    this.running = Promise.resolve();
    /** @type {Waiting | null} who waits for "ready" or "done" */
    this.waiting = null;
    /** @type {(part: Part) => Promise<void>} */
    this.onPart = async () => {};
    /** @type {Promise<void>} parts are handled in order */
    this.handled = Promise.resolve();
  }

  /** Load runtime and model, once; again after a failure. */
  load() {
    this.loading ??= this.start();
    return this.loading;
  }

  async start() {
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = (event) => {
      this.fail(`The page's script worker.js failed (${event.message ?? "it could not be loaded"}).`);
    };
    const { model, threads } = this;
    await this.ask({ do: "load", model, page: new URL(".", location.href).href, threads });
  }

  /**
   * Separate a song.
   *
   * @param {Blob} song a WAV file
   * @param {(part: Part) => Promise<void>} onPart called with one part after another
   */
  async separate(song, onPart) {
    this.onPart = onPart;
    this.handled = Promise.resolve();
    this.running = this.ask({ do: "separate", song });
    await this.running;
    await this.handled;
  }

  stop() {
    this.tell({ do: "stop" });
  }

  /** Resolve when no song is being separated. */
  async idle() {
    await this.running.catch(() => {});
  }

  /**
   * Give an order and wait until it is done.
   *
   * @param {Order} order
   * @returns {Promise<void>}
   */
  ask(order) {
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.tell(order);
    });
  }

  /** @param {Order} order */
  tell(order) {
    this.worker?.postMessage(order);
  }

  /** @param {Answer} answer */
  hear(answer) {
    if (answer.is === "failed") this.fail(answer.reason);
    else if (answer.is === "part") {
      const { onPart } = this;
      this.handled = this.handled.then(() => onPart(answer.part));
    } else this.waiting?.resolve();
  }

  /** Begin anew with the next song. @param {string} reason */
  fail(reason) {
    this.worker?.terminate();
    this.worker = null;
    this.loading = null;
    this.waiting?.reject(new Error(reason));
  }
}
