// Reads a run to its end, over as many calls and cores as that takes.

import { setTimeout as sleep } from "node:timers/promises";
import { payloadOf } from "./events.js";
import { KNOWN, MISSING, Position } from "./position.js";
import { isFinal, pauseBefore } from "./retry.js";
import { responses, unary } from "./service.js";
import { readFailure } from "./status.js";

/** The stream ended, or left events out: both are mended by following again. */
const endedEarly = (message) => ({ code: "UNAVAILABLE", message, own: false });

export class Reader {
  /** How far the run has been read. */
  at;
  #cores;
  #given;
  #deltas = 0;
  /** What a draining core asks us to wait. */
  #waitMs = 0;
  /** Calls without contact. */
  #tries = 0;
  /** When the last contact ended. */
  #heardMs = 0;
  #leaving = new AbortController();
  #learnt;
  /** Resolves to the run's id once it is known. */
  known = new Promise((done) => {
    this.#learnt = done;
  });

  /**
   * @param {import("./cores.js").Cores} cores
   * @param {object} given
   * @param {object} [given.spec] the run to start; its `requestId` lets a start be repeated
   * @param {string} [given.runId] the run to follow instead
   * @param {object} [given.after] ... after this cursor
   * @param {number} [given.deadlineMs] when the calls end, and with them a run that is started here, in Unix milliseconds
   * @param {number} given.patienceMs how long it is tried without contact
   * @param {number} [given.cancelAfter] cancel the run after so many text deltas
   * @param {(runId: string, event: object) => void} given.show told each event once, in order
   * @param {(line: string) => void} given.say told what is no part of the run
   */
  constructor(cores, given) {
    this.#cores = cores;
    this.#given = given;
    this.at = new Position(given.runId, given.after);
    if (given.runId) this.#learnt(given.runId);
  }

  /** Ends the reading at once. */
  leave() {
    this.#leaving.abort();
  }

  /** Whether the reading was ended. */
  get isLeft() {
    return this.#leaving.signal.aborted;
  }

  /** Reads to the end. Resolves to null when the terminal event was shown, else to the failure that stands. */
  async read() {
    for (;;) {
      const failure = await this.#readOnce();
      if (this.#tries === 0) this.#heardMs = Date.now();
      if (this.at.outcome !== null) return null;
      if (this.#leaving.signal.aborted || isFinal(failure)) return failure;
      if (!this.at.runId && this.#cores.areOutOfReach) return failure;
      const pauseMs = this.#pauseMs(failure);
      if (Date.now() - this.#heardMs + pauseMs > this.#given.patienceMs) return failure;
      if (this.#tries === 0 && this.at.runId) {
        this.#given.say(`the stream broke off (${failure.code}): following the run again`);
      }
      this.#tries += 1;
      this.#cores.next();
      await sleep(pauseMs, undefined, { signal: this.#leaving.signal }).catch(() => {});
    }
  }

  /** Stops the run at whichever core is connected to, however often that has to be tried. It is idempotent. */
  async cancel() {
    const runId = await this.known;
    const began = Date.now();
    for (let tries = 0; ; tries += 1) {
      try {
        return await unary(await this.#cores.client(), "cancelRun", { runId, cause: "CANCEL_CAUSE_STOP" });
      } catch (error) {
        const isLate = this.#leaving.signal.aborted || Date.now() - began > this.#given.patienceMs;
        if (isLate || isFinal(readFailure(error))) throw error;
        await sleep(pauseBefore(tries, Math.random()));
      }
    }
  }

  /** Reads one stream to its own end, and resolves to how it failed: an end before the run's is UNAVAILABLE too. */
  async #readOnce() {
    try {
      const client = await this.#cores.client();
      const failure = await this.#readStream(this.#open(client));
      if (failure === null && this.at.outcome === null && this.at.runId) {
        this.at.conclude((await unary(client, "getRun", { runId: this.at.runId })).run);
      }
      return failure ?? endedEarly("the stream ended before the run");
    } catch (error) {
      if (typeof error.code !== "number") throw error; // no status of a call: what came could not be shown
      return readFailure(error);
    }
  }

  /** Starts the run, or follows it as soon as it has an id. */
  #open(client) {
    const { spec, deadlineMs } = this.#given;
    const options = deadlineMs === undefined ? {} : { deadline: deadlineMs };
    const { runId, cursor } = this.at;
    return runId ? client.followRun({ runId, after: cursor }, options) : client.streamRun({ run: spec }, options);
  }

  async #readStream(call) {
    const cut = () => call.cancel();
    this.#leaving.signal.addEventListener("abort", cut);
    if (this.#leaving.signal.aborted) cut();
    try {
      for await (const { runId, control, events } of responses(call)) {
        this.at.runId ||= runId;
        if (this.at.runId) this.#learnt(this.at.runId);
        if (control) this.#heed(control);
        for (const event of events) {
          const failure = await this.#take(event);
          if (failure) return failure;
        }
      }
      return null;
    } finally {
      this.#leaving.signal.removeEventListener("abort", cut);
    }
  }

  /** Shows one event, unless it is known already. */
  async #take(event) {
    const verdict = this.at.take(event);
    if (verdict === MISSING) return endedEarly(`event ${event.sequence} came after ${this.at.cursor?.sequence ?? 0}`);
    this.#hear();
    if (verdict === KNOWN) return null;
    this.#given.show(this.at.runId, event);
    if (payloadOf(event)?.type === "text_delta" && ++this.#deltas === this.#given.cancelAfter) {
      // The stream goes on to its terminal event: done, with the reason "cancelled".
      await this.cancel();
    }
    return null;
  }

  /** Takes note of what is said between events. Controls that are not known are passed over. */
  #heed({ resync, degraded, draining }) {
    this.#hear();
    if (resync) {
      this.at.resync(resync.first);
      const { reason, first, last } = resync;
      this.#given.say(
        `resync (${reason}): the log has events ${first?.sequence ?? 0} to ${last?.sequence ?? 0}, and goes on there`,
      );
    }
    if (degraded) this.#given.say(`waiting: ${degraded.message}`);
    if (draining) this.#waitMs = draining.retryMs; // the stream ends by itself
  }

  /** Notes a contact. It lasts until the stream ends. */
  #hear() {
    this.#tries = 0;
    this.#waitMs = 0;
  }

  /** Returns how long to wait before the next call. What a core asks for concerns that core alone. */
  #pauseMs({ retryAfterMs = 0 }) {
    const pauseMs = pauseBefore(this.#tries, Math.random());
    return this.#cores.count > 1 ? pauseMs : Math.max(pauseMs, this.#waitMs, retryAfterMs);
  }
}
