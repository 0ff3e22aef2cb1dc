import { RequestFailed, type Signal } from "@tokenwire/client";
import type { SessionTurn } from "@tokenwire/client/session";
import {
  AnswerLatency,
  type LatencySummary,
  ReceivedEvents,
  type TimingReport,
  type TokenRow,
} from "@tokenwire/client/timing";

/** What the panel shows. The same object until the watch tells of a change. */
export interface LatencySnapshot {
  /** Undefined before the first signal of an answer. */
  readonly summary: LatencySummary | undefined;
  /** They grow in place: another snapshot may have the same array. */
  readonly rows: readonly TokenRow[];
  /** What came of the reports, in words; empty before the first. */
  readonly reported: string;
}

export interface LatencyWatchOptions {
  /** Whether the user wants reports: asked at the end of each stream. */
  readonly reports: () => boolean;
  readonly send: (runId: string, report: TimingReport) => Promise<void>;
  /** Unix milliseconds of the clock's zero. */
  readonly originMs?: number;
}

const NO_ROWS: readonly TokenRow[] = [];

// The figures are for reading: more often they could not be read.
const SHOW_MS = 250;

/** The latency of the newest answer, and the reports of when it was received. */
export class LatencyWatch {
  readonly #options: LatencyWatchOptions;
  readonly #listeners = new Set<() => void>();
  #snapshot: LatencySnapshot = { summary: undefined, rows: NO_ROWS, reported: "" };
  #answer = "";
  #latency: AnswerLatency | undefined;
  #received: ReceivedEvents;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #reports = 0;
  #reported = "";

  constructor(options: LatencyWatchOptions) {
    this.#options = options;
    this.#received = new ReceivedEvents(options.originMs);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  };

  readonly getSnapshot = (): LatencySnapshot => this.#snapshot;

  /** For a session's `listen`. */
  readonly hear = (signal: Signal, turn: SessionTurn): void => {
    this.#begin(turn);
    // The stream before it broke: that was all of it.
    if (signal.kind === "opened") this.#report();
    this.#latency?.take(signal);
    this.#received.take(signal);
    const isOver = turn.run.outcome !== undefined;
    if (isOver) this.#report();
    this.#showSoon(isOver);
  };

  /** Begin anew with another answer; one that was asked for again in its turn is another. */
  #begin({ id, runId, run }: SessionTurn): void {
    const { startedAtMs } = run.pace;
    const answer = `${id} ${startedAtMs}`;
    if (answer === this.#answer) return;
    this.#answer = answer;
    const { originMs = performance.timeOrigin } = this.#options;
    this.#latency = new AnswerLatency({ startedAtMs, originMs, joined: id === runId || run.joined });
    this.#received = new ReceivedEvents(originMs);
  }

  #report(): void {
    const { runId } = this.#received;
    const report = this.#options.reports() ? this.#received.report(performance.now()) : undefined;
    if (runId !== undefined && report !== undefined) void this.#send(runId, report);
  }

  async #send(runId: string, report: TimingReport): Promise<void> {
    try {
      await this.#options.send(runId, report);
      this.#reports += 1;
      this.#reported =
        this.#reports === 1 ? "1 stream was reported." : `${this.#reports} streams were reported.`;
    } catch (error) {
      const reason = error instanceof RequestFailed ? error.message : "The server can't be reached.";
      this.#reported = `A report was not taken: ${reason}`;
    }
    this.#show();
  }

  #showSoon(now: boolean): void {
    if (now) this.#show();
    else this.#timer ??= setTimeout(this.#show, SHOW_MS);
  }

  readonly #show = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { rows = NO_ROWS } = this.#latency ?? {};
    this.#snapshot = { summary: this.#latency?.summary(), rows, reported: this.#reported };
    for (const listener of this.#listeners) listener();
  };
}
